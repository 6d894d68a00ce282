/*
 * Convolution of bf16 by pairs: in plain C, over tiles in plain C, and by the instructions of this machine, against the
 * kernels of f32 on the same numbers (which conv_test.c holds against doubles). Both sums of k exact products are within
 * (k + 2) eps of the truth, measured by the same convolution of absolute values.
 */
#include "conv_testing.h"
#include "kernel_testing.h"

#include <float.h>

#include "kernel/conv/conv_bf16.h"
#include "kernel/conv/conv_table.h"

enum { SETS = 3 };

/* The n-th set of kernels; NULL = this machine has it not. */
static const qn_pairs_kernels *set_of(int n)
{
    return n == 0 ? &qn_pairs_ref : n == 1 ? &qn_pairs_soft : qn_pairs();
}

/* Numbers that bf16 holds, as such and as f32, and their absolute values. */
typedef struct {
    guarded halves, wide, size;
    const uint16_t *at;
    int64_t count;
} factor;

static factor factor_make(int64_t count, uint64_t seed, float low, float high)
{
    factor f = {guarded_make((count + 1) / 2, 0), guarded_uniform(count, 1, seed, low, high),
                guarded_make(count, 2), NULL, count};
    uint16_t *at = (uint16_t *)(void *)f.halves.at;
    for (int64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, &f.wide.at[i], sizeof bits);
        at[i] = (uint16_t)(bits >> 16);
        bits &= 0xffff0000u;
        memcpy(&f.wide.at[i], &bits, sizeof bits);
        f.size.at[i] = fabsf(f.wide.at[i]);
    }
    f.at = at;
    return f;
}

static void factor_free(factor *f)
{
    guarded_free(&f->halves);
    guarded_free(&f->wide);
    guarded_free(&f->size);
}

static int64_t at_least_1(int64_t value)
{
    return value ? value : 1;
}

typedef struct {
    const char *what;
    const qn_conv2d *c;
    int set;
} place;

/* k products an element. */
static void compare(place at, const float *got, const float *want, const float *size, int64_t count,
                    int64_t k)
{
    const qn_conv2d *c = at.c;
    double bound = 2 * ((double)k + 2) * (double)FLT_EPSILON;
    for (int64_t i = 0; i < count; i++)
        if (!(fabs((double)got[i] - (double)want[i]) <= bound * (double)size[i]))
            fail_msg("%s, set %d, n%d %dx%dx%d -> %dx%dx%d k%dx%d s%d,%d p%d,%d d%d,%d at %d: %g, "
                     "want %g",
                     at.what, at.set, (int)c->n, (int)c->h, (int)c->w, (int)c->cin, (int)c->oh,
                     (int)c->ow, (int)c->cout, (int)c->kh, (int)c->kw, (int)c->stride_h,
                     (int)c->stride_w, (int)c->pad_top, (int)c->pad_left, (int)c->dilation_h,
                     (int)c->dilation_w, (int)i, (double)got[i], (double)want[i]);
}

/* Factors and results of one shape, with those of f32 beside. */
typedef struct {
    const qn_conv2d *c;
    int64_t xs, ys, ws, taps;
    factor x, w, dy;
    guarded bias, back, added, wide, y, dx, dw, db, want, size;
} setting;

static setting setting_make(const qn_conv2d *c, int threads)
{
    setting s = {.c = c};
    s.taps = at_least_1(c->kd) * c->kh * c->kw;
    s.xs = c->n * at_least_1(c->d) * c->h * c->w * c->cin;
    s.ys = c->n * at_least_1(c->od) * c->oh * c->ow * c->cout;
    s.ws = s.taps * c->cin * c->cout;
    int64_t most = s.xs > s.ys ? s.xs : s.ys;
    most = most > s.ws ? most : s.ws;
    s.x = factor_make(s.xs, 1, -1, 1);
    s.w = factor_make(s.ws, 2, -1, 1);
    s.dy = factor_make(s.ys, 3, -1, 1);
    s.bias = guarded_uniform(c->cout, 1, 4, 0, 1);
    s.back = guarded_uniform(c->cin, 2, 5, 0, 1);
    s.added = guarded_uniform(s.ys, 1, 6, 0, 1);
    s.wide = guarded_make((int64_t)(qn_conv2d_f32_scratch_bytes(c, threads) / 4), 0);
    s.y = guarded_make(s.ys, 1);
    s.dx = guarded_make(s.xs, 2);
    s.dw = guarded_make(s.ws, 3);
    s.db = guarded_make(c->cout, 1);
    s.want = guarded_make(most + c->cout, 0);
    s.size = guarded_make(most + c->cout, 0);
    return s;
}

