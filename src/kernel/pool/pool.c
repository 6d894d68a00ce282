/*
 * Pooling as runs of windows of one shape: in each row of outputs, those cut by the left or right edge one by one and
 * all between in one run. Forward the rows are shared out, backward the images, since windows may overlap.
 */
#include "kernel/pool/pool.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "kernel/conv/conv_table.h"
#include "kernel/isa.h"
#include "kernel/pool/pool_table.h"
#include "kernel/reduce/reduce.h"
#include "kernel/reduce/reduce_table.h"
#include "kernel/split.h"

enum {
    GRAIN = 16384, /* elements read */
    BYTE_PLACES = 255,
    STRIP = 64,       /* channels at a time in the global forms */
    PIXEL_BLOCK = 512 /* pixels summed in f32 */
};

const qn_pool_kernels *qn_pool_f32_kernels(void)
{
    static const qn_pool_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_pool_f32);
    return rows[qn_cpu_level()];
}

/* Planes as volumes of one slice. */
static qn_pool2d with_depth(const qn_pool2d *shape)
{
    qn_pool2d s = *shape;
    if (s.kd == 0) {
        s.d = s.od = s.kd = s.stride_d = s.dilation_d = 1;
        s.pad_front = s.pad_back = 0;
    }
    return s;
}

int qn_pool2d_choice_bytes(const qn_pool2d *shape)
{
    return with_depth(shape).kd * shape->kh * shape->kw <= BYTE_PLACES ? 1 : 4;
}

typedef struct job job;
typedef void (*run_fn)(const job *j, int64_t x, int64_t y, const qn_window *w);

struct job {
    const qn_pool_kernels *kernels;
    const qn_pool2d *s;
    run_fn run;
    float *dst;
    const float *src;
    char *choice;
    const char *chosen;
    const float *x, *y; /* of the p-norm, backward */
    int p;
};

/* Taps [first, end) of a window that lie inside [0, size), starting at `origin`. */
static void clip(int64_t origin, int64_t taps, int64_t dilation, int64_t size, int64_t *ret_first,
                 int64_t *ret_end)
{
    int64_t first = origin < 0 ? (-origin + dilation - 1) / dilation : 0;
    int64_t end = origin >= size ? 0 : (size - 1 - origin) / dilation + 1;
    *ret_first = qn_min_i64(first, taps);
    *ret_end = qn_min_i64(end, taps);
}

/* Places that an average divides by, along one dimension, when padding counts. */
static int64_t padded_taps(int64_t origin, int64_t taps, int64_t dilation, int64_t past)
{
    int64_t end = origin >= past ? 0 : (past - 1 - origin) / dilation + 1;
    return qn_min_i64(end, taps);
}

/* `count` outputs from column s of row r of slice `plane` on, whose windows are all cut alike. */
static void windows_run(const job *j, int64_t plane, int64_t r, int64_t s, int64_t count)
{
    const qn_pool2d *p = j->s;
    int64_t n = plane / p->od, front = plane % p->od * p->stride_d - p->pad_front,
            top = r * p->stride_h - p->pad_top, left = s * p->stride_w - p->pad_left;
    int64_t k0, k1, i0, i1, j0, j1;
    clip(front, p->kd, p->dilation_d, p->d, &k0, &k1);
    clip(top, p->kh, p->dilation_h, p->h, &i0, &i1);
    clip(left, p->kw, p->dilation_w, p->w, &j0, &j1);
    qn_window w = {.count = count,
                   .channels = p->c,
                   .move = p->stride_w * p->c,
                   .slabs = k1 - k0,
                   .rows = i1 - i0,
                   .cols = j1 - j0,
                   .slab = p->dilation_d * p->h * p->w * p->c,
                   .row = p->dilation_h * p->w * p->c,
                   .col = p->dilation_w * p->c,
                   .first = (int32_t)((k0 * p->kh + i0) * p->kw + j0),
                   .number_slab = (int32_t)(p->kh * p->kw),
                   .number_row = (int32_t)p->kw};
    int64_t places = w.slabs * w.rows * w.cols;
    if (p->count_include_pad)
        places = padded_taps(front, p->kd, p->dilation_d, p->d + p->pad_back) *
                 padded_taps(top, p->kh, p->dilation_h, p->h + p->pad_bottom) *
                 padded_taps(left, p->kw, p->dilation_w, p->w + p->pad_right);
    w.scale = 1 / (float)places;
    int64_t slice = n * p->d + front + k0 * p->dilation_d;
    int64_t x =
        ((slice * p->h + top + i0 * p->dilation_h) * p->w + left + j0 * p->dilation_w) * p->c;
    j->run(j, x, ((plane * p->oh + r) * p->ow + s) * p->c, &w);
}

