/*
 * Convolution, its gradients and its fusion with the pool at every level, against loops in double precision over many
 * small geometries.
 */
#include "conv_testing.h"
#include "kernel_testing.h"

#include "kernel/conv/conv.h"

/* Calls fn for every product: weight index, x index, y index. */
typedef void (*product_fn)(void *context, int64_t w, int64_t x, int64_t y);

static int64_t depth_or_1(int64_t value)
{
    return value ? value : 1;
}

static void each_product(const qn_conv2d *c, product_fn fn, void *context)
{
    int64_t in = c->cin / c->groups, out = c->cout / c->groups, od = depth_or_1(c->od),
            kd = depth_or_1(c->kd), d = depth_or_1(c->d);
    for (int64_t y = 0; y < c->n * od * c->oh * c->ow * c->cout; y++) {
        int64_t o = y % c->cout, s = y / c->cout % c->ow, r = y / c->cout / c->ow % c->oh,
                n = y / c->cout / c->ow / c->oh / od, q = y / c->cout / c->ow / c->oh % od;
        for (int64_t t = 0; t < kd * c->kh * c->kw; t++) {
            int64_t slice = q * c->stride_d - c->pad_front + t / c->kw / c->kh * c->dilation_d;
            int64_t row = r * c->stride_h - c->pad_top + t / c->kw % c->kh * c->dilation_h;
            int64_t col = s * c->stride_w - c->pad_left + t % c->kw * c->dilation_w;
            if (slice < 0 || slice >= d || row < 0 || row >= c->h || col < 0 || col >= c->w)
                continue;
            for (int64_t i = 0; i < in; i++)
                fn(context, (t * in + i) * c->cout + o,
                   (((n * d + slice) * c->h + row) * c->w + col) * c->cin + o / out * in + i, y);
        }
    }
}

/* Doubles of the three results, and the sums of absolute products that bound their errors. */
typedef struct {
    const float *x, *w, *dy;
    double *y, *dx, *dw, *size_y, *size_x, *size_w;
} truth;

static void add_product(void *context, int64_t w, int64_t x, int64_t y)
{
    const truth *t = context;
    double a = (double)t->x[x] * (double)t->w[w], b = (double)t->dy[y] * (double)t->w[w],
           c = (double)t->dy[y] * (double)t->x[x];
    t->y[y] += a;
    t->size_y[y] += fabs(a);
    t->dx[x] += b;
    t->size_x[x] += fabs(b);
    t->dw[w] += c;
    t->size_w[w] += fabs(c);
}

static double *zeros(int64_t count)
{
    return calloc((size_t)count + 1, sizeof(double));
}

static void compare(const char *what, const qn_conv2d *c, const float *got, const double *want,
                    const double *size, int64_t count)
{
    for (int64_t i = 0; i < count; i++) {
        if (!(fabs((double)got[i] - want[i]) <= 4e-6 * size[i] + 1e-7))
            fail_msg("%s n%d %dx%dx%d -> %dx%dx%d k%dx%d s%d,%d p%d,%d d%d,%d g%d at %d: %g, want "
                     "%g (%s)",
                     what, (int)c->n, (int)c->h, (int)c->w, (int)c->cin, (int)c->oh, (int)c->ow,
                     (int)c->cout, (int)c->kh, (int)c->kw, (int)c->stride_h, (int)c->stride_w,
                     (int)c->pad_top, (int)c->pad_left, (int)c->dilation_h, (int)c->dilation_w,
                     (int)c->groups, (int)i, (double)got[i], want[i],
                     qn_cpu_level_name(qn_cpu_level()));
    }
}

