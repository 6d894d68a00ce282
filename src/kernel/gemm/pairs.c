/* The choice of the micro-kernel for pairs of bf16. */
#include "kernel/gemm/pairs.h"

#include <stddef.h>

#include "kernel/isa.h"

const qn_pairs_kernels *qn_pairs(void)
{
#if defined(__x86_64__)
    if (qn_cpu_level() == QN_CPU_AMX)
        return &qn_pairs_amx;
    if (qn_cpu_level() == QN_CPU_AVX512_BF16)
        return &qn_pairs_avx512bf16;
#endif
    return NULL;
}
