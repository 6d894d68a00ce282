/*
 * Group normalisation, channels last. Sums run down the pixels for each channel, as in batch normalisation, in f32
 * blocks that are joined in f64; a group's statistics come from its channels'. An image is one piece of work.
 */
#include "kernel/norm/group_norm.h"

#include <math.h>
#include <string.h>

#include "kernel/isa.h"
#include "kernel/norm/layer_norm_table.h"
#include "kernel/norm/norm_table.h"
#include "kernel/reduce/reduce_table.h"
#include "kernel/split.h"

enum {
    BLOCK_ROWS = 512,
    GRAIN = 8192 /* elements */
};

typedef struct {
    const qn_norm_kernels *norm;
    const qn_layer_norm_kernels *layer;
    const qn_reduce_kernels *reduce;
    qn_group_norm_shape shape;
    int64_t channels;
    const qn_group_norm *forward;
    const qn_group_norm_grad *backward;
    char *scratch;
} job;

/* One image's part of the scratch. */
typedef struct {
    double *first, *second; /* [channels]: sums of the whole image */
    float *sums;            /* [channels]: of a block */
    float *value[TILTED_COUNT];
} lane;

static size_t row_bytes(int64_t channels)
{
    return ((size_t)channels * sizeof(double) + 63) / 64 * 64;
}

static size_t lane_bytes(int64_t channels)
{
    return row_bytes(channels) * (2 + 1 + TILTED_COUNT);
}

size_t qn_group_norm_scratch_bytes(const qn_group_norm_shape *shape)
{
    return (size_t)shape->images * lane_bytes(shape->groups * shape->width);
}

static lane lane_of(const job *j, int64_t image)
{
    size_t row = row_bytes(j->channels);
    char *at = j->scratch + (size_t)image * lane_bytes(j->channels);
    lane l = {.first = (double *)(void *)at,
              .second = (double *)(void *)(at + row),
              .sums = (float *)(void *)(at + 2 * row)};
    for (int i = 0; i < TILTED_COUNT; i++)
        l.value[i] = (float *)(void *)(at + (size_t)(3 + i) * row);
    return l;
}

static job job_make(const qn_group_norm_shape *shape, void *scratch)
{
    static const qn_norm_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_norm_f32);
    return (job){.norm = rows[qn_cpu_level()],
                 .layer = qn_layer_norm_f32_kernels(),
                 .reduce = qn_reduce_f32_kernels(),
                 .shape = *shape,
                 .channels = shape->groups * shape->width,
                 .scratch = scratch};
}

static void add_sums(double *dst, const float *sums, int64_t channels)
{
    for (int64_t c = 0; c < channels; c++)
        dst[c] += (double)sums[c];
}

/* dst = sums over the image's rows. */
static void sum_columns(const job *j, const lane *l, double *dst, const float *x)
{
    memset(dst, 0, (size_t)j->channels * sizeof *dst);
    for (int64_t r = 0; r < j->shape.rows; r += BLOCK_ROWS) {
        int64_t rows = j->shape.rows - r < BLOCK_ROWS ? j->shape.rows - r : BLOCK_ROWS;
        j->reduce->columns[QN_REDUCE_SUM](l->sums, x + r * j->channels, rows, j->channels,
                                          j->channels);
        add_sums(dst, l->sums, j->channels);
    }
}

/* dst = sums of dy * (x - mean); without dy, of (x - mean)^2. */
static void sum_products(const job *j, const lane *l, double *dst, const float *dy, const float *x)
{
    memset(dst, 0, (size_t)j->channels * sizeof *dst);
    for (int64_t r = 0; r < j->shape.rows; r += BLOCK_ROWS) {
        int64_t rows = j->shape.rows - r < BLOCK_ROWS ? j->shape.rows - r : BLOCK_ROWS;
        int64_t at = r * j->channels;
        if (dy)
            j->norm->product(l->sums, dy + at, x + at, l->value[TILTED_MEAN], rows, j->channels);
        else
            j->norm->deviation(l->sums, x + at, l->value[TILTED_MEAN], rows, j->channels);
        add_sums(dst, l->sums, j->channels);
    }
}

/* The sum of a group's channels, each times its factor. */
static double group_sum(const double *sums, const float *factor, int64_t width)
{
    double sum = 0;
    for (int64_t i = 0; i < width; i++)
        sum += sums[i] * (factor ? (double)factor[i] : 1);
    return sum;
}