static void row_run(const job *j, int64_t row)
{
    const qn_pool2d *p = j->s;
    int64_t plane = row / p->oh, r = row % p->oh, span = (p->kw - 1) * p->dilation_w;
    int64_t first = qn_min_i64((p->pad_left + p->stride_w - 1) / p->stride_w, p->ow);
    int64_t room = p->w - 1 - span +
                   p->pad_left; /* the last column whose window ends inside, times the stride */
    int64_t end = room < 0 ? first : qn_max_i64(qn_min_i64(room / p->stride_w + 1, p->ow), first);
    for (int64_t s = 0; s < first; s++)
        windows_run(j, plane, r, s, 1);
    if (end > first)
        windows_run(j, plane, r, first, end - first);
    for (int64_t s = end; s < p->ow; s++)
        windows_run(j, plane, r, s, 1);
}

static void rows_range(void *context, int64_t first, int64_t end)
{
    for (int64_t row = first; row < end; row++)
        row_run(context, row);
}

/* One image's gradient: zero, then every window adds its share in order. */
static void images_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    const qn_pool2d *p = j->s;
    int64_t size = p->d * p->h * p->w * p->c, rows = p->od * p->oh;
    memset(j->dst + first * size, 0, (size_t)((end - first) * size) * sizeof(float));
    rows_range(context, first * rows, end * rows);
}

static void forward(qn_pool *pool, job *j)
{
    int64_t cost = j->s->ow * j->s->kd * j->s->kh * j->s->kw * j->s->c;
    qn_split(pool, j->s->n * j->s->od * j->s->oh, qn_split_grain(cost, GRAIN), rows_range, j);
}

static void backward(qn_pool *pool, job *j)
{
    int64_t cost = j->s->od * j->s->oh * j->s->ow * j->s->kd * j->s->kh * j->s->kw * j->s->c;
    qn_split(pool, j->s->n, qn_split_grain(cost, GRAIN), images_range, j);
}

static void run_max(const job *j, int64_t x, int64_t y, const qn_window *w)
{
    bool bytes = qn_pool2d_choice_bytes(j->s) == 1;
    uint8_t *choice8 = j->choice && bytes ? (uint8_t *)j->choice + y : NULL;
    int32_t *choice32 = j->choice && !bytes ? (int32_t *)(void *)j->choice + y : NULL;
    j->kernels->max(j->dst + y, choice8, choice32, j->src + x, w);
}

static void run_max_grad(const job *j, int64_t x, int64_t y, const qn_window *w)
{
    bool bytes = qn_pool2d_choice_bytes(j->s) == 1;
    const uint8_t *chosen8 = bytes ? (const uint8_t *)j->chosen + y : NULL;
    const int32_t *chosen32 = bytes ? NULL : (const int32_t *)(const void *)j->chosen + y;
    j->kernels->max_grad(j->dst + x, j->src + y, chosen8, chosen32, w);
}

static void run_average(const job *j, int64_t x, int64_t y, const qn_window *w)
{
    j->kernels->average(j->dst + y, j->src + x, w);
}

static void run_average_grad(const job *j, int64_t x, int64_t y, const qn_window *w)
{
    j->kernels->average_grad(j->dst + x, j->src + y, w);
}

static void run_norm(const job *j, int64_t x, int64_t y, const qn_window *w)
{
    j->kernels->norm(j->dst + y, j->src + x, w, j->p);
}

static void run_norm_grad(const job *j, int64_t x, int64_t y, const qn_window *w)
{
    j->kernels->norm_grad(j->dst + x, j->src + y, j->x + x, j->y + y, w, j->p);
}

/* The common case, 2x2 windows side by side: whole rows at a time, and backward each place is written once. */
static bool is_plain(const qn_pool2d *p)
{
    return p->kd == 1 && p->d == 1 && p->kh == 2 && p->kw == 2 && p->stride_h == 2 &&
           p->stride_w == 2 && p->dilation_h == 1 && p->dilation_w == 1 && p->pad_top == 0 &&
           p->pad_left == 0 && 2 * p->oh <= p->h && 2 * p->ow <= p->w;
}