static void check_conv(const qn_conv2d *c, qn_pool *pool, int threads)
{
    int64_t xs = c->n * depth_or_1(c->d) * c->h * c->w * c->cin,
            ys = c->n * depth_or_1(c->od) * c->oh * c->ow * c->cout;
    int64_t ws = depth_or_1(c->kd) * c->kh * c->kw * c->cin / c->groups * c->cout;
    guarded x = guarded_uniform(xs, 1, 1, -1, 1), w = guarded_uniform(ws, 2, 2, -1, 1),
            bias = guarded_uniform(c->cout, 1, 3, -1, 1),
            back = guarded_uniform(c->cin, 1, 5, -1, 1);
    guarded added = guarded_uniform(ys, 2, 6, -1, 1),
            packed = guarded_make((int64_t)qn_conv2d_packed_bytes(c) / 4, 1);
    guarded dy = guarded_uniform(ys, 3, 4, -1, 1), y = guarded_make(ys, 1),
            dx = guarded_make(xs, 2), dw = guarded_make(ws, 3);
    guarded db = guarded_make(c->cout, 1);
    truth t = {x.at, w.at, dy.at, zeros(ys), zeros(xs), zeros(ws), zeros(ys), zeros(xs), zeros(ws)};
    each_product(c, add_product, &t);
    size_t bytes = qn_conv2d_f32_scratch_bytes(c, threads);
    guarded scratch = guarded_make((int64_t)bytes / 4, 0);
    qn_conv2d_forward io = {.x = x.at,
                            .weight = w.at,
                            .bias = bias.at,
                            .added = added.at,
                            .y = y.at,
                            .act = QN_ACT_LEAKY,
                            .slope = 0.1f};
    qn_conv2d_f32(pool, c, &io, scratch.at);
    for (int64_t i = 0; i < ys; i++) {
        t.y[i] += (double)bias.at[i % c->cout] + (double)added.at[i];
        t.size_y[i] += 2;
        t.y[i] = t.y[i] > 0 ? t.y[i] : (double)0.1f * t.y[i];
    }
    compare("y", c, y.at, t.y, t.size_y, ys);
    if (packed.count > 0) {
        float *first = scratch_of((size_t)ys * sizeof(float));
        memcpy(first, y.at, (size_t)ys * sizeof(float));
        qn_conv2d_pack(c, packed.at, w.at);
        io.packed = packed.at;
        io.weight = NULL;
        qn_conv2d_f32(pool, c, &io, scratch.at);
        assert_memory_equal(first, y.at, (size_t)ys * sizeof(float));
        free(first);
    }
    qn_conv2d_forward to_x = {.x = dy.at, .weight = w.at, .bias = back.at, .y = dx.at};
    qn_conv2d_transposed_f32(pool, c, &to_x, scratch.at);
    for (int64_t i = 0; i < xs; i++) {
        t.dx[i] += (double)back.at[i % c->cin];
        t.size_x[i] += 1;
    }
    compare("transposed", c, dx.at, t.dx, t.size_x, xs);
    for (int64_t i = 0; i < xs; i++)
        t.dx[i] -= (double)back.at[i % c->cin];
    qn_conv2d_grad_x_f32(pool, c, dx.at, dy.at, w.at, scratch.at);
    compare("dx", c, dx.at, t.dx, t.size_x, xs);
    qn_conv2d_grad_w_f32(pool, c, dw.at, db.at, x.at, dy.at, scratch.at);
    compare("dw", c, dw.at, t.dw, t.size_w, ws);
    double *sums = zeros(c->cout), *sizes = zeros(c->cout);
    for (int64_t i = 0; i < ys; i++) {
        sums[i % c->cout] += (double)dy.at[i];
        sizes[i % c->cout] += fabs((double)dy.at[i]);
    }
    compare("db", c, db.at, sums, sizes, c->cout);
    double *all[] = {t.y, t.dx, t.dw, t.size_y, t.size_x, t.size_w, sums, sizes};
    for (int i = 0; i < 8; i++)
        free(all[i]);
    guarded *buffers[] = {&x, &w, &bias, &back, &added, &packed, &dy, &y, &dx, &dw, &db, &scratch};
    for (int i = 0; i < 12; i++)
        guarded_free(buffers[i]);
}

static void convolutions_match_double_in_every_geometry(void **state)
{
    (void)state;
    static const struct {
        int64_t cin, cout, groups;
    } channels[] = {{1, 1, 1},    {1, 32, 1},   {3, 5, 1}, {4, 17, 1}, {4, 6, 2},
                    {16, 16, 16}, {20, 20, 20}, {6, 3, 3}, {33, 50, 1}};
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int i = 0; i < 9 * CONV_GEOMETRIES * 2; i++) {
            qn_conv2d c = {.n = 2,
                           .w = i / (9 * CONV_GEOMETRIES) ? 9 : 6,
                           .cin = channels[i % 9].cin,
                           .cout = channels[i % 9].cout,
                           .groups = channels[i % 9].groups};
            if (conv_geometry(&c, i / 9))
                check_conv(&c, NULL, 1);
        }
    }
}

