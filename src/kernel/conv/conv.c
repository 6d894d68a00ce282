/*
 * Forward convolution and its gradient to the input (which is transposed convolution), as correlations (correlate.h).
 *
 * Gradient to the input: with a stride, pixels of x fall into as many phases, and within a phase each pixel reads the
 * same filter taps:
 *   dx[p + S t] = sum over taps i with (p + pad - i * dilation) divisible by S of
 *                 W[i]^T dy[t + (p + pad - i * dilation) / S].
 * So every phase is a plain correlation of dy with some transposed taps; phases without taps are zero.
 */
#include "kernel/conv/conv.h"

#include <string.h>

#include "base/checked.h"
#include "base/error.h"
#include "kernel/conv/conv_priv.h"
#include "kernel/conv/winograd.h"
#include "kernel/isa.h"

enum { FAR_BYTES = 1024 }; /* weight rows this far apart are copied into panels */

const qn_conv_kernels *qn_conv_f32_kernels(void)
{
    static const qn_conv_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_conv_f32);
    return rows[qn_cpu_level()];
}

qn_conv2d qn_conv2d_with_depth(const qn_conv2d *conv)
{
    qn_conv2d c = *conv;
    if (c.kd == 0) {
        c.d = c.od = c.kd = c.stride_d = c.dilation_d = 1;
        c.pad_front = 0;
    }
    return c;
}

/* Of [depth, cols], panel by panel. */
static void copy_panels(float *dst, const float *weight, int64_t depth, int64_t cols)
{
    const qn_tile_kernels *tile = qn_tile_f32();
    QN_ASSERT(weight);
    for (int64_t p = 0; p < qn_tile_panels(tile, cols); p++) {
        int64_t col = qn_tile_panel_start(tile, cols, p),
                width = qn_tile_panel_start(tile, cols, p + 1) - col;
        for (int64_t k = 0; k < depth; k++)
            memcpy(dst + depth * col + k * width, weight + k * cols + col,
                   (size_t)width * sizeof *dst);
    }
}

size_t qn_conv2d_packed_bytes(const qn_conv2d *conv)
{
    qn_conv2d c = qn_conv2d_with_depth(conv);
    if (qn_winograd_takes(conv))
        return qn_winograd_packed_bytes(conv);
    return c.groups == 1 ? (size_t)(c.kd * c.kh * c.kw * c.cin * c.cout) * sizeof(float) : 0;
}

void qn_conv2d_pack(const qn_conv2d *conv, float *dst, const float *weight)
{
    qn_conv2d c = qn_conv2d_with_depth(conv);
    int64_t depth = c.kh * c.kw * c.cin, slice = depth * c.cout;
    if (qn_winograd_takes(conv)) {
        qn_winograd_pack(NULL, conv, dst, weight);
        return;
    }
    for (int64_t t = 0; t < c.kd; t++)
        copy_panels(dst + t * slice, weight + t * slice, depth, c.cout);
}

/* Far apart, rows of weights crowd into a few sets of the caches: such weights are copied panel by panel. */
static void lay_weights(qn_correlation *j, const qn_conv2d *c, const qn_conv2d_forward *io,
                        qn_carve *carve)
{
    j->weight = io->weight;
    j->weight_group = c->cout / c->groups;
    j->weight_slice = c->kh * c->kw * (c->cin / c->groups) * c->cout;
    j->ldb = c->cout;
    j->panelled = c->groups == 1 && (io->packed || c->cout * (int64_t)sizeof(float) >= FAR_BYTES);
    if (!j->panelled)
        return;
    j->weight = io->packed;
    if (io->packed)
        return;
    float *panels = qn_carve_take(carve, qn_conv2d_packed_bytes(c));
    if (panels)
        qn_conv2d_pack(c, panels, io->weight);
    j->weight = panels;
}

