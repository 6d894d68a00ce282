/*
 * Winograd's transforms (winograd.h) for any vector width: a vector of channels at a time, tile after tile along a row
 * of the image. After conv_body.h.
 */

/* One column of four pixels through B': outside of the row it is zero. */
VEC void source_column(vf dst[4], const float *const row[4], const vm m[4], int64_t col,
                       int64_t width, int64_t pixel)
{
    if (col < 0 || col >= width) {
        dst[0] = dst[1] = dst[2] = dst[3] = vf_zero();
        return;
    }
    vf a = vf_load_mask(row[0] + col * pixel, m[0]), b = vf_load_mask(row[1] + col * pixel, m[1]);
    vf c = vf_load_mask(row[2] + col * pixel, m[2]), d = vf_load_mask(row[3] + col * pixel, m[3]);
    dst[0] = vf_sub(a, c);
    dst[1] = vf_add(b, c);
    dst[2] = vf_sub(c, b);
    dst[3] = vf_sub(b, d);
}

VEC void store_lanes(const bool full, float *dst, vf x, vm m)
{
    if (full)
        vf_store(dst, x);
    else
        vf_store_mask(dst, x, m);
}

/* Two columns of a tile are the first two of the next. */
VEC void source_lanes(const bool full, const qn_winograd_source *s, int64_t c, vm m)
{
    const float *row[4];
    vm rows[4];
    vf k[4][4];
    float *to = s->planes + c;
    UNROLL for (int i = 0; i < 4; i++)
    {
        row[i] = s->row[i] ? s->row[i] + c : s->planes; /* some address: no lane of it is read */
        rows[i] = s->row[i] ? m : vm_first(0);
    }
    source_column(k[0], row, rows, s->col, s->width, s->pixel);
    source_column(k[1], row, rows, s->col + 1, s->width, s->pixel);
    for (int64_t t = 0; t < s->tiles; t++, to += s->channels) {
        int64_t col = s->col + 2 * t + 2;
        source_column(k[2], row, rows, col, s->width, s->pixel);
        source_column(k[3], row, rows, col + 1, s->width, s->pixel);
        UNROLL for (int i = 0; i < 4; i++)
        {
            store_lanes(full, to + (4 * i + 0) * s->plane, vf_sub(k[0][i], k[2][i]), m);
            store_lanes(full, to + (4 * i + 1) * s->plane, vf_add(k[1][i], k[2][i]), m);
            store_lanes(full, to + (4 * i + 2) * s->plane, vf_sub(k[2][i], k[1][i]), m);
            store_lanes(full, to + (4 * i + 3) * s->plane, vf_sub(k[1][i], k[3][i]), m);
            k[0][i] = k[2][i];
            k[1][i] = k[3][i];
        }
    }
}

static void winograd_source(const qn_winograd_source *s)
{
    int64_t c = 0;
    for (; c + VL <= s->channels; c += VL)
        source_lanes(true, s, c, vm_first(VL));
    if (c < s->channels)
        source_lanes(false, s, c, vm_first((int)(s->channels - c)));
}

/* A' m A of one tile: dst[2 * r + s]. */
VEC void result_tile(vf dst[4], const float *planes, int64_t plane, vm m)
{
    vf left[4], right[4];
    UNROLL for (int i = 0; i < 4; i++)
    {
        vf x[4];
        UNROLL for (int j = 0; j < 4; j++) x[j] = vf_load_mask(planes + (4 * i + j) * plane, m);
        left[i] = vf_add(vf_add(x[0], x[1]), x[2]);
        right[i] = vf_sub(vf_sub(x[1], x[2]), x[3]);
    }
    dst[0] = vf_add(vf_add(left[0], left[1]), left[2]);
    dst[1] = vf_add(vf_add(right[0], right[1]), right[2]);
    dst[2] = vf_sub(vf_sub(left[1], left[2]), left[3]);
    dst[3] = vf_sub(vf_sub(right[1], right[2]), right[3]);
}