static void volumes_and_sequences_match_double(void **state)
{
    (void)state;
    static const int64_t channels[][3] = {{2, 3, 1}, {4, 6, 2}, {17, 17, 17}, {3, 40, 1}};
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        for (int i = 0; i < 4 * 3 * 3 * 2 * 2 * 2; i++) {
            int64_t k = 1 + i / 4 % 3, stride = 1 + i / 12 % 3, pad = i / 36 % 2,
                    dilation = 1 + i / 72 % 2;
            qn_conv2d c = {.n = 2,
                           .h = 4,
                           .w = 5,
                           .cin = channels[i % 4][0],
                           .cout = channels[i % 4][1],
                           .kh = 2,
                           .kw = 2,
                           .stride_h = 1,
                           .stride_w = 2,
                           .dilation_h = 1,
                           .dilation_w = 1,
                           .groups = channels[i % 4][2],
                           .d = 5,
                           .kd = k,
                           .stride_d = stride,
                           .pad_front = pad,
                           .dilation_d = dilation};
            c.oh = 3;
            c.ow = 2;
            c.od = conv_out_size(c.d, k, stride, pad + 1, dilation);
            if (i / 144 == 1) /* the same down a sequence, longer than a block */
                c = (qn_conv2d){.n = 2,
                                .h = 389,
                                .w = 1,
                                .oh = conv_out_size(389, k, stride, pad + 1, dilation),
                                .ow = 1,
                                .cin = c.cin,
                                .cout = c.cout,
                                .kh = k,
                                .kw = 1,
                                .stride_h = stride,
                                .stride_w = 1,
                                .pad_top = pad,
                                .dilation_h = dilation,
                                .dilation_w = 1,
                                .groups = c.groups};
            if (c.oh > 0 && (c.kd == 0 || c.od > 0))
                check_conv(&c, NULL, 1);
        }
    }
}

/* Shapes that Winograd's filtering takes, and their neighbours that it does not. */
static void filters_of_3x3_match_double(void **state)
{
    (void)state;
    static const int64_t channels[][2] = {{16, 16}, {17, 40}, {49, 21}, {70, 16}, {15, 64}};
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        qn_pool *pool = pool_of(2);
        for (int i = 0; i < 5 * 3 * 3 * 2 * 2; i++) {
            qn_conv2d c = {.n = 1 + i % 3,
                           .h = 3 + i / 5 % 3 * 4,
                           .w = 5 + i / 90 % 2,
                           .cin = channels[i % 5][0],
                           .cout = channels[i % 5][1],
                           .kh = 3,
                           .kw = 3,
                           .stride_h = 1,
                           .stride_w = 1,
                           .pad_top = i / 15 % 3,
                           .pad_left = (i / 15 + i / 45) % 3,
                           .dilation_h = 1,
                           .dilation_w = 1,
                           .groups = 1};
            c.oh = conv_out_size(c.h, 3, 1, c.pad_top + i / 45 % 2 * 3, 1);
            c.ow = conv_out_size(c.w, 3, 1, 2 * c.pad_left, 1);
            if (c.oh > 0 && c.ow > 0)
                check_conv(&c, pool, 2);
        }
        qn_pool_destroy(pool);
    }
}

/* One NaN in x spoils the outputs that read it, and no others: also where tiles are transformed as a whole. */
static void nan_reaches_the_outputs_that_read_it(void **state)
{
    (void)state;
    const qn_conv2d c = {.n = 1,
                         .h = 9,
                         .w = 9,
                         .cin = 16,
                         .oh = 9,
                         .ow = 9,
                         .cout = 32,
                         .kh = 3,
                         .kw = 3,
                         .stride_h = 1,
                         .stride_w = 1,
                         .pad_top = 1,
                         .pad_left = 1,
                         .dilation_h = 1,
                         .dilation_w = 1,
                         .groups = 1};
    enum { X = 9 * 9 * 16, Y = 9 * 9 * 32, W = 9 * 16 * 32 };
    static float x[X], w[W], y[Y];
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        void *scratch = scratch_of(qn_conv2d_f32_scratch_bytes(&c, 1));
        for (int64_t at = 0; at < 81; at++) {
            values_uniform(x, X, 1, -1, 1);
            values_uniform(w, W, 2, -1, 1);
            x[at * 16 + at % 16] = NAN;
            qn_conv2d_f32(NULL, &c, &(qn_conv2d_forward){.x = x, .weight = w, .y = y}, scratch);
            for (int64_t i = 0; i < Y; i++) {
                int64_t row = i / 32 / 9 - at / 9, col = i / 32 % 9 - at % 9;
                bool reads = row >= -1 && row <= 1 && col >= -1 && col <= 1;
                assert_int_equal(isnan(y[i]) != 0, reads);
            }
        }
        free(scratch);
    }
}