qn_plane qn_conv2d_plane(const qn_conv2d *c, bool copied)
{
    qn_plane plane = (qn_plane){.h = c->h,
                                .w = c->w,
                                .channels = c->cin,
                                .row_step = c->stride_h,
                                .col_step = c->stride_w,
                                .row_first = -c->pad_top,
                                .col_first = -c->pad_left,
                                .rows_span = (c->kh - 1) * c->dilation_h + 1,
                                .cols_span = (c->kw - 1) * c->dilation_w + 1,
                                .out_h = c->oh,
                                .out_w = c->ow,
                                .copied = copied};
    qn_plane_finish(&plane);
    return plane;
}

void qn_conv2d_plan_forward(qn_correlation *j, const qn_conv2d *conv, const qn_conv2d_forward *io,
                            qn_carve *carve, int64_t row_multiple, int threads)
{
    qn_conv2d depth = qn_conv2d_with_depth(conv);
    const qn_conv2d *c = &depth;
    j->plane = qn_conv2d_plane(c, j->fetch != NULL);
    j->slices = (qn_slices){c->d, c->od, c->kd, c->stride_d, -c->pad_front, c->dilation_d};
    j->images = c->n;
    j->groups = c->groups;
    j->group_in = c->cin / c->groups;
    j->group_out = c->cout / c->groups;
    j->src = io->x;
    j->dst = io->y;
    j->bias = io->bias;
    j->added = io->added;
    j->act = io->act;
    j->slope = io->slope;
    qn_correlation_runs(j, &(qn_taps){c->kh, c->kw, c->dilation_h, c->dilation_w}, carve);
    qn_correlation_plan(j, carve, row_multiple, threads);
    lay_weights(j, c, io, carve);
    j->dst_pixel = c->cout;
    j->dst_row = c->ow * c->cout;
    j->dst_slice = c->oh * j->dst_row;
    j->dst_image = c->od * j->dst_slice;
}

void qn_conv2d_f32(qn_pool *pool, const qn_conv2d *conv, const qn_conv2d_forward *io, void *scratch)
{
    qn_correlation j = {0};
    qn_carve carve = {.base = scratch};
    if (qn_winograd_takes(conv)) {
        qn_winograd_forward(pool, conv, &(qn_winograd){.io = *io}, scratch);
        return;
    }
    qn_conv2d_plan_forward(&j, conv, io, &carve, 1, pool ? qn_pool_threads(pool) : 1);
    qn_correlation_run(pool, &j);
}

/* One dimension of a phase: which taps reach it, and where they read. */
typedef struct {
    int64_t outputs;         /* pixels of this phase */
    int64_t taps;            /* that contribute */
    int64_t first, step;     /* filter index of tap t is first - t * step: offsets rise with t */
    int64_t offset, spacing; /* tap t reads dy at output + offset + t * spacing */
} phase_axis;

static phase_axis phase_make(int64_t size, int64_t k, int64_t stride, int64_t pad, int64_t dilation,
                             int64_t phase)
{
    phase_axis a = {.outputs = phase < size ? (size - phase + stride - 1) / stride : 0,
                    .step = 1,
                    .spacing = 1};
    int64_t last = -1;
    for (int64_t i = k - 1; i >= 0; i--) {
        if ((phase + pad - i * dilation) % stride != 0)
            continue;
        if (a.taps == 0) {
            a.first = i;
            a.offset = (phase + pad - i * dilation) / stride;
        } else if (a.taps == 1) {
            a.step = last - i;
            a.spacing = (phase + pad - i * dilation) / stride - a.offset;
        }
        last = i;
        a.taps++;
    }
    return a;
}

/* The axes of one phase. */
typedef struct {
    phase_axis slices, rows, cols;
} phase;

/* Weights of one phase: for each tap of the depth [group][panel][tap, cout of the group][cin of the panel], or
 * [tap][channel] when depthwise. */