static void plain_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    const qn_pool2d *p = j->s;
    const qn_conv_kernels *kernels = qn_conv_f32_kernels();
    int64_t line = p->w * p->c, out = p->ow * p->c;
    for (int64_t row = first; row < end; row++) {
        const float *top = j->src + (row / p->oh * p->h + row % p->oh * 2) * line;
        kernels->pool(j->dst + row * out, (uint8_t *)j->choice + row * out, top, top + line, p->ow,
                      p->c);
    }
}

static void plain_grad_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    const qn_pool2d *p = j->s;
    const qn_conv_kernels *kernels = qn_conv_f32_kernels();
    int64_t line = p->w * p->c, out = p->ow * p->c;
    size_t right = (size_t)((p->w - 2 * p->ow) * p->c) * sizeof(float);
    for (int64_t n = first; n < end; n++) {
        for (int64_t r = 0; r < p->oh; r++) {
            float *top = j->dst + (n * p->h + 2 * r) * line;
            int64_t at = (n * p->oh + r) * out;
            kernels->unpool(top, top + line, j->src + at, NULL, (const uint8_t *)j->chosen + at,
                            p->ow, p->c);
            memset(top + 2 * out, 0, right);
            memset(top + line + 2 * out, 0, right);
        }
        memset(j->dst + (n * p->h + 2 * p->oh) * line, 0,
               (size_t)((p->h - 2 * p->oh) * line) * sizeof(float));
    }
}

void qn_max_pool2d_f32(qn_pool *pool, const qn_pool2d *shape, float *y, void *choice,
                       const float *x)
{
    qn_pool2d whole = with_depth(shape);
    job j = {.kernels = qn_pool_f32_kernels(),
             .s = &whole,
             .run = run_max,
             .dst = y,
             .src = x,
             .choice = choice};
    if (choice && is_plain(&whole))
        qn_split(pool, shape->n * shape->oh,
                 qn_split_grain(4 * shape->ow * shape->c, (int64_t)4 * GRAIN), plain_range, &j);
    else
        forward(pool, &j);
}

void qn_max_pool2d_grad_f32(qn_pool *pool, const qn_pool2d *shape, float *dx, const float *dy,
                            const void *choice)
{
    qn_pool2d whole = with_depth(shape);
    job j = {.kernels = qn_pool_f32_kernels(),
             .s = &whole,
             .run = run_max_grad,
             .dst = dx,
             .src = dy,
             .chosen = choice};
    if (is_plain(&whole))
        qn_split(pool, shape->n, qn_split_grain(shape->h * shape->w * shape->c, (int64_t)4 * GRAIN),
                 plain_grad_range, &j);
    else
        backward(pool, &j);
}

void qn_avg_pool2d_f32(qn_pool *pool, const qn_pool2d *shape, float *y, const float *x)
{
    qn_pool2d whole = with_depth(shape);
    job j = {.kernels = qn_pool_f32_kernels(), .s = &whole, .run = run_average, .dst = y, .src = x};
    forward(pool, &j);
}

void qn_avg_pool2d_grad_f32(qn_pool *pool, const qn_pool2d *shape, float *dx, const float *dy)
{
    qn_pool2d whole = with_depth(shape);
    job j = {.kernels = qn_pool_f32_kernels(),
             .s = &whole,
             .run = run_average_grad,
             .dst = dx,
             .src = dy};
    backward(pool, &j);
}

void qn_norm_pool2d_f32(qn_pool *pool, const qn_pool2d *shape, int p, float *y, const float *x)
{
    qn_pool2d whole = with_depth(shape);
    job j = {
        .kernels = qn_pool_f32_kernels(), .s = &whole, .run = run_norm, .dst = y, .src = x, .p = p};
    forward(pool, &j);
}

void qn_norm_pool2d_grad_f32(qn_pool *pool, const qn_pool2d *shape, int p, float *dx,
                             const qn_norm_pool_grad *from)
{
    qn_pool2d whole = with_depth(shape);
    job j = {.kernels = qn_pool_f32_kernels(),
             .s = &whole,
             .run = run_norm_grad,
             .dst = dx,
             .src = from->dy,
             .x = from->x,
             .y = from->y,
             .p = p};
    backward(pool, &j);
}

