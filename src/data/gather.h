/*
 * Rows out of packed tensors into a batch. Pixels are widened on the way; the instruction set is chosen once by os/cpu, and
 * every choice gives the same bits (one exact conversion and one rounded product per element).
 */
#ifndef QN_DATA_GATHER_H
#define QN_DATA_GATHER_H

#include <stddef.h>
#include <stdint.h>

/* rows: `count` indices, or NULL = first, first + 1, ... Threads: any. */
void qn_batch_rows(void *dst, const void *src, const int64_t *rows, int64_t first, int64_t count,
                   size_t row_bytes);
void qn_batch_pixels(float *dst, const uint8_t *src, const int64_t *rows, int64_t first,
                     int64_t count, int64_t row_count, float scale);

#endif
