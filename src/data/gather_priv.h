/* The pixel-widening loop, one copy per instruction set (gather_avx2.c and gather_avx512.c are compiled with its flags). */
#ifndef QN_DATA_GATHER_PRIV_H
#define QN_DATA_GATHER_PRIV_H

#include <stdint.h>

void qn_widen_pixels_ref(float *dst, const uint8_t *src, int64_t count, float scale);
void qn_widen_pixels_avx2(float *dst, const uint8_t *src, int64_t count, float scale);
void qn_widen_pixels_avx512(float *dst, const uint8_t *src, int64_t count, float scale);

#endif
