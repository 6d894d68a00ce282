/*
 * Dividing a caller's scratch into pieces. With a NULL base nothing is given out and `used` is the size needed, so one
 * function both measures and lays out.
 */
#ifndef QN_KERNEL_CARVE_H
#define QN_KERNEL_CARVE_H

#include <stddef.h>

typedef struct {
    char *base;
    size_t used;
} qn_carve;

/* The next piece, on a 64-byte boundary; NULL when measuring. */
static inline void *qn_carve_take(qn_carve *carve, size_t bytes)
{
    char *piece = carve->base ? carve->base + carve->used : NULL;
    carve->used += (bytes + 63) / 64 * 64;
    return piece;
}

#endif