static void setting_free(setting *s)
{
    factor_free(&s->x);
    factor_free(&s->w);
    factor_free(&s->dy);
    guarded *all[] = {&s->bias, &s->back, &s->added, &s->wide, &s->y,
                      &s->dx,   &s->dw,   &s->db,    &s->want, &s->size};
    for (int i = 0; i < 10; i++)
        guarded_free(all[i]);
}

static guarded scratch_make(size_t bytes)
{
    return guarded_make((int64_t)(bytes / 4), 0);
}

static void check_forward(setting *s, int set, qn_pool *pool, int threads)
{
    const qn_pairs_kernels *pairs = set_of(set);
    const qn_conv2d *c = s->c;
    qn_conv2d_forward f32 = {.x = s->x.wide.at,
                             .weight = s->w.wide.at,
                             .bias = s->bias.at,
                             .added = s->added.at,
                             .y = s->want.at,
                             .act = c->h % 2 ? QN_ACT_LEAKY : QN_ACT_RELU,
                             .slope = 0.1f};
    qn_conv2d_f32(pool, c, &f32, s->wide.at);
    f32.x = s->x.size.at;
    f32.weight = s->w.size.at;
    f32.y = s->size.at;
    qn_conv2d_f32(pool, c, &f32, s->wide.at);
    qn_conv2d_bf16_forward io = {.x = s->x.at,
                                 .weight = s->w.at,
                                 .bias = s->bias.at,
                                 .added = s->added.at,
                                 .y = s->y.at,
                                 .act = f32.act,
                                 .slope = f32.slope};
    guarded scratch = scratch_make(qn_conv2d_bf16_forward_scratch_bytes(pairs, c, threads));
    qn_conv2d_bf16(pairs, pool, c, &io, scratch.at);
    compare((place){"y", c, set}, s->y.at, s->want.at, s->size.at, s->ys, s->taps * c->cin + 2);
    guarded_free(&scratch);
}

static void check_to_x(setting *s, int set, qn_pool *pool, int threads)
{
    const qn_pairs_kernels *pairs = set_of(set);
    const qn_conv2d *c = s->c;
    qn_conv2d_forward f32 = {
        .x = s->dy.wide.at, .weight = s->w.wide.at, .bias = s->back.at, .y = s->want.at};
    qn_conv2d_transposed_f32(pool, c, &f32, s->wide.at);
    f32.x = s->dy.size.at;
    f32.weight = s->w.size.at;
    f32.y = s->size.at;
    qn_conv2d_transposed_f32(pool, c, &f32, s->wide.at);
    qn_conv2d_bf16_forward io = {
        .x = s->dy.at, .weight = s->w.at, .bias = s->back.at, .y = s->dx.at};
    guarded scratch = scratch_make(qn_conv2d_bf16_grad_x_scratch_bytes(pairs, c, threads));
    qn_conv2d_transposed_bf16(pairs, pool, c, &io, scratch.at);
    compare((place){"dx", c, set}, s->dx.at, s->want.at, s->size.at, s->xs, s->taps * c->cout + 1);
    guarded_free(&scratch);
}

static void check_to_w(setting *s, int set, qn_pool *pool, int threads)
{
    const qn_pairs_kernels *pairs = set_of(set);
    const qn_conv2d *c = s->c;
    int64_t pixels = s->ys / c->cout;
    float *want_bias = s->want.at + s->ws, *size_bias = s->size.at + s->ws;
    qn_conv2d_grad_w_f32(pool, c, s->want.at, want_bias, s->x.wide.at, s->dy.wide.at, s->wide.at);
    qn_conv2d_grad_w_f32(pool, c, s->size.at, size_bias, s->x.size.at, s->dy.size.at, s->wide.at);
    qn_conv2d_bf16_grad_w io = {
        .dweight = s->dw.at, .dbias = s->db.at, .x = s->x.at, .dy = s->dy.at};
    guarded scratch = scratch_make(qn_conv2d_bf16_grad_w_scratch_bytes(pairs, c, threads));
    qn_conv2d_grad_w_bf16(pairs, pool, c, &io, scratch.at);
    compare((place){"dw", c, set}, s->dw.at, s->want.at, s->size.at, s->ws, pixels);
    compare((place){"db", c, set}, s->db.at, want_bias, size_bias, c->cout, pixels);
    guarded_free(&scratch);
}