/* An image's numbers do not hang on how many others are in the batch. */
static void images_of_a_batch_do_not_touch_each_other(void **state)
{
    (void)state;
    enum { N = 21, SIDE = 6, IN = 16, OUT = 40, X = SIDE * SIDE * IN, Y = SIDE * SIDE * OUT };
    static float x[N * X], w[9 * IN * OUT], y[N * Y], one[Y];
    values_uniform(x, N * X, 1, -1, 1);
    values_uniform(w, 9 * IN * OUT, 2, -1, 1);
    qn_conv2d c = {.n = N,
                   .h = SIDE,
                   .w = SIDE,
                   .cin = IN,
                   .oh = SIDE,
                   .ow = SIDE,
                   .cout = OUT,
                   .kh = 3,
                   .kw = 3,
                   .stride_h = 1,
                   .stride_w = 1,
                   .pad_top = 1,
                   .pad_left = 1,
                   .dilation_h = 1,
                   .dilation_w = 1,
                   .groups = 1};
    void *scratch = scratch_of(qn_conv2d_f32_scratch_bytes(&c, 1));
    qn_conv2d_f32(NULL, &c, &(qn_conv2d_forward){.x = x, .weight = w, .y = y}, scratch);
    c.n = 1;
    for (int i = 0; i < N; i++) {
        qn_conv2d_f32(NULL, &c, &(qn_conv2d_forward){.x = x + i * X, .weight = w, .y = one},
                      scratch);
        assert_memory_equal(one, y + i * Y, sizeof one);
    }
    free(scratch);
}

static void larger_convolutions_match_double(void **state)
{
    (void)state;
    static const qn_conv2d cases[] = {
        {.n = 9, .h = 28, .w = 28, .cin = 1, .oh = 26, .ow = 26, .cout = 32, .kh = 3, .kw = 3},
        {.n = 5,
         .h = 14,
         .w = 14,
         .cin = 32,
         .oh = 14,
         .ow = 14,
         .cout = 64,
         .kh = 3,
         .kw = 3,
         .pad_top = 1,
         .pad_left = 1},
        {.n = 1,
         .h = 5,
         .w = 5,
         .cin = 200,
         .oh = 5,
         .ow = 5,
         .cout = 300,
         .kh = 3,
         .kw = 3,
         .pad_top = 1,
         .pad_left = 1},
        {.n = 1,
         .h = 4,
         .w = 300,
         .cin = 2,
         .oh = 4,
         .ow = 300,
         .cout = 3,
         .kh = 1,
         .kw = 5,
         .pad_left = 2},
    };
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        qn_pool *pool = pool_of(2);
        for (int i = 0; i < 4; i++) {
            qn_conv2d c = cases[i];
            c.stride_h = c.stride_w = c.dilation_h = c.dilation_w = c.groups = 1;
            check_conv(&c, pool, 2);
        }
        qn_pool_destroy(pool);
    }
}

static size_t pooled_bytes(const qn_conv2d *c, int threads)
{
    size_t forward = qn_conv2d_relu_pool_scratch_bytes(c, false, threads);
    size_t backward = qn_conv2d_relu_pool_grad_scratch_bytes(c, threads);
    return forward > backward ? forward : backward;
}