static void phase_weights(const qn_correlation *j, const qn_conv2d *c, float *dst,
                          const float *weight, const phase *p)
{
    int64_t in = j->group_out, out = j->group_in, taps = p->rows.taps * p->cols.taps,
            depth = taps * out;
    for (int64_t all = 0; all < p->slices.taps * taps; all++) {
        int64_t t = all % taps, a = p->slices.first - all / taps * p->slices.step;
        int64_t i = p->rows.first - t / p->cols.taps * p->rows.step,
                k = p->cols.first - t % p->cols.taps * p->cols.step;
        const float *tap = weight + ((a * c->kh + i) * c->kw + k) * in * c->cout;
        float *slice = dst + all / taps * j->weight_slice;
        if (j->depthwise) {
            memcpy(slice + t * c->cout, tap, (size_t)c->cout * sizeof *dst);
            continue;
        }
        for (int64_t g = 0; g < c->groups; g++) {
            float *slab = slice + g * depth * in;
            for (int64_t panel = 0; panel < qn_tile_panels(j->tile, in); panel++) {
                int64_t col = qn_tile_panel_start(j->tile, in, panel),
                        width = qn_tile_panel_start(j->tile, in, panel + 1) - col;
                j->tile->transpose(slab + depth * col + t * out * width, width,
                                   tap + col * c->cout + g * out, c->cout, out, width);
            }
        }
    }
}

/* The correlation of one phase. `weight` NULL or no memory in the carve: sizes only. A phase that no tap reaches is a
 * correlation without terms. */
static void phase_plan(qn_correlation *j, const qn_conv2d *c, const float *weight, const phase *p,
                       qn_carve *carve, int threads)
{
    int64_t in = c->cin / c->groups, out = c->cout / c->groups;
    const phase_axis *rows = &p->rows, *cols = &p->cols;
    j->plane = (qn_plane){.h = c->oh,
                          .w = c->ow,
                          .channels = c->cout,
                          .row_step = 1,
                          .col_step = 1,
                          .row_first = rows->offset,
                          .col_first = cols->offset,
                          .rows_span = (qn_max_i64(rows->taps, 1) - 1) * rows->spacing + 1,
                          .cols_span = (qn_max_i64(cols->taps, 1) - 1) * cols->spacing + 1,
                          .out_h = rows->outputs,
                          .out_w = cols->outputs,
                          .copied = j->fetch != NULL};
    qn_plane_finish(&j->plane);
    j->slices = (qn_slices){c->od, p->slices.outputs, p->slices.taps,
                            1,     p->slices.offset,  p->slices.spacing};
    j->images = c->n;
    j->groups = c->groups;
    j->group_in = out;
    j->group_out = in;
    qn_correlation_runs(j, &(qn_taps){rows->taps, cols->taps, rows->spacing, cols->spacing}, carve);
    qn_correlation_plan(j, carve, 1, threads);
    j->weight_slice = rows->taps * cols->taps * out * c->cin;
    float *slab = qn_carve_take(carve, (size_t)(p->slices.taps * j->weight_slice) * sizeof *slab);
    if (slab && weight)
        phase_weights(j, c, slab, weight, p);
    j->weight = slab;
    j->weight_group = rows->taps * cols->taps * out * in;
    j->panelled = !j->depthwise;
    j->ldb = j->depthwise ? c->cout : in;
    j->dst_pixel = c->stride_w * c->cin;
    j->dst_row = c->stride_h * c->w * c->cin;
    j->dst_slice = c->stride_d * c->h * c->w * c->cin;
    j->dst_image = c->d * c->h * c->w * c->cin;
}