static void check(const qn_conv2d *c, qn_pool *pool, int threads)
{
    setting s = setting_make(c, threads);
    for (int set = 0; set < SETS; set++) {
        if (!set_of(set))
            continue;
        if (qn_conv2d_bf16_takes(c, QN_CONV_FORWARD))
            check_forward(&s, set, pool, threads);
        if (qn_conv2d_bf16_takes(c, QN_CONV_GRAD_X))
            check_to_x(&s, set, pool, threads);
        if (qn_conv2d_bf16_takes(c, QN_CONV_GRAD_W))
            check_to_w(&s, set, pool, threads);
    }
    setting_free(&s);
}

static void convolutions_match_f32_in_every_geometry(void **state)
{
    (void)state;
    static const int64_t channels[][2] = {{1, 32}, {2, 2},   {3, 5},   {3, 8},  {4, 17},
                                          {5, 6},  {16, 16}, {33, 50}, {34, 18}};
    for (int i = 0; i < 9 * CONV_GEOMETRIES; i++) {
        qn_conv2d c = {.n = 2 + i % 2,
                       .w = i % 5 == 0 ? 9 : 6,
                       .cin = channels[i % 9][0],
                       .cout = channels[i % 9][1],
                       .groups = 1};
        if (conv_geometry(&c, i / 9))
            check(&c, NULL, 1);
    }
}

static void volumes_and_sequences_match_f32(void **state)
{
    (void)state;
    for (int i = 0; i < 3 * 2 * 2; i++) {
        int64_t k = 1 + i % 3, stride = 1 + i / 3 % 2;
        qn_conv2d volume = {.n = 3,
                            .h = 4,
                            .w = 5,
                            .oh = 3,
                            .ow = 2,
                            .cin = 2 + i / 6,
                            .cout = 18,
                            .kh = 2,
                            .kw = 2,
                            .stride_h = 1,
                            .stride_w = 2,
                            .dilation_h = 1,
                            .dilation_w = 1,
                            .groups = 1,
                            .d = 5,
                            .od = conv_out_size(5, k, stride, 2, 1),
                            .kd = k,
                            .stride_d = stride,
                            .pad_front = 1,
                            .dilation_d = 1};
        qn_conv2d sequence = {.n = 2,
                              .h = 389,
                              .w = 1,
                              .oh = conv_out_size(389, k, stride, 2, 1),
                              .ow = 1,
                              .cin = 6 + i / 6,
                              .cout = 10,
                              .kh = k,
                              .kw = 1,
                              .stride_h = stride,
                              .stride_w = 1,
                              .pad_top = 1,
                              .dilation_h = 1,
                              .dilation_w = 1,
                              .groups = 1};
        check(&volume, NULL, 1);
        check(&sequence, NULL, 1);
    }
}

/* n, size, cin, cout, k, stride, pad of larger ones: the second layer of a digit reader, and layers of a ResNet. */
static const int64_t larger[][7] = {
    {5, 14, 32, 64, 3, 1, 1},  {2, 30, 3, 64, 7, 2, 3},  {3, 14, 64, 128, 3, 2, 1},
    {3, 14, 64, 128, 1, 2, 0}, {2, 7, 130, 96, 3, 1, 1}, {2, 9, 64, 48, 1, 1, 0},
    {17, 16, 24, 32, 3, 1, 0},
};
enum { LARGER = sizeof larger / sizeof *larger };

static qn_conv2d larger_conv(int i)
{
    const int64_t *row = larger[i];
    int64_t out = conv_out_size(row[1], row[4], row[5], 2 * row[6], 1);
    return (qn_conv2d){.n = row[0],
                       .h = row[1],
                       .w = row[1],
                       .cin = row[2],
                       .oh = out,
                       .ow = out,
                       .cout = row[3],
                       .kh = row[4],
                       .kw = row[4],
                       .stride_h = row[5],
                       .stride_w = row[5],
                       .pad_top = row[6],
                       .pad_left = row[6],
                       .dilation_h = 1,
                       .dilation_w = 1,
                       .groups = 1};
}