/* The fused pass must give what its parts give, bit for bit in y; gradients within the bound of their sums. */
static void check_fused(const qn_conv2d *c, qn_pool *pool, int threads)
{
    int64_t xs = c->n * c->h * c->w * c->cin, ys = c->n * c->oh * c->ow * c->cout,
            ps = c->n * (c->oh / 2) * (c->ow / 2) * c->cout;
    int64_t ws = c->kh * c->kw * c->cin * c->cout;
    guarded x = guarded_uniform(xs, 1, 1, -1, 1), w = guarded_uniform(ws, 2, 2, -1, 1),
            bias = guarded_uniform(c->cout, 1, 3, -1, 1);
    guarded whole = guarded_make(ys, 1), y = guarded_make(ps, 1),
            dy = guarded_uniform(ps, 2, 5, -1, 1);
    guarded dx = guarded_make(xs, 0), dw = guarded_make(ws, 1), db = guarded_make(c->cout, 2);
    uint8_t *choice = malloc((size_t)ps + 1);
    choice[ps] = 99;
    guarded scratch = guarded_make((int64_t)(pooled_bytes(c, threads) / 4), 0);
    guarded packed = guarded_make((int64_t)qn_conv2d_packed_bytes(c) / 4, 1);
    guarded plain = guarded_make((int64_t)(qn_conv2d_f32_scratch_bytes(c, threads) / 4), 0);
    qn_conv2d_forward io = {
        .x = x.at, .weight = w.at, .bias = bias.at, .y = whole.at, .act = QN_ACT_RELU};
    qn_conv2d_f32(pool, c, &io, plain.at);
    io.y = y.at;
    qn_conv2d_pack(c, packed.at, w.at);
    qn_conv2d_relu_pool_f32(
        pool, c, &(qn_conv2d_forward){x.at, NULL, packed.at, bias.at, .y = y.at}, NULL, scratch.at);
    float *first = scratch_of((size_t)ps * sizeof(float));
    memcpy(first, y.at, (size_t)ps * sizeof(float));
    qn_conv2d_relu_pool_f32(pool, c, &io, choice, scratch.at);
    assert_memory_equal(first, y.at, (size_t)ps * sizeof(float));
    free(first);
    assert_int_equal(choice[ps], 99);
    float *unpooled = calloc((size_t)ys + 1, sizeof(float));
    for (int64_t i = 0; i < ps; i++) {
        int64_t o = i % c->cout, s = i / c->cout % (c->ow / 2),
                r = i / c->cout / (c->ow / 2) % (c->oh / 2);
        int64_t n = i / c->cout / (c->ow / 2) / (c->oh / 2), best = -1, at = -1;
        for (int64_t k = 0; k < 4; k++) {
            int64_t from = ((n * c->oh + 2 * r + k / 2) * c->ow + 2 * s + k % 2) * c->cout + o;
            if (best < 0 || whole.at[from] > whole.at[at]) {
                best = k;
                at = from;
            }
        }
        assert_int_equal(choice[i], best);
        assert_memory_equal(&y.at[i], &whole.at[at], sizeof(float));
        unpooled[at] = whole.at[at] > 0 ? dy.at[i] : 0;
    }
    qn_conv2d_pool_grad grad = {.dx = dx.at,
                                .dweight = dw.at,
                                .dbias = db.at,
                                .dy = dy.at,
                                .y = y.at,
                                .x = x.at,
                                .weight = w.at,
                                .choice = choice};
    qn_conv2d_relu_pool_grad_f32(pool, c, &grad, scratch.at);
    truth t = {x.at,      w.at,      unpooled,  zeros(ys), zeros(xs),
               zeros(ws), zeros(ys), zeros(xs), zeros(ws)};
    each_product(c, add_product, &t);
    compare("fused dx", c, dx.at, t.dx, t.size_x, xs);
    compare("fused dw", c, dw.at, t.dw, t.size_w, ws);
    double *sums = zeros(c->cout), *sizes = zeros(c->cout);
    for (int64_t i = 0; i < ys; i++) {
        sums[i % c->cout] += (double)unpooled[i];
        sizes[i % c->cout] += fabs((double)unpooled[i]);
    }
    compare("fused db", c, db.at, sums, sizes, c->cout);
    double *all[] = {t.y, t.dx, t.dw, t.size_y, t.size_x, t.size_w, sums, sizes};
    for (int i = 0; i < 8; i++)
        free(all[i]);
    free(choice);
    free(unpooled);
    guarded *buffers[] = {&x, &w, &bias, &whole, &y, &dy, &dx, &dw, &db, &scratch, &plain, &packed};
    for (int i = 0; i < 12; i++)
        guarded_free(buffers[i]);
}