/* Runs every phase; with no memory only measures. Returns the bytes of the largest. */
size_t qn_conv2d_grad_x_phases(qn_pool *pool, const qn_conv2d *conv, float *dx, const float *weight,
                               const qn_correlation *source, void *scratch, int threads)
{
    size_t most = 0;
    qn_conv2d c = qn_conv2d_with_depth(conv);
    for (int64_t i = 0; i < c.stride_d * c.stride_h * c.stride_w; i++) {
        int64_t slice = i / c.stride_w / c.stride_h, row = i / c.stride_w % c.stride_h,
                col = i % c.stride_w;
        phase p = {phase_make(c.d, c.kd, c.stride_d, c.pad_front, c.dilation_d, slice),
                   phase_make(c.h, c.kh, c.stride_h, c.pad_top, c.dilation_h, row),
                   phase_make(c.w, c.kw, c.stride_w, c.pad_left, c.dilation_w, col)};
        if (p.slices.outputs == 0 || p.rows.outputs == 0 || p.cols.outputs == 0)
            continue;
        qn_correlation j = *source;
        qn_carve carve = {.base = scratch};
        phase_plan(&j, &c, weight, &p, &carve, threads);
        most = carve.used > most ? carve.used : most;
        if (!dx)
            continue;
        j.dst = dx + ((slice * c.h + row) * c.w + col) * c.cin;
        qn_correlation_run(pool, &j);
    }
    return most;
}

void qn_conv2d_grad_x_f32(qn_pool *pool, const qn_conv2d *conv, float *dx, const float *dy,
                          const float *weight, void *scratch)
{
    qn_correlation source = {.src = dy};
    if (qn_winograd_takes_grad_x(conv)) {
        const qn_winograd io = {.io = {.x = dy, .weight = weight, .y = dx}};
        qn_winograd_grad_x(pool, conv, &io, scratch);
        return;
    }
    qn_conv2d_grad_x_phases(pool, conv, dx, weight, &source, scratch,
                            pool ? qn_pool_threads(pool) : 1);
}

void qn_conv2d_transposed_f32(qn_pool *pool, const qn_conv2d *conv, const qn_conv2d_forward *io,
                              void *scratch)
{
    if (qn_winograd_takes_grad_x(conv)) {
        qn_winograd_grad_x(pool, conv, &(qn_winograd){.io = *io}, scratch);
        return;
    }
    qn_correlation source = {.src = io->x, .bias = io->bias, .act = io->act, .slope = io->slope};
    qn_conv2d_grad_x_phases(pool, conv, io->y, io->weight, &source, scratch,
                            pool ? qn_pool_threads(pool) : 1);
}

size_t qn_conv2d_forward_scratch_bytes(const qn_conv2d *conv, bool packed, int threads)
{
    static const float some[1]; /* weights that are packed, whatever they are */
    qn_conv2d_forward io = {.packed = packed ? some : NULL};
    qn_correlation j = {0};
    qn_carve carve = {0};
    if (qn_winograd_takes(conv))
        return qn_winograd_forward_bytes(conv, &(qn_winograd){.io = io}, threads);
    qn_conv2d_plan_forward(&j, conv, &io, &carve, 1, threads);
    return carve.used;
}

size_t qn_conv2d_grad_x_scratch_bytes(const qn_conv2d *conv, int threads)
{
    qn_correlation source = {0};
    if (qn_winograd_takes_grad_x(conv))
        return qn_winograd_grad_x_bytes(conv, &(qn_winograd){0}, threads);
    return qn_conv2d_grad_x_phases(NULL, conv, NULL, NULL, &source, NULL, threads);
}

size_t qn_conv2d_grad_w_scratch_bytes(const qn_conv2d *conv, int threads)
{
    qn_conv2d_grad_w plain = {.row_multiple = 1};
    return qn_winograd_takes_grad_w(conv) ? qn_winograd_grad_w_bytes(conv, false, threads)
                                          : qn_conv2d_grad_w_bytes(conv, &plain, threads);
}

size_t qn_conv2d_f32_scratch_bytes(const qn_conv2d *conv, int threads)
{
    size_t most = qn_conv2d_forward_scratch_bytes(conv, false, threads);
    size_t to_x = qn_conv2d_grad_x_scratch_bytes(conv, threads);
    size_t to_w = qn_conv2d_grad_w_scratch_bytes(conv, threads);
    most = to_x > most ? to_x : most;
    return to_w > most ? to_w : most;
}