static void larger_convolutions_match_f32(void **state)
{
    (void)state;
    qn_pool *pool = pool_of(2);
    for (int i = 0; i < LARGER; i++) {
        qn_conv2d c = larger_conv(i);
        check(&c, pool, 2);
    }
    qn_pool_destroy(pool);
}

/* y and choice of the fused pass are those of its parts, bit for bit; the gradients are those of its parts within the
 * bound of their sums. */
static void check_fused(const qn_conv2d *c, int set, qn_pool *pool, int threads)
{
    const qn_pairs_kernels *pairs = set_of(set);
    setting s = setting_make(c, threads);
    int64_t width = c->ow / 2, height = c->oh / 2, ps = c->n * height * width * c->cout;
    bool to_x = qn_conv2d_bf16_takes(c, QN_CONV_GRAD_X);
    size_t bytes = qn_conv2d_bf16_relu_pool_scratch_bytes(pairs, c, threads),
           other = qn_conv2d_bf16_relu_pool_grad_scratch_bytes(pairs, c, to_x, threads);
    guarded scratch = scratch_make(bytes > other ? bytes : other), y = guarded_make(ps, 1);
    guarded plain = scratch_make(qn_conv2d_bf16_forward_scratch_bytes(pairs, c, threads));
    factor dy = factor_make(ps, 7, -1, 1);
    uint8_t *choice = malloc((size_t)ps + 1);
    choice[ps] = 99;
    qn_conv2d_bf16_forward io = {
        .x = s.x.at, .weight = s.w.at, .bias = s.bias.at, .y = s.y.at, .act = QN_ACT_RELU};
    qn_conv2d_bf16(pairs, pool, c, &io, plain.at);
    io.y = y.at;
    qn_conv2d_relu_pool_bf16(pairs, pool, c, &io, choice, scratch.at);
    assert_int_equal(choice[ps], 99);
    memset(s.dy.wide.at, 0, (size_t)s.ys * sizeof(float));
    memset(s.dy.size.at, 0, (size_t)s.ys * sizeof(float));
    for (int64_t i = 0; i < ps; i++) {
        int64_t o = i % c->cout, col = i / c->cout % width, row = i / c->cout / width % height;
        int64_t n = i / c->cout / width / height, best = -1, at = -1;
        for (int64_t k = 0; k < 4; k++) {
            int64_t from = ((n * c->oh + 2 * row + k / 2) * c->ow + 2 * col + k % 2) * c->cout + o;
            if (best < 0 || s.y.at[from] > s.y.at[at]) {
                best = k;
                at = from;
            }
        }
        assert_int_equal(choice[i], best);
        assert_memory_equal(&y.at[i], &s.y.at[at], sizeof(float));
        s.dy.wide.at[at] = s.y.at[at] > 0 ? dy.wide.at[i] : 0;
        s.dy.size.at[at] = fabsf(s.dy.wide.at[at]);
    }
    qn_conv2d_bf16_pool_grad grad = {.dx = to_x ? s.dx.at : NULL,
                                     .dweight = s.dw.at,
                                     .dbias = s.db.at,
                                     .dy = dy.at,
                                     .x = s.x.at,
                                     .weight = s.w.at,
                                     .y = y.at,
                                     .choice = choice};
    qn_conv2d_relu_pool_grad_bf16(pairs, pool, c, &grad, scratch.at);
    if (to_x) {
        qn_conv2d_grad_x_f32(pool, c, s.want.at, s.dy.wide.at, s.w.wide.at, s.wide.at);
        qn_conv2d_grad_x_f32(pool, c, s.size.at, s.dy.size.at, s.w.size.at, s.wide.at);
        compare((place){"fused dx", c, set}, s.dx.at, s.want.at, s.size.at, s.xs, 9 * c->cout);
    }
    float *want_bias = s.want.at + s.ws, *size_bias = s.size.at + s.ws;
    qn_conv2d_grad_w_f32(pool, c, s.want.at, want_bias, s.x.wide.at, s.dy.wide.at, s.wide.at);
    qn_conv2d_grad_w_f32(pool, c, s.size.at, size_bias, s.x.size.at, s.dy.size.at, s.wide.at);
    compare((place){"fused dw", c, set}, s.dw.at, s.want.at, s.size.at, s.ws, s.ys / c->cout);
    compare((place){"fused db", c, set}, s.db.at, want_bias, size_bias, c->cout, s.ys / c->cout);
    free(choice);
    guarded_free(&scratch);
    guarded_free(&plain);
    guarded_free(&y);
    factor_free(&dy);
    setting_free(&s);
}