static void fused_pool_equals_its_parts(void **state)
{
    (void)state;
    FOR_EACH_LEVEL(level)
    {
        (void)level;
        qn_pool *pool = pool_of(2);
        for (int i = 0; i < 2 * 3 * 3 * 2 * 2; i++) {
            qn_conv2d c = {.n = 3,
                           .h = 4 + i % 2 * 3,
                           .w = 5 + i / 2 % 3,
                           .cin = 1 + i / 6 % 3,
                           .cout = 5 + i / 18 % 2 * 28,
                           .kh = 3,
                           .kw = 3,
                           .stride_h = 1,
                           .stride_w = 1,
                           .dilation_h = 1,
                           .dilation_w = 1,
                           .groups = 1};
            c.pad_top = c.pad_left = i / 36 % 2;
            c.oh = conv_out_size(c.h, 3, 1, 2 * c.pad_top, 1);
            c.ow = conv_out_size(c.w, 3, 1, 2 * c.pad_left, 1);
            check_fused(&c, pool, 2);
        }
        check_fused(&(qn_conv2d){.n = 9,
                                 .h = 28,
                                 .w = 28,
                                 .cin = 1,
                                 .oh = 26,
                                 .ow = 26,
                                 .cout = 32,
                                 .kh = 3,
                                 .kw = 3,
                                 .stride_h = 1,
                                 .stride_w = 1,
                                 .dilation_h = 1,
                                 .dilation_w = 1,
                                 .groups = 1},
                    pool, 2);
        for (int i = 0; i < 4 * 3 * 2; i++) {
            qn_conv2d c = {.n = 3,
                           .h = 5 + i % 4,
                           .w = 9 - i % 4,
                           .cin = 16 + i / 12 * 5,
                           .cout = 33,
                           .kh = 3,
                           .kw = 3,
                           .stride_h = 1,
                           .stride_w = 1,
                           .pad_top = i / 4 % 3,
                           .pad_left = i / 4 % 3,
                           .dilation_h = 1,
                           .dilation_w = 1,
                           .groups = 1};
            c.oh = conv_out_size(c.h, 3, 1, 2 * c.pad_top, 1);
            c.ow = conv_out_size(c.w, 3, 1, 2 * c.pad_left, 1);
            check_fused(&c, pool, 2);
        }
        qn_pool_destroy(pool);
    }
}

/* Many images; few pixels and many channels, which are shared out by channels; a volume; groups. */
static void convolution_gives_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    static const qn_conv2d cases[] = {
        {.n = 33, .h = 14, .w = 14, .cin = 8, .oh = 14, .ow = 14, .cout = 24, .kh = 3, .kw = 3},
        {.n = 33, .h = 14, .w = 14, .cin = 32, .oh = 14, .ow = 14, .cout = 64, .kh = 3, .kw = 3},
        {.n = 1, .h = 28, .w = 28, .cin = 80, .oh = 28, .ow = 28, .cout = 100, .kh = 3, .kw = 3},
        {.n = 50, .h = 5, .w = 5, .cin = 16, .oh = 5, .ow = 5, .cout = 16, .kh = 3, .kw = 3},
        {.n = 1, .h = 7, .w = 7, .cin = 192, .oh = 7, .ow = 7, .cout = 320, .kh = 3, .kw = 3},
        {.n = 2,
         .h = 9,
         .w = 9,
         .cin = 64,
         .oh = 9,
         .ow = 9,
         .cout = 64,
         .kh = 3,
         .kw = 3,
         .d = 4,
         .od = 4,
         .kd = 3,
         .stride_d = 1,
         .pad_front = 1,
         .dilation_d = 1},
        {.n = 1,
         .h = 20,
         .w = 20,
         .cin = 64,
         .oh = 20,
         .ow = 20,
         .cout = 128,
         .kh = 3,
         .kw = 3,
         .groups = 8},
    };
    for (int i = 0; i < 7; i++) {
        qn_conv2d c = cases[i];
        c.stride_h = c.stride_w = c.dilation_h = c.dilation_w = 1;
        c.pad_top = c.pad_left = 1;
        c.groups = depth_or_1(c.groups);
        int64_t pixels = c.n * depth_or_1(c.d) * c.h * c.w, xs = pixels * c.cin,
                ys = pixels * c.cout,
                ws = depth_or_1(c.kd) * 9 * (c.cin / c.groups) * c.cout + c.cout;
        guarded x = guarded_uniform(xs, 0, 1, -1, 1), dy = guarded_uniform(ys, 0, 2, -1, 1),
                w = guarded_uniform(ws, 0, 3, -1, 1), y[POOLS], dx[POOLS], dw[POOLS];
        for (int p = 0; p < POOLS; p++) {
            qn_pool *pool = pool_of(pool_threads[p]);
            void *scratch = scratch_of(qn_conv2d_f32_scratch_bytes(&c, pool_threads[p]));
            y[p] = guarded_make(ys, 0);
            dx[p] = guarded_make(xs, 0);
            dw[p] = guarded_make(ws, 0);
            qn_conv2d_forward io = {.x = x.at, .weight = w.at, .y = y[p].at};
            qn_conv2d_f32(pool, &c, &io, scratch);
            qn_conv2d_grad_x_f32(pool, &c, dx[p].at, dy.at, w.at, scratch);
            qn_conv2d_grad_w_f32(pool, &c, dw[p].at, dw[p].at + ws - c.cout, x.at, dy.at, scratch);
            assert_memory_equal(y[p].at, y[0].at, (size_t)ys * sizeof(float));
            assert_memory_equal(dx[p].at, dx[0].at, (size_t)xs * sizeof(float));
            assert_memory_equal(dw[p].at, dw[0].at, (size_t)ws * sizeof(float));
            free(scratch);
            qn_pool_destroy(pool);
        }
        for (int p = 0; p < POOLS; p++) {
            guarded_free(&y[p]);
            guarded_free(&dx[p]);
            guarded_free(&dw[p]);
        }
        guarded_free(&x);
        guarded_free(&dy);
        guarded_free(&w);
    }
}

