/*
 * CPU features by feature bits (the model number is masked on some machines), with a mask for tests
 * and users: QUERN_CPU=portable|neon|avx2|avx512|avx512bf16|amx limits what qn_cpu_level reports.
 */
#ifndef QN_OS_CPU_H
#define QN_OS_CPU_H

#include <stdbool.h>

/* In rising order; a machine has NEON or some of the others. */
typedef enum {
    QN_CPU_PORTABLE,
    QN_CPU_NEON,        /* aarch64 */
    QN_CPU_AVX2,        /* AVX2, FMA, F16C and BMI2 */
    QN_CPU_AVX512,      /* F, BW, DQ and VL */
    QN_CPU_AVX512_BF16, /* AVX512 and fast dot products of bf16: those of AMD */
    QN_CPU_AMX,         /* AVX512 and tiles of bf16 that the operating system allows */
    QN_CPU_LEVELS
} qn_cpu_level_id;

/* The level kernels are chosen by: the machine's, limited by the mask. Read once; Threads: any. */
qn_cpu_level_id qn_cpu_level(void);
/* Tests: overrides the level by the highest that machine and mask have up to `level`. Returns what
 * is in force. */
qn_cpu_level_id qn_cpu_limit(qn_cpu_level_id level);
const char *qn_cpu_level_name(qn_cpu_level_id level);
/* Asks the operating system for tiles, as every thread that uses them does first; false = none. */
bool qn_cpu_allow_tiles(void);
/* One line for people: "AVX-512 (F BW DQ VL VNNI BF16), 2 CPUs granted of 2". */
void qn_cpu_describe(char *dst, int size);

#endif
