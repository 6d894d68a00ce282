/*
 * Forward convolution and its gradient to the input, as correlations (correlate.h).
 *
 * Gradient to the input: with a stride, pixels of x fall into stride_h x stride_w phases, and within a phase each
 * pixel reads the same filter taps:
 *   dx[p + S t] = sum over taps i with (p + pad - i * dilation) divisible by S of
 *                 W[i]^T dy[t + (p + pad - i * dilation) / S].
 * So every phase is a plain correlation of dy with some transposed taps; phases without taps are zero.
 */
#include "kernel/conv/conv.h"

#include <string.h>

#include "base/error.h"
#include "kernel/conv/conv_priv.h"
#include "kernel/isa.h"

enum {
    RUN_MAX = 512,   /* floats of one source run; longer ones are cut at the taps */
    FAR_BYTES = 1024 /* weight rows this far apart are copied into panels */
};

const qn_conv_kernels *qn_conv_f32_kernels(void)
{
    static const qn_conv_kernels *const rows[QN_CPU_LEVELS] =
        QN_ISA_ROWS(&qn_conv_f32_ref, &qn_conv_f32_avx2, &qn_conv_f32_avx512);
    return rows[qn_cpu_level()];
}

static void copy_panels(const qn_correlation *j, float *dst, const float *weight, int64_t depth,
                        int64_t cols)
{
    QN_ASSERT(weight);
    for (int64_t p = 0; p < qn_tile_panels(j->tile, cols); p++) {
        int64_t col = qn_tile_panel_start(j->tile, cols, p),
                width = qn_tile_panel_start(j->tile, cols, p + 1) - col;
        for (int64_t k = 0; k < depth; k++)
            memcpy(dst + depth * col + k * width, weight + k * cols + col,
                   (size_t)width * sizeof *dst);
    }
}

void qn_conv2d_plan_forward(qn_correlation *j, const qn_conv2d *c, const float *weight,
                            qn_carve *carve, int64_t row_multiple, int threads)
{
    int64_t in = c->cin / c->groups, out = c->cout / c->groups;
    j->plane = (qn_plane){.h = c->h,
                          .w = c->w,
                          .channels = c->cin,
                          .row_step = c->stride_h,
                          .col_step = c->stride_w,
                          .row_first = -c->pad_top,
                          .col_first = -c->pad_left,
                          .rows_span = (c->kh - 1) * c->dilation_h + 1,
                          .cols_span = (c->kw - 1) * c->dilation_w + 1,
                          .out_h = c->oh,
                          .out_w = c->ow};
    qn_plane_finish(&j->plane);
    bool whole_rows = c->dilation_w == 1 && c->groups == 1 && c->kw * c->cin <= RUN_MAX;
    j->images = c->n;
    j->groups = c->groups;
    j->group_in = in;
    j->group_out = out;
    j->segs = whole_rows ? c->kh : c->kh * c->kw;
    j->seg_len = whole_rows ? c->kw * c->cin : in;
    j->seg = qn_carve_take(carve, (size_t)j->segs * sizeof *j->seg);
    for (int64_t s = 0; j->seg && s < j->segs; s++)
        j->seg[s] = whole_rows ? s * c->dilation_h * j->plane.pitch
                               : s / c->kw * c->dilation_h * j->plane.pitch +
                                     s % c->kw * c->dilation_w * c->cin;
    qn_correlation_plan(j, carve, row_multiple, threads);
    j->weight = weight;
    j->weight_group = out;
    j->ldb = c->cout;
    j->panelled = c->groups == 1 && c->cout * (int64_t)sizeof(float) >= FAR_BYTES;
    if (j->panelled) {
        int64_t depth = c->kh * c->kw * in;
        float *panels = qn_carve_take(carve, (size_t)(depth * c->cout) * sizeof *panels);
        if (panels)
            copy_panels(j, panels, weight, depth, c->cout);
        j->weight = panels;
    }
    j->dst_pixel = c->cout;
    j->dst_row = c->ow * c->cout;
    j->dst_image = c->oh * j->dst_row;
}