VEC void result_lanes(const bool full, const qn_winograd_result *r, int64_t c, vm m)
{
    const float *planes = r->planes + c;
    vf bias = r->bias ? vf_load_mask(r->bias + c, m) : vf_set(-0.0f); /* x + -0 is x, whatever x */
    int64_t at = c;
    for (int64_t t = 0; t < r->tiles; t++, planes += r->channels, at += 2 * r->pixel) {
        vf y[4];
        result_tile(y, planes, r->plane, m);
        UNROLL for (int i = 0; i < 4; i++)
        {
            if (i / 2 >= r->rows || 2 * t + i % 2 >= r->cols)
                continue;
            int64_t to = at + i / 2 * r->row + i % 2 * r->pixel;
            y[i] = vf_add(y[i], bias);
            if (r->added)
                y[i] = vf_add(y[i], vf_load_mask(r->added + to, m));
            store_lanes(full, r->dst + to, r->relu ? vf_max(vf_zero(), y[i]) : y[i], m);
        }
    }
}

static void winograd_result(const qn_winograd_result *r)
{
    int64_t c = 0;
    for (; c + VL <= r->channels; c += VL)
        result_lanes(true, r, c, vm_first(VL));
    if (c < r->channels)
        result_lanes(false, r, c, vm_first((int)(r->channels - c)));
}

VEC void pooled_lanes(const bool full, const qn_winograd_pooled *r, int64_t c, vm m)
{
    vf bias = r->bias ? vf_load_mask(r->bias + c, m) : vf_set(-0.0f);
    for (int64_t t = 0; t < r->tiles; t++) {
        vf y[4];
        vi place;
        result_tile(y, r->planes + t * r->channels + c, r->plane, m);
        UNROLL for (int i = 0; i < 4; i++) y[i] = vf_max(vf_zero(), vf_add(y[i], bias));
        store_lanes(full, r->dst + t * r->pixel + c, window_best(y, &place), m);
        if (r->choice)
            places_store(full, r->choice + t * r->pixel + c, place, r->channels - c);
    }
}

static void winograd_pooled(const qn_winograd_pooled *r)
{
    int64_t c = 0;
    for (; c + VL <= r->channels; c += VL)
        pooled_lanes(true, r, c, vm_first(VL));
    if (c < r->channels)
        pooled_lanes(false, r, c, vm_first((int)(r->channels - c)));
}

/* A dy A' of one tile, dy[2 * r + s]. */
VEC void grad_tile(const bool full, float *dst, int64_t plane, const vf dy[4], vm m)
{
    vf left[4] = {dy[0], vf_add(dy[0], dy[2]), vf_sub(dy[0], dy[2]), vf_neg(dy[2])};
    vf right[4] = {dy[1], vf_add(dy[1], dy[3]), vf_sub(dy[1], dy[3]), vf_neg(dy[3])};
    UNROLL for (int i = 0; i < 4; i++)
    {
        store_lanes(full, dst + (4 * i + 0) * plane, left[i], m);
        store_lanes(full, dst + (4 * i + 1) * plane, vf_add(left[i], right[i]), m);
        store_lanes(full, dst + (4 * i + 2) * plane, vf_sub(left[i], right[i]), m);
        store_lanes(full, dst + (4 * i + 3) * plane, vf_neg(right[i]), m);
    }
}

/* The pixels of a tile of dy as it is. */
VEC void grad_plain(vf dst[4], const qn_winograd_grad *g, int64_t t, int64_t c, vm m)
{
    UNROLL for (int i = 0; i < 4; i++)
    {
        int64_t col = 2 * t + i % 2;
        const float *row = g->row[i / 2];
        dst[i] = row && col < g->width ? vf_load_mask(row + col * g->pixel + c, m) : vf_zero();
    }
}

VEC void grad_unpooled(vf dst[4], const qn_winograd_grad *g, int64_t t, int64_t c, vm m)
{
    int64_t at = t * g->pixel + c;
    uint8_t bytes[VL] = {0};
    if (g->channels - c >= VL)
        memcpy(bytes, g->choice + at, VL);
    else
        memcpy(bytes, g->choice + at, (size_t)(g->channels - c));
    vf x = passed(g->y, g->dy, at, m);
    vi place = vi_load_u8(bytes);
    UNROLL for (int i = 0; i < 4; i++) dst[i] = vf_keep(vi_eq(place, vi_set(i)), x);
}

