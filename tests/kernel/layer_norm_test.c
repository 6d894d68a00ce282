/*
 * Layer, RMS and group normalisation at every level against double precision, also with a mean far from zero.
 */
#include "kernel_testing.h"

#include "kernel/norm/group_norm.h"
#include "kernel/norm/layer_norm.h"

/* Element i of group g of [images, rows, groups, width]. */
static int64_t place(const qn_group_norm_shape *s, int64_t group, int64_t i)
{
    int64_t image = group / s->groups, g = group % s->groups;
    return ((image * s->rows + i / s->width) * s->groups + g) * s->width + i % s->width;
}

typedef struct {
    guarded x, dy, y, dx, scale, shift, mean, rstd, dscale, dshift;
} buffers;

static buffers buffers_make(int64_t size, int64_t channels, int64_t groups, float centre)
{
    return (buffers){.x = guarded_uniform(size, 1, 1, centre - 1, centre + 1),
                     .dy = guarded_uniform(size, 2, 2, -1, 1),
                     .y = guarded_make(size, 3),
                     .dx = guarded_make(size, 0),
                     .scale = guarded_uniform(channels, 1, 3, 0.5f, 2),
                     .shift = guarded_uniform(channels, 2, 4, -1, 1),
                     .mean = guarded_make(groups, 1),
                     .rstd = guarded_make(groups, 2),
                     .dscale = guarded_make(channels, 1),
                     .dshift = guarded_make(channels, 3)};
}

static void buffers_free(buffers *b)
{
    guarded *all[] = {&b->x,     &b->dy,   &b->y,    &b->dx,     &b->scale,
                      &b->shift, &b->mean, &b->rstd, &b->dscale, &b->dshift};
    for (int i = 0; i < 10; i++)
        guarded_free(all[i]);
}

/* Results and gradients of one group; adds to the sums of its channels. */
static void check_group(const buffers *b, const qn_group_norm_shape *s, int64_t group, bool centred,
                        double eps, double *dscale, double *dshift, double tolerance)
{
    int64_t count = s->rows * s->width, first = group % s->groups * s->width;
    double mean = 0, var = 0, sum = 0, dot = 0;
    for (int64_t i = 0; centred && i < count; i++)
        mean += (double)b->x.at[place(s, group, i)] / (double)count;
    for (int64_t i = 0; i < count; i++)
        var += pow((double)b->x.at[place(s, group, i)] - mean, 2) / (double)count;
    double rstd = 1 / sqrt(var + eps);
    assert_true(fabs((double)b->rstd.at[group] / rstd - 1) <= tolerance * rstd + 1e-5);
    assert_true(!centred || fabs((double)b->mean.at[group] - mean) <= tolerance);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = place(s, group, i), c = first + i % s->width;
        double up = (double)b->dy.at[at] * (double)b->scale.at[c];
        double normal = ((double)b->x.at[at] - mean) * rstd;
        sum += centred ? up / (double)count : 0;
        dot += up * normal / (double)count;
        dscale[c] += (double)b->dy.at[at] * normal;
        dshift[c] += (double)b->dy.at[at];
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t at = place(s, group, i), c = first + i % s->width;
        double normal = ((double)b->x.at[at] - mean) * rstd;
        double y = normal * (double)b->scale.at[c] + (centred ? (double)b->shift.at[c] : 0);
        double dx = rstd * ((double)b->dy.at[at] * (double)b->scale.at[c] - sum - normal * dot);
        assert_true(fabs((double)b->y.at[at] - y) <= tolerance * rstd * 4);
        assert_true(fabs((double)b->dx.at[at] - dx) <= tolerance * rstd * rstd * 40);
    }
}

static void check_all(buffers *b, const qn_group_norm_shape *s, bool centred, double eps,
                      float centre)
{
    int64_t channels = s->groups * s->width;
    double tolerance = 3e-6 * (1 + fabs((double)centre)), most = 1 / sqrt(eps);
    double *sums = calloc((size_t)(2 * channels), sizeof *sums);
    for (int64_t g = 0; g < s->images * s->groups; g++)
        check_group(b, s, g, centred, eps, sums, sums + channels, tolerance);
    double size_of = sqrt((double)(s->images * s->rows)) + 1;
    for (int64_t c = 0; c < channels; c++) {
        assert_true(fabs((double)b->dscale.at[c] - sums[c]) <= tolerance * most * 10 * size_of);
        assert_true(fabs((double)b->dshift.at[c] - sums[channels + c]) <= 1e-5 * size_of);
    }
    free(sums);
    buffers_free(b);
}