static void fused_pool_gives_the_same_bits_for_any_thread_count(void **state)
{
    (void)state;
    const qn_conv2d c = {.n = 33,
                         .h = 16,
                         .w = 16,
                         .cin = 8,
                         .oh = 14,
                         .ow = 14,
                         .cout = 32,
                         .kh = 3,
                         .kw = 3,
                         .stride_h = 1,
                         .stride_w = 1,
                         .dilation_h = 1,
                         .dilation_w = 1,
                         .groups = 1};
    enum { X = 33 * 16 * 16 * 8, Y = 33 * 7 * 7 * 32, W = 9 * 8 * 32, B = 32 };
    static float x[X], w[W], bias[B], dy[Y], y[POOLS][Y], dx[POOLS][X], dw[POOLS][W + B];
    static uint8_t choice[POOLS][Y];
    values_uniform(x, X, 1, -1, 1);
    values_uniform(w, W, 2, -1, 1);
    values_uniform(bias, B, 3, -1, 1);
    values_uniform(dy, Y, 4, -1, 1);
    for (int p = 0; p < POOLS; p++) {
        qn_pool *pool = pool_of(pool_threads[p]);
        void *scratch = scratch_of(pooled_bytes(&c, pool_threads[p]));
        qn_conv2d_pool_grad grad = {.dx = dx[p],
                                    .dweight = dw[p],
                                    .dbias = dw[p] + W,
                                    .dy = dy,
                                    .y = y[p],
                                    .x = x,
                                    .weight = w,
                                    .choice = choice[p]};
        const qn_conv2d_forward io = {.x = x, .weight = w, .bias = bias, .y = y[p]};
        qn_conv2d_relu_pool_f32(pool, &c, &io, choice[p], scratch);
        qn_conv2d_relu_pool_grad_f32(pool, &c, &grad, scratch);
        assert_memory_equal(y[p], y[0], sizeof y[0]);
        assert_memory_equal(choice[p], choice[0], sizeof choice[0]);
        assert_memory_equal(dx[p], dx[0], sizeof dx[0]);
        assert_memory_equal(dw[p], dw[0], sizeof dw[0]);
        free(scratch);
        qn_pool_destroy(pool);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(convolutions_match_double_in_every_geometry, levels_reset),
        cmocka_unit_test_teardown(volumes_and_sequences_match_double, levels_reset),
        cmocka_unit_test_teardown(filters_of_3x3_match_double, levels_reset),
        cmocka_unit_test_teardown(nan_reaches_the_outputs_that_read_it, levels_reset),
        cmocka_unit_test(images_of_a_batch_do_not_touch_each_other),
        cmocka_unit_test_teardown(larger_convolutions_match_double, levels_reset),
        cmocka_unit_test_teardown(fused_pool_equals_its_parts, levels_reset),
        cmocka_unit_test_teardown(convolution_gives_the_same_bits_for_any_thread_count,
                                  levels_reset),
        cmocka_unit_test(fused_pool_gives_the_same_bits_for_any_thread_count),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