static void fill(float *dst, int64_t count, double value)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = (float)value;
}

static void forward_image(const job *j, int64_t image)
{
    const qn_group_norm *io = j->forward;
    const qn_group_norm_shape *s = &j->shape;
    lane l = lane_of(j, image);
    const float *x = io->x + image * s->rows * j->channels;
    double count = (double)(s->rows * s->width);
    sum_columns(j, &l, l.first, x);
    for (int64_t g = 0; g < s->groups; g++) {
        double mean = group_sum(l.first + g * s->width, NULL, s->width) / count;
        io->mean[image * s->groups + g] = (float)mean;
        fill(l.value[TILTED_MEAN] + g * s->width, s->width, mean);
    }
    sum_products(j, &l, l.second, NULL, x);
    for (int64_t g = 0; g < s->groups; g++) {
        double var = group_sum(l.second + g * s->width, NULL, s->width) / count;
        double rstd = 1 / sqrt(var + (double)io->eps);
        io->rstd[image * s->groups + g] = (float)rstd;
        for (int64_t c = g * s->width; c < (g + 1) * s->width; c++)
            l.value[TILTED_FACTOR][c] = (float)(rstd * (double)io->scale[c]);
    }
    j->norm->apply(io->y + image * s->rows * j->channels, x, l.value[TILTED_MEAN],
                   l.value[TILTED_FACTOR], io->shift, s->rows, j->channels);
}

static void backward_image(const job *j, int64_t image)
{
    const qn_group_norm_grad *io = j->backward;
    const qn_group_norm_shape *s = &j->shape;
    lane l = lane_of(j, image);
    int64_t from = image * s->rows * j->channels;
    double count = (double)(s->rows * s->width);
    for (int64_t g = 0; g < s->groups; g++)
        fill(l.value[TILTED_MEAN] + g * s->width, s->width,
             (double)io->mean[image * s->groups + g]);
    sum_columns(j, &l, l.first, io->dy + from);
    sum_products(j, &l, l.second, io->dy + from, io->x + from);
    for (int64_t g = 0; g < s->groups; g++) {
        int64_t at = g * s->width;
        double rstd = (double)io->rstd[image * s->groups + g];
        double sum = group_sum(l.first + at, io->scale + at, s->width) / count;
        double dot = group_sum(l.second + at, io->scale + at, s->width) / count;
        fill(l.value[TILTED_SHIFT] + at, s->width, rstd * sum);
        fill(l.value[TILTED_SLOPE] + at, s->width, rstd * rstd * rstd * dot);
        for (int64_t c = at; c < at + s->width; c++) {
            l.value[TILTED_FACTOR][c] = (float)(rstd * (double)io->scale[c]);
            l.second[c] *= rstd;
        }
    }
    const float *const of[TILTED_COUNT] = {l.value[0], l.value[1], l.value[2], l.value[3]};
    j->layer->tilted(io->dx + from, io->dy + from, io->x + from, of, s->rows, j->channels);
}

static void images_range(void *context, int64_t first, int64_t end)
{
    const job *j = context;
    for (int64_t i = first; i < end; i++) {
        if (j->forward)
            forward_image(j, i);
        else
            backward_image(j, i);
    }
}

static void run(qn_pool *pool, job *j)
{
    if (j->shape.rows * j->channels > 0)
        qn_split(pool, j->shape.images, qn_split_grain(j->shape.rows * j->channels, GRAIN),
                 images_range, j);
}

void qn_group_norm_f32(qn_pool *pool, const qn_group_norm *io, void *scratch)
{
    job j = job_make(&io->shape, scratch);
    j.forward = io;
    run(pool, &j);
}

void qn_group_norm_grad_f32(qn_pool *pool, const qn_group_norm_grad *io, void *scratch)
{
    job j = job_make(&io->shape, scratch);
    j.backward = io;
    run(pool, &j);
    for (int64_t c = 0; c < j.channels; c++) {
        double dscale = 0, dshift = 0;
        for (int64_t i = 0; i < io->shape.images && io->shape.rows > 0; i++) {
            dscale += lane_of(&j, i).second[c];
            dshift += lane_of(&j, i).first[c];
        }
        if (io->dscale)
            io->dscale[c] = (float)dscale;
        if (io->dshift)
            io->dshift[c] = (float)dshift;
    }
}