static void fused_pool_equals_its_parts(void **state)
{
    (void)state;
    qn_pool *pool = pool_of(2);
    for (int i = 0; i < 2 * 3 * 3 * 3 * 2; i++) {
        static const int64_t couts[] = {6, 33, 40};
        qn_conv2d c = {.n = 2 + i % 3 % 2,
                       .h = 4 + i % 2 * 3,
                       .w = 5 + i / 2 % 3,
                       .cin = 2 + i / 6 % 3,
                       .cout = couts[i / 18 % 3],
                       .kh = 3,
                       .kw = 3,
                       .stride_h = 1,
                       .stride_w = 1,
                       .dilation_h = 1,
                       .dilation_w = 1,
                       .groups = 1};
        c.pad_top = c.pad_left = i / 54;
        c.oh = conv_out_size(c.h, 3, 1, 2 * c.pad_top, 1);
        c.ow = conv_out_size(c.w, 3, 1, 2 * c.pad_left, 1);
        for (int set = 0; set < SETS; set++)
            if (set_of(set))
                check_fused(&c, set, pool, 2);
    }
    qn_conv2d digits = larger_conv(0);
    for (int set = 0; set < SETS; set++)
        if (set_of(set))
            check_fused(&digits, set, pool, 2);
    qn_pool_destroy(pool);
}

/* Numbers to the left and right of 0 and NaN behind the ReLU; a last image without a partner. */
static void unpooling_has_the_bits_of_plain_c(void **state)
{
    (void)state;
    enum { PIXELS = 3, CHANNELS = 67, MOST = PIXELS * CHANNELS, BOTH = 2 * MOST };
    const qn_conv_kernels *kernels = qn_conv_f32_kernels();
    factor dy = factor_make(BOTH, 1, -1, 1);
    guarded y = guarded_uniform(BOTH, 1, 2, -1, 1);
    uint8_t choice[BOTH];
    for (int i = 0; i < BOTH; i++)
        choice[i] = (uint8_t)(i * 7 % 11 % 4);
    y.at[3] = NAN;
    for (int64_t channels = 1; channels <= CHANNELS; channels++)
        for (int lone = 0; lone < 2; lone++) {
            int64_t made = 2 * PIXELS * channels;
            qn_pooled_row rows[2] = {{dy.at, y.at, choice},
                                     {dy.at + MOST, y.at + MOST, choice + MOST}};
            if (lone)
                rows[1] = (qn_pooled_row){0};
            guarded to[2][2];
            for (int way = 0; way < 2; way++) {
                const qn_conv_kernels *by = way ? kernels : &qn_conv_f32_ref;
                guarded *top = &to[way][0], *bottom = &to[way][1];
                *top = guarded_make(made, 1);
                *bottom = guarded_make(made, 2);
                by->unpool_pairs((uint32_t *)(void *)top->at, (uint32_t *)(void *)bottom->at, rows,
                                 PIXELS, channels);
            }
            for (int row = 0; row < 2; row++)
                assert_memory_equal(to[1][row].at, to[0][row].at, (size_t)made * sizeof(float));
            for (int way = 0; way < 2; way++)
                (way ? kernels : &qn_conv_f32_ref)
                    ->unpool_bf16((uint16_t *)(void *)to[way][0].at,
                                  (uint16_t *)(void *)to[way][1].at, rows, PIXELS, channels);
            for (int row = 0; row < 2; row++) {
                assert_memory_equal(to[1][row].at, to[0][row].at, (size_t)made * sizeof(uint16_t));
                guarded_free(&to[0][row]);
                guarded_free(&to[1][row]);
            }
        }
    factor_free(&dy);
    guarded_free(&y);
}