VEC void grad_lanes(const bool full, const qn_winograd_grad *g, int64_t c, vm m)
{
    bool plain = g->row[0] != NULL;
    for (int64_t t = 0; t < g->tiles; t++) {
        vf dy[4];
        if (plain)
            grad_plain(dy, g, t, c, m);
        else
            grad_unpooled(dy, g, t, c, m);
        grad_tile(full, g->planes + t * g->channels + c, g->plane, dy, m);
    }
}

static void winograd_grad(const qn_winograd_grad *g)
{
    int64_t c = 0;
    for (; c + VL <= g->channels; c += VL)
        grad_lanes(true, g, c, vm_first(VL));
    if (c < g->channels)
        grad_lanes(false, g, c, vm_first((int)(g->channels - c)));
}

/* (a, b, c) through G: sums with b are halved after they are made, which is exact. */
VEC void weights_line(vf dst[4], vf a, vf b, vf c)
{
    const vf half = vf_set(0.5f);
    vf ends = vf_add(a, c);
    dst[0] = a;
    dst[1] = vf_mul(half, vf_add(ends, b));
    dst[2] = vf_mul(half, vf_sub(ends, b));
    dst[3] = c;
}

static void winograd_weights(float *dst, int64_t plane, const float *src, int64_t tap,
                             int64_t count)
{
    for (int64_t c = 0; c < count; c += VL) {
        vm m = vm_first(count - c < VL ? (int)(count - c) : VL);
        vf columns[3][4];
        UNROLL for (int j = 0; j < 3; j++)
        {
            const float *w = src + j * tap + c;
            weights_line(columns[j], vf_load_mask(w, m), vf_load_mask(w + 3 * tap, m),
                         vf_load_mask(w + 6 * tap, m));
        }
        UNROLL for (int i = 0; i < 4; i++)
        {
            vf line[4];
            weights_line(line, columns[0][i], columns[1][i], columns[2][i]);
            UNROLL for (int j = 0; j < 4; j++)
                vf_store_mask(dst + (4 * i + j) * plane + c, line[j], m);
        }
    }
}

/* Four numbers through G'. */
VEC void weights_back(vf dst[3], vf a, vf b, vf c, vf d)
{
    const vf half = vf_set(0.5f);
    vf sum = vf_mul(half, vf_add(b, c));
    dst[0] = vf_add(a, sum);
    dst[1] = vf_mul(half, vf_sub(b, c));
    dst[2] = vf_add(sum, d);
}

static void winograd_weights_grad(float *dst, int64_t tap, const float *src, int64_t plane,
                                  int64_t count)
{
    for (int64_t c = 0; c < count; c += VL) {
        vm m = vm_first(count - c < VL ? (int)(count - c) : VL);
        vf columns[4][3];
        UNROLL for (int j = 0; j < 4; j++)
        {
            const float *p = src + j * plane + c;
            weights_back(columns[j], vf_load_mask(p, m), vf_load_mask(p + 4 * plane, m),
                         vf_load_mask(p + 8 * plane, m), vf_load_mask(p + 12 * plane, m));
        }
        UNROLL for (int i = 0; i < 3; i++)
        {
            vf line[3];
            weights_back(line, columns[0][i], columns[1][i], columns[2][i], columns[3][i]);
            UNROLL for (int j = 0; j < 3; j++)
                vf_store_mask(dst + (3 * i + j) * tap + c, line[j], m);
        }
    }
}

#define CONV_TABLE(of_bf16, of_pairs)                                                              \
    {                                                                                              \
        .depthwise = depthwise, .pool = pool, .strip_pooled = strip_pooled, .unpool = unpool,      \
        .unpool_bf16 = of_bf16, .unpool_pairs = of_pairs, .winograd_source = winograd_source,      \
        .winograd_result = winograd_result, .winograd_pooled = winograd_pooled,                    \
        .winograd_grad = winograd_grad, .winograd_weights = winograd_weights,                      \
        .winograd_weights_grad = winograd_weights_grad                                             \
    }
