/*
 * Rows out of packed tensors into a batch. Pixels are widened on the way; the instruction set is chosen once by os/cpu, and
 * every choice gives the same bits (one exact conversion and one rounded product per element).
 */
#ifndef QN_DATA_GATHER_H
#define QN_DATA_GATHER_H

#include <stddef.h>
#include <stdint.h>

/* Rows of `width` bytes or pixels, of which the part [from, end) of each is taken. rows: `count` indices, or NULL = first,
 * first + 1, ... */
typedef struct {
    const int64_t *rows;
    int64_t first, count;
    int64_t width, from, end;
} qn_batch_part;

/* Threads: any. */
void qn_batch_rows(void *dst, const void *src, const qn_batch_part *part);
void qn_batch_pixels(float *dst, const uint8_t *src, const qn_batch_part *part, float scale);

#endif