typedef struct {
    float *y;
    int32_t *choice;
    const int32_t *chosen;
    const float *x;
    int64_t pixels, c;
} global_job;

static void global_max_strip(const global_job *j, int64_t n, int64_t c, int64_t width)
{
    const float *x = j->x + n * j->pixels * j->c + c;
    float best[STRIP];
    int32_t place[STRIP] = {0};
    memcpy(best, x, (size_t)width * sizeof *best);
    for (int64_t p = 1; p < j->pixels; p++) {
        for (int64_t i = 0; i < width; i++) {
            float v = x[p * j->c + i];
            bool better = v > best[i] || (isnan(v) && !isnan(best[i]));
            best[i] = better ? v : best[i];
            place[i] = better ? (int32_t)p : place[i];
        }
    }
    memcpy(j->y + n * j->c + c, best, (size_t)width * sizeof *best);
    if (j->choice)
        memcpy(j->choice + n * j->c + c, place, (size_t)width * sizeof *place);
}

static void global_max_range(void *context, int64_t first, int64_t end)
{
    const global_job *j = context;
    for (int64_t n = first; n < end; n++)
        for (int64_t c = 0; c < j->c; c += STRIP)
            global_max_strip(j, n, c, qn_min_i64(STRIP, j->c - c));
}

void qn_global_max_f32(qn_pool *pool, float *y, int32_t *choice, const float *x, int64_t n,
                       int64_t pixels, int64_t c)
{
    global_job j = {.y = y, .choice = choice, .x = x, .pixels = pixels, .c = c};
    qn_split(pool, n, qn_split_grain(pixels * c, GRAIN), global_max_range, &j);
}

static void global_max_grad_range(void *context, int64_t first, int64_t end)
{
    const global_job *j = context; /* y is dx, x is dy */
    int64_t size = j->pixels * j->c;
    memset(j->y + first * size, 0, (size_t)((end - first) * size) * sizeof(float));
    for (int64_t i = first * j->c; i < end * j->c; i++)
        if (j->chosen[i] >= 0 && j->chosen[i] < j->pixels) /* it may come from a file */
            j->y[i / j->c * size + j->chosen[i] * j->c + i % j->c] = j->x[i];
}

void qn_global_max_grad_f32(qn_pool *pool, float *dx, const float *dy, const int32_t *choice,
                            int64_t n, int64_t pixels, int64_t c)
{
    global_job j = {.y = dx, .chosen = choice, .x = dy, .pixels = pixels, .c = c};
    qn_split(pool, n, qn_split_grain(pixels * c, GRAIN), global_max_grad_range, &j);
}

static void global_avg_strip(const global_job *j, int64_t n, int64_t c, int64_t width)
{
    const float *x = j->x + n * j->pixels * j->c + c;
    double total[STRIP] = {0};
    float sums[STRIP];
    for (int64_t p = 0; p < j->pixels; p += PIXEL_BLOCK) {
        int64_t rows = qn_min_i64(PIXEL_BLOCK, j->pixels - p);
        qn_reduce_f32_kernels()->columns[QN_REDUCE_SUM](sums, x + p * j->c, rows, width, j->c);
        for (int64_t i = 0; i < width; i++)
            total[i] += (double)sums[i];
    }
    for (int64_t i = 0; i < width; i++)
        j->y[n * j->c + c + i] = (float)(total[i] / (double)j->pixels);
}

static void global_avg_range(void *context, int64_t first, int64_t end)
{
    const global_job *j = context;
    for (int64_t n = first; n < end; n++)
        for (int64_t c = 0; c < j->c; c += STRIP)
            global_avg_strip(j, n, c, qn_min_i64(STRIP, j->c - c));
}

void qn_global_avg_f32(qn_pool *pool, float *y, const float *x, int64_t n, int64_t pixels,
                       int64_t c)
{
    global_job j = {.y = y, .x = x, .pixels = pixels, .c = c};
    qn_split(pool, n, qn_split_grain(pixels * c, GRAIN), global_avg_range, &j);
}

void qn_global_avg_grad_f32(qn_pool *pool, float *dx, const float *dy, int64_t n, int64_t pixels,
                            int64_t c)
{
    qn_reduce_spread_f32(pool, dx, dy, &(qn_reduce_shape){n, pixels, c}, 1 / (float)pixels);
}