void qn_conv2d_f32(qn_pool *pool, const qn_conv2d *conv, const qn_conv2d_forward *io, void *scratch)
{
    qn_correlation j = {
        .src = io->x, .dst = io->y, .bias = io->bias, .act = io->act, .slope = io->slope};
    qn_carve carve = {.base = scratch};
    qn_conv2d_plan_forward(&j, conv, io->weight, &carve, 1, pool ? qn_pool_threads(pool) : 1);
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

/* Weights of one phase: [group][panel][tap, cout of the group][cin of the panel], or [tap][channel] when depthwise. */
static void phase_weights(const qn_correlation *j, const qn_conv2d *c, float *dst,
                          const float *weight, const phase_axis *rows, const phase_axis *cols)
{
    int64_t in = j->group_out, out = j->group_in, depth = rows->taps * cols->taps * out;
    for (int64_t t = 0; t < rows->taps * cols->taps; t++) {
        int64_t i = rows->first - t / cols->taps * rows->step,
                k = cols->first - t % cols->taps * cols->step;
        const float *tap = weight + (i * c->kw + k) * in * c->cout;
        if (j->depthwise) {
            memcpy(dst + t * c->cout, tap, (size_t)c->cout * sizeof *dst);
            continue;
        }
        for (int64_t g = 0; g < c->groups; g++) {
            float *slab = dst + g * depth * in;
            for (int64_t p = 0; p < qn_tile_panels(j->tile, in); p++) {
                int64_t col = qn_tile_panel_start(j->tile, in, p),
                        width = qn_tile_panel_start(j->tile, in, p + 1) - col;
                j->tile->transpose(slab + depth * col + t * out * width, width,
                                   tap + col * c->cout + g * out, c->cout, out, width);
            }
        }
    }
}

/* The correlation of one phase. `weight` NULL or no memory in the carve: sizes only. */
static void phase_plan(qn_correlation *j, const qn_conv2d *c, const float *weight,
                       const phase_axis *rows, const phase_axis *cols, qn_carve *carve, int threads)
{
    int64_t in = c->cin / c->groups, out = c->cout / c->groups;
    j->plane = (qn_plane){.h = c->oh,
                          .w = c->ow,
                          .channels = c->cout,
                          .row_step = 1,
                          .col_step = 1,
                          .row_first = rows->offset,
                          .col_first = cols->offset,
                          .rows_span = (rows->taps - 1) * rows->spacing + 1,
                          .cols_span = (cols->taps - 1) * cols->spacing + 1,
                          .out_h = rows->outputs,
                          .out_w = cols->outputs,
                          .copied = j->fetch != NULL};
    qn_plane_finish(&j->plane);
    bool whole_rows = cols->spacing == 1 && c->groups == 1 && cols->taps * c->cout <= RUN_MAX;
    j->images = c->n;
    j->groups = c->groups;
    j->group_in = out;
    j->group_out = in;
    j->segs = whole_rows ? rows->taps : rows->taps * cols->taps;
    j->seg_len = whole_rows ? cols->taps * c->cout : out;
    j->seg = qn_carve_take(carve, (size_t)j->segs * sizeof *j->seg);
    for (int64_t s = 0; j->seg && s < j->segs; s++)
        j->seg[s] = whole_rows ? s * rows->spacing * j->plane.pitch
                               : s / cols->taps * rows->spacing * j->plane.pitch +
                                     s % cols->taps * cols->spacing * c->cout;
    qn_correlation_plan(j, carve, 1, threads);
    int64_t depth = rows->taps * cols->taps * out;
    float *slab = qn_carve_take(carve, (size_t)(depth * c->cin) * sizeof *slab);
    if (slab && weight)
        phase_weights(j, c, slab, weight, rows, cols);
    j->weight = slab;
    j->weight_group = depth * in;
    j->panelled = !j->depthwise;
    j->ldb = j->depthwise ? c->cout : in;
    j->dst_pixel = c->stride_w * c->cin;
    j->dst_row = c->stride_h * c->w * c->cin;
    j->dst_image = c->h * c->w * c->cin;
}

/* Runs every phase; with no memory only measures. Returns the bytes of the largest. */
size_t qn_conv2d_grad_x_phases(qn_pool *pool, const qn_conv2d *c, float *dx, const float *weight,
                               const qn_correlation *source, void *scratch, int threads)
{
    size_t most = 0;
    bool whole = true; /* does every pixel of dx belong to a phase with taps? */
    for (int pass = 0; pass < 2; pass++) {
        for (int64_t i = 0; i < c->stride_h * c->stride_w; i++) {
            phase_axis rows =
                phase_make(c->h, c->kh, c->stride_h, c->pad_top, c->dilation_h, i / c->stride_w);
            phase_axis cols =
                phase_make(c->w, c->kw, c->stride_w, c->pad_left, c->dilation_w, i % c->stride_w);
            if (rows.outputs == 0 || cols.outputs == 0)
                continue;
            if (rows.taps == 0 || cols.taps == 0) {
                whole = false;
                continue;
            }
            qn_correlation j = *source;
            qn_carve carve = {.base = pass == 1 ? scratch : NULL};
            phase_plan(&j, c, weight, &rows, &cols, &carve, threads);
            most = carve.used > most ? carve.used : most;
            j.dst = dx ? dx + (i / c->stride_w * c->w + i % c->stride_w) * c->cin : NULL;
            if (pass == 1)
                qn_correlation_run(pool, &j);
        }
        if (!dx)
            return most;
        if (pass == 0 && !whole)
            memset(dx, 0, (size_t)(c->n * c->h * c->w * c->cin) * sizeof *dx);
    }
    return most;
}

void qn_conv2d_grad_x_f32(qn_pool *pool, const qn_conv2d *conv, float *dx, const float *dy,
                          const float *weight, void *scratch)
{
    qn_correlation source = {.src = dy};
    qn_conv2d_grad_x_phases(pool, conv, dx, weight, &source, scratch,
                            pool ? qn_pool_threads(pool) : 1);
}

size_t qn_conv2d_f32_scratch_bytes(const qn_conv2d *conv, int threads)
{
    qn_correlation j = {0};
    qn_carve carve = {0};
    qn_conv2d_plan_forward(&j, conv, NULL, &carve, 1, threads);
    size_t most = carve.used;
    qn_correlation source = {0};
    size_t other = qn_conv2d_grad_x_phases(NULL, conv, NULL, NULL, &source, NULL, threads);
    most = other > most ? other : most;
    other = qn_conv2d_grad_w_bytes(conv, threads);
    return other > most ? other : most;
}
