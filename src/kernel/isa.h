/*
 * How a family chooses its kernels: a table with one row per CPU level, filled for what this build
 * holds. On x86 all three rows differ; elsewhere the portable row stands in every place.
 */
#ifndef QN_KERNEL_ISA_H
#define QN_KERNEL_ISA_H

#include "os/cpu.h"

#if defined(__x86_64__)
#define QN_ISA_ROWS(ref, avx2, avx512)                                                             \
    {                                                                                              \
        [QN_CPU_PORTABLE] = (ref), [QN_CPU_AVX2] = (avx2), [QN_CPU_AVX512] = (avx512)              \
    }
#else
#define QN_ISA_ROWS(ref, avx2, avx512)                                                             \
    {                                                                                              \
        [QN_CPU_PORTABLE] = (ref), [QN_CPU_AVX2] = (ref), [QN_CPU_AVX512] = (ref)                  \
    }
#endif

#endif