static void threads_change_no_bit(void **state)
{
    (void)state;
    static const int threads[] = {1, 2, 3, 8};
    for (int i = 0; i < LARGER * SETS; i++) {
        qn_conv2d c = larger_conv(i % LARGER);
        const qn_pairs_kernels *pairs = set_of(i / LARGER);
        setting s = setting_make(&c, 1), t = setting_make(&c, 1);
        for (int p = 0; p < 4 && pairs; p++) {
            qn_pool *pool = pool_of(threads[p]);
            size_t bytes[] = {qn_conv2d_bf16_forward_scratch_bytes(pairs, &c, threads[p]),
                              qn_conv2d_bf16_grad_x_scratch_bytes(pairs, &c, threads[p]),
                              qn_conv2d_bf16_grad_w_scratch_bytes(pairs, &c, threads[p])};
            setting *to = p == 0 ? &s : &t;
            void *scratch = scratch_of(bytes[0]);
            qn_conv2d_bf16_forward io = {.x = s.x.at, .weight = s.w.at, .y = to->y.at};
            qn_conv2d_bf16(pairs, pool, &c, &io, scratch);
            free(scratch);
            scratch = scratch_of(bytes[1]);
            io.x = s.dy.at;
            io.y = to->dx.at;
            qn_conv2d_transposed_bf16(pairs, pool, &c, &io, scratch);
            free(scratch);
            scratch = scratch_of(bytes[2]);
            qn_conv2d_bf16_grad_w to_w = {to->dw.at, to->db.at, s.x.at, s.dy.at};
            qn_conv2d_grad_w_bf16(pairs, pool, &c, &to_w, scratch);
            free(scratch);
            qn_pool_destroy(pool);
            if (p == 0)
                continue;
            assert_memory_equal(s.y.at, t.y.at, (size_t)s.ys * sizeof(float));
            assert_memory_equal(s.dx.at, t.dx.at, (size_t)s.xs * sizeof(float));
            assert_memory_equal(s.dw.at, t.dw.at, (size_t)s.ws * sizeof(float));
            assert_memory_equal(s.db.at, t.db.at, (size_t)c.cout * sizeof(float));
        }
        setting_free(&s);
        setting_free(&t);
    }
}

/* Infinities and NaN stay in what they reach: nine outputs of a 3 x 3 filter. A filter's row is no whole number of tiles. */
static void special_numbers_go_through(void **state)
{
    (void)state;
    qn_conv2d c = larger_conv(0);
    c.cin = 22;
    setting s = setting_make(&c, 1);
    uint16_t *x = (uint16_t *)(void *)s.x.halves.at;
    int64_t pixel = 2 * 14 + 3, image = 14 * 14;
    x[pixel * c.cin] = 0x7fc0;           /* NaN in the first image */
    x[(image + pixel) * c.cin] = 0x7f80; /* infinity in the second */
    for (int set = 0; set < SETS; set++) {
        const qn_pairs_kernels *pairs = set_of(set);
        if (!pairs)
            continue;
        void *scratch = scratch_of(qn_conv2d_bf16_forward_scratch_bytes(pairs, &c, 1));
        qn_conv2d_bf16_forward io = {
            .x = s.x.at, .weight = s.w.at, .y = s.y.at, .act = QN_ACT_RELU};
        qn_conv2d_bf16(pairs, NULL, &c, &io, scratch);
        free(scratch);
        int64_t nans = 0, infinities = 0;
        for (int64_t i = 0; i < s.ys; i++) {
            nans += isnan(s.y.at[i]);
            infinities += isinf(s.y.at[i]);
        }
        assert_int_equal(nans, 9 * 64);
        assert_in_range(infinities, 9 * 16, 9 * 48); /* those of positive weights */
    }
    setting_free(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(convolutions_match_f32_in_every_geometry),
        cmocka_unit_test(volumes_and_sequences_match_f32),
        cmocka_unit_test(larger_convolutions_match_f32),
        cmocka_unit_test(fused_pool_equals_its_parts),
        cmocka_unit_test(unpooling_has_the_bits_of_plain_c),
        cmocka_unit_test(threads_change_no_bit),
        cmocka_unit_test(special_numbers_go_through),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
