/*
 * How a family chooses its kernels: a table with one row per CPU level, filled for what this build
 * holds. NAME_ref stands in the places of other machines' levels, NAME_avx512 in those of AVX-512 with
 * bf16 and of AMX, whose instructions only products of bf16 use.
 */
#ifndef QN_KERNEL_ISA_H
#define QN_KERNEL_ISA_H

#include "os/cpu.h"

#if defined(__x86_64__)
#define QN_ISA_ROWS(name)                                                                          \
    {                                                                                              \
        [QN_CPU_PORTABLE] = &name##_ref, [QN_CPU_NEON] = &name##_ref,                              \
        [QN_CPU_AVX2] = &name##_avx2, [QN_CPU_AVX512] = &name##_avx512,                            \
        [QN_CPU_AVX512_BF16] = &name##_avx512, [QN_CPU_AMX] = &name##_avx512                       \
    }
#elif defined(__aarch64__)
#define QN_ISA_ROWS(name)                                                                          \
    {                                                                                              \
        [QN_CPU_PORTABLE] = &name##_ref, [QN_CPU_NEON] = &name##_neon,                             \
        [QN_CPU_AVX2] = &name##_ref, [QN_CPU_AVX512] = &name##_ref,                                \
        [QN_CPU_AVX512_BF16] = &name##_ref, [QN_CPU_AMX] = &name##_ref                             \
    }
#else
#define QN_ISA_ROWS(name)                                                                          \
    {                                                                                              \
        [QN_CPU_PORTABLE] = &name##_ref, [QN_CPU_NEON] = &name##_ref, [QN_CPU_AVX2] = &name##_ref, \
        [QN_CPU_AVX512] = &name##_ref, [QN_CPU_AVX512_BF16] = &name##_ref,                         \
        [QN_CPU_AMX] = &name##_ref                                                                 \
    }
#endif

#endif
