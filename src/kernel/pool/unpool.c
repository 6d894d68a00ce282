/*
 * MaxUnpool: scattering by indices that name places of [N, C, pixels] into [N, pixels, C]. An index of a pool stays within its
 * own image and channel, which takes no division; any other is taken apart.
 *
 * Images are shared out where no index leaves its image. Elsewhere the caller adds alone: what meets at a place is added in
 * the order of x either way.
 */
#include <string.h>

#include "kernel/pool/pool.h"
#include "kernel/split.h"

enum { GRAIN = 16384 }; /* elements */

typedef struct {
    const qn_unpool *s;
    float *dst;
    const float *src;
    const int64_t *index;
} job;

/* Where index `flat` of an element of image n and channel c lies in [N, to, C]; -1 = nowhere. */
static int64_t place_of(const qn_unpool *s, int64_t n, int64_t c, int64_t flat)
{
    int64_t pixel = flat - (n * s->c + c) * s->to;
    if (pixel >= 0 && pixel < s->to)
        return (n * s->to + pixel) * s->c + c;
    if (flat < 0 || flat >= s->n * s->c * s->to)
        return -1;
    int64_t line = flat / s->to;
    return (line / s->c * s->to + flat % s->to) * s->c + line % s->c;
}

/* Whether every index of every image names a place of its own image, or none at all. */
static bool stays(const job *j)
{
    const qn_unpool *s = j->s;
    int64_t size = s->from * s->c, room = s->c * s->to;
    bool inside = true;
    for (int64_t n = 0; n < s->n && inside; n++)
        for (int64_t i = 0; i < size; i++) {
            int64_t flat = j->index[n * size + i];
            inside = inside && (flat < 0 || flat >= s->n * room ||
                                (flat >= n * room && flat < (n + 1) * room));
        }
    return inside;
}

static void unpool_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    const qn_unpool *s = j->s;
    int64_t image = s->to * s->c;
    memset(j->dst + first * image, 0, (size_t)((end - first) * image) * sizeof *j->dst);
    for (int64_t i = first * s->from; i < end * s->from; i++)
        for (int64_t c = 0; c < s->c; c++) {
            int64_t at = place_of(s, i / s->from, c, j->index[i * s->c + c]);
            if (at >= 0)
                j->dst[at] += j->src[i * s->c + c];
        }
}

/* Pixels of dx. */
static void unpool_grad_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    const qn_unpool *s = j->s;
    for (int64_t i = first; i < end; i++)
        for (int64_t c = 0; c < s->c; c++) {
            int64_t at = place_of(s, i / s->from, c, j->index[i * s->c + c]);
            j->dst[i * s->c + c] = at >= 0 ? j->src[at] : 0;
        }
}

void qn_unpool_f32(qn_pool *pool, const qn_unpool *shape, float *y, const float *x,
                   const int64_t *index)
{
    job j = {.s = shape, .dst = y, .src = x, .index = index};
    int64_t cost = (shape->from + shape->to) * shape->c;
    if (stays(&j))
        qn_split(pool, shape->n, qn_split_grain(cost, GRAIN), unpool_range, &j);
    else
        unpool_range(&j, 0, shape->n);
}

void qn_unpool_grad_f32(qn_pool *pool, const qn_unpool *shape, float *dx, const float *dy,
                        const int64_t *index)
{
    job j = {.s = shape, .dst = dx, .src = dy, .index = index};
    qn_split(pool, shape->n * shape->from, qn_split_grain(shape->c, GRAIN), unpool_grad_range, &j);
}
