/*
 * CPU features by feature bits (the model number is masked on some machines), with a mask for tests
 * and users: QUERN_CPU=portable|avx2|avx512 limits what qn_cpu_level reports.
 */
#ifndef QN_OS_CPU_H
#define QN_OS_CPU_H

typedef enum { QN_CPU_PORTABLE, QN_CPU_AVX2, QN_CPU_AVX512, QN_CPU_LEVELS } qn_cpu_level_id;

/* The level kernels are chosen by: the machine's, limited by the mask. AVX512 means F, BW, DQ and
 * VL; AVX2 means AVX2, FMA, F16C and BMI2. Read once; Threads: any. */
qn_cpu_level_id qn_cpu_level(void);
/* Tests: overrides the level (never above the machine's). Returns what is in force. */
qn_cpu_level_id qn_cpu_limit(qn_cpu_level_id level);
const char *qn_cpu_level_name(qn_cpu_level_id level);
/* One line for people: "AVX-512 (F BW DQ VL VNNI BF16), 2 CPUs granted of 2". */
void qn_cpu_describe(char *dst, int size);

#endif
