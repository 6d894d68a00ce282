/*
 * UNROLL before a loop over a register tile: written out whole, so that its accumulators stay in registers.
 */
#ifndef QN_KERNEL_UNROLL_H
#define QN_KERNEL_UNROLL_H

#if defined(__clang__)
#define UNROLL _Pragma("clang loop unroll(full)")
#else
#define UNROLL _Pragma("GCC unroll 8")
#endif

#endif