static void check_layer(int64_t rows, int64_t cols, float centre, bool centred, qn_pool *pool)
{
    buffers b = buffers_make(rows * cols, cols, rows, centre);
    void *scratch = scratch_of(qn_layer_norm_grad_scratch_bytes(rows, cols));
    qn_layer_norm io = {.rows = rows,
                        .cols = cols,
                        .x = b.x.at,
                        .scale = b.scale.at,
                        .shift = centred ? b.shift.at : NULL,
                        .y = b.y.at,
                        .mean = b.mean.at,
                        .rstd = b.rstd.at,
                        .eps = 0.01f,
                        .centred = centred};
    qn_layer_norm_f32(pool, &io);
    qn_layer_norm_grad back = {.rows = rows,
                               .cols = cols,
                               .dy = b.dy.at,
                               .x = b.x.at,
                               .scale = b.scale.at,
                               .mean = b.mean.at,
                               .rstd = b.rstd.at,
                               .dx = b.dx.at,
                               .dscale = b.dscale.at,
                               .dshift = b.dshift.at,
                               .centred = centred};
    qn_layer_norm_grad_f32(pool, &back, scratch);
    free(scratch);
    qn_group_norm_shape shape = {rows, 1, 1, cols};
    check_all(&b, &shape, centred, (double)io.eps, centre);
}

static void check_groups(qn_group_norm_shape shape, float centre, qn_pool *pool)
{
    int64_t channels = shape.groups * shape.width;
    buffers b = buffers_make(shape.images * shape.rows * channels, channels,
                             shape.images * shape.groups, centre);
    void *scratch = scratch_of(qn_group_norm_scratch_bytes(&shape));
    qn_group_norm io = {.shape = shape,
                        .x = b.x.at,
                        .scale = b.scale.at,
                        .shift = b.shift.at,
                        .y = b.y.at,
                        .mean = b.mean.at,
                        .rstd = b.rstd.at,
                        .eps = 0.01f};
    qn_group_norm_f32(pool, &io, scratch);
    qn_group_norm_grad back = {.shape = shape,
                               .dy = b.dy.at,
                               .x = b.x.at,
                               .scale = b.scale.at,
                               .mean = b.mean.at,
                               .rstd = b.rstd.at,
                               .dx = b.dx.at,
                               .dscale = b.dscale.at,
                               .dshift = b.dshift.at};
    qn_group_norm_grad_f32(pool, &back, scratch);
    free(scratch);
    check_all(&b, &shape, true, (double)io.eps, centre);
}

static void own_norms_match_double(void **state)
{
    (void)state;
    static const int64_t cols[] = {1, 3, 8, 15, 16, 17, 33, 49, 257}, rows[] = {1, 7, 64, 130};
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        qn_pool *pool = pool_of(2);
        for (int i = 0; i < 9 * 4 * 2; i++) {
            float centre = i % 5 == 0 ? 100 : 0;
            check_layer(rows[i % 4], cols[i % 9], i % 2 ? centre : 0, i % 2, i % 3 ? pool : NULL);
            qn_group_norm_shape shape = {1 + i % 5, rows[i % 4], 1 + i % 3, cols[i % 9] % 20 + 1};
            check_groups(shape, centre, i % 3 ? pool : NULL);
        }
        check_groups((qn_group_norm_shape){4, 1100, 5, 1}, 100, pool);
        qn_pool_destroy(pool);
    }
}

static void own_norms_give_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    enum { R = 3000, C = 40 };
    static float x[R * C], dy[R * C], scale[C], mean[R], rstd[R], y[R * C];
    static float dx[POOLS][R * C], dscale[POOLS][C], dshift[POOLS][C];
    values_uniform(x, (int64_t)R * C, 1, -1, 3);
    values_uniform(dy, (int64_t)R * C, 2, -1, 1);
    values_uniform(scale, C, 3, 0.5f, 2);
    void *scratch = scratch_of(qn_layer_norm_grad_scratch_bytes(R, C));
    for (int p = 0; p < POOLS; p++) {
        qn_pool *pool = pool_of(pool_threads[p]);
        qn_layer_norm io = {R, C, x, scale, NULL, y, mean, rstd, 1e-5f, true};
        qn_layer_norm_f32(pool, &io);
        qn_layer_norm_grad back = {R,    C,     dy,        x,         scale, mean,
                                   rstd, dx[p], dscale[p], dshift[p], true};
        qn_layer_norm_grad_f32(pool, &back, scratch);
        assert_memory_equal(dx[p], dx[0], sizeof dx[0]);
        assert_memory_equal(dscale[p], dscale[0], sizeof dscale[0]);
        assert_memory_equal(dshift[p], dshift[0], sizeof dshift[0]);
        qn_pool_destroy(pool);
    }
    free(scratch);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(own_norms_match_double, levels_reset),
        cmocka_unit_test_teardown(own_norms_give_the_same_bits_for_any_thread_count, levels_reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
