/*
 * Forward convolution and its gradient to the input by Winograd's filtering (winograd.h): blocks of tiles that stay in
 * the second cache while they are transformed, multiplied panel by panel and transformed back.
 */
#include "kernel/conv/winograd.h"

#include "base/checked.h"
#include "kernel/split.h"

enum {
    PLANES = 16,
    LINE = 16,               /* floats of a cache line: planes start on different sets */
    BLOCK_BYTES = 400 << 10, /* of source and result planes of a block: below half of L2 */
    BLOCK_TILES_MIN = 64,    /* fewer do not pay for reading the weights again */
    PANEL_MAX = 48,          /* columns of the widest register tile */
    CHANNELS_MIN = 16,       /* on either side: fewer do not pay for the transforms */
    FEW_TILES = 25,          /* with few tiles, larger weights that are read once cost more than */
    FEW_TILES_PAIRS = 1 << 14, /* products save: then so many pairs of channels at most */
    CHUNK_FLOPS = 1 << 20,
    /* Weights of so many pairs fit every core's cache: parts of an image, which share little else, before parts of the
     * panels. */
    EVERYWHERE_PAIRS = 1 << 12,
    UNITS = 8, /* pieces of work wanted where there are few images */
    PACK_GRAIN = 4096
};

static bool is_small_plane(const qn_conv2d *c)
{
    return c->kd == 0 || (c->kd == 1 && c->d == 1 && c->od == 1 && c->pad_front == 0);
}

bool qn_winograd_takes(const qn_conv2d *c)
{
    int64_t tiles = (c->oh + 1) / 2 * ((c->ow + 1) / 2);
    return c->kh == 3 && c->kw == 3 && c->stride_h == 1 && c->stride_w == 1 && c->dilation_h == 1 &&
           c->dilation_w == 1 && c->groups == 1 && is_small_plane(c) && c->cin >= CHANNELS_MIN &&
           c->cout >= CHANNELS_MIN && c->oh >= 3 && c->ow >= 3 &&
           (tiles >= FEW_TILES || c->cin * c->cout <= FEW_TILES_PAIRS);
}

/* The convolution from dy back to x. */
static qn_conv2d mirrored(const qn_conv2d *c)
{
    qn_conv2d m = *c;
    m.h = c->oh;
    m.w = c->ow;
    m.cin = c->cout;
    m.oh = c->h;
    m.ow = c->w;
    m.cout = c->cin;
    m.pad_top = 2 - c->pad_top;
    m.pad_left = 2 - c->pad_left;
    return m;
}

bool qn_winograd_takes_grad_x(const qn_conv2d *c)
{
    qn_conv2d m = mirrored(c);
    return m.pad_top >= 0 && m.pad_left >= 0 && qn_winograd_takes(&m);
}

size_t qn_winograd_packed_bytes(const qn_conv2d *c)
{
    return (size_t)(PLANES * c->cin * c->cout) * sizeof(float);
}

typedef struct {
    const qn_conv2d *c;
    const qn_tile_kernels *tile;
    float *dst;
    const float *weight; /* [9][cin][cout] */
} packing;

static void pack_range(void *context, int64_t first, int64_t end)
{
    const packing *k = context;
    const qn_conv2d *c = k->c;
    const qn_conv_kernels *kernels = qn_conv_f32_kernels();
    for (int64_t p = 0; p < qn_tile_panels(k->tile, c->cout); p++) {
        int64_t col = qn_tile_panel_start(k->tile, c->cout, p),
                cols = qn_tile_panel_start(k->tile, c->cout, p + 1) - col;
        for (int64_t i = first; i < end; i++)
            kernels->winograd_weights(k->dst + PLANES * c->cin * col + i * cols, c->cin * cols,
                                      k->weight + i * c->cout + col, c->cin * c->cout, cols);
    }
}

void qn_winograd_pack(qn_pool *pool, const qn_conv2d *c, float *dst, const float *weight)
{
    packing k = {c, qn_tile_f32(), dst, weight};
    qn_split(pool, c->cin, qn_split_grain(c->cout, PACK_GRAIN), pack_range, &k);
}

typedef struct {
    const qn_conv2d *c;
    const qn_winograd *io;
    const qn_tile_kernels *tile;
    const qn_conv_kernels *kernels;
    int64_t tiles_h, tiles_w; /* of an image, of those that are wanted */
    int64_t group, blocks;    /* a block is `group` images, or one of `blocks` parts of an image */
    int64_t pieces, splits;   /* all blocks; into how many parts panels go */
    int64_t panels, tiles;    /* tiles: the most of a block */
    const float *packed;
    int64_t *row;                  /* of a block's strips */
    float *source, *result, *room; /* one of each per worker */
    int64_t source_floats, result_floats, room_floats;
} job;

/* Blocks, then more of them or parts of their panels where an image alone is to keep several cores busy. No sum depends
 * on either. */
static void job_units(job *j)
{
    const qn_conv2d *c = j->c;
    int64_t n = qn_max_i64(c->n, 1), tiles = j->tiles_h * j->tiles_w;
    double flops = 2.0 * PLANES * (double)(n * tiles) * (double)(c->cin * c->cout);
    int64_t wanted = 1;
    while (wanted < UNITS && (double)wanted * CHUNK_FLOPS < flops)
        wanted *= 2;
    int64_t most = BLOCK_BYTES / ((int64_t)PLANES * 4 * (c->cin + PANEL_MAX));
    most = qn_max_i64(most, BLOCK_TILES_MIN);
    j->panels = qn_tile_panels(j->tile, c->cout);
    j->group = qn_max_i64(qn_min_i64(most / tiles, n / wanted), 1);
    j->blocks = 1;
    if (j->group == 1) {
        int64_t rows = qn_max_i64(most / j->tiles_w, 1);
        j->blocks = (j->tiles_h + rows - 1) / rows;
    }
    j->pieces = (n + j->group - 1) / j->group * j->blocks;
    if (j->pieces < wanted && c->cin * c->cout <= EVERYWHERE_PAIRS) {
        j->blocks = qn_min_i64((wanted + n - 1) / n, j->tiles_h);
        j->pieces = n * j->blocks;
    }
    j->splits = qn_max_i64(qn_min_i64((wanted + j->pieces - 1) / j->pieces, j->panels), 1);
    int64_t rows = (j->tiles_h + j->blocks - 1) / j->blocks;
    j->tiles = j->group * rows * j->tiles_w;
}

/* Rows of the image that tile rows [first, end) read. */
static int64_t rows_first(const qn_conv2d *c, int64_t first)
{
    return qn_min_i64(qn_max_i64(2 * first - c->pad_top, 0), c->h);
}
static int64_t rows_end(const qn_conv2d *c, int64_t end)
{
    return qn_min_i64(qn_max_i64(2 * end - c->pad_top + 2, 0), c->h);
}

static void job_plan(job *j, const qn_conv2d *c, const qn_winograd *io, qn_carve *carve,
                     int threads)
{
    *j = (job){.c = c, .io = io, .tile = qn_tile_f32(), .kernels = qn_conv_f32_kernels()};
    j->tiles_h = io->pooled ? c->oh / 2 : (c->oh + 1) / 2;
    j->tiles_w = io->pooled ? c->ow / 2 : (c->ow + 1) / 2;
    job_units(j);
    j->source_floats = PLANES * (j->tiles * c->cin + LINE);
    j->result_floats = PLANES * (j->tiles * PANEL_MAX + LINE);
    int64_t rows = 2 * ((j->tiles_h + j->blocks - 1) / j->blocks) + 4;
    j->room_floats = io->fetch ? (rows * c->w * c->cin + LINE - 1) / LINE * LINE : 0;
    j->row = qn_carve_take(carve, (size_t)j->tiles * sizeof *j->row);
    j->source = qn_carve_take(carve, (size_t)(j->source_floats * threads) * sizeof(float));
    j->result = qn_carve_take(carve, (size_t)(j->result_floats * threads) * sizeof(float));
    j->room = qn_carve_take(carve, (size_t)(j->room_floats * threads) * sizeof(float));
    for (int64_t i = 0; j->row && i < j->tiles; i++)
        j->row[i] = i * c->cin;
}

/* A block's part in one image: tile rows [first, end), the first of which is tile `at` of the block. */
typedef struct {
    int64_t image, first, end, at;
} part;

typedef struct {
    const job *j;
    int64_t images, tiles; /* that the block has */
    part whole;            /* of its first image; the others are alike */
    float *source, *result, *room;
} block;

static part block_part(const block *b, int64_t i)
{
    part p = b->whole;
    p.image += i;
    p.at = i * (p.end - p.first) * b->j->tiles_w;
    return p;
}

/* The planes of a part from the rows of its image, made or as they lie. */
static void part_source(const block *b, const part *p)
{
    const job *j = b->j;
    const qn_conv2d *c = j->c;
    int64_t line = c->w * c->cin, first = rows_first(c, p->first), end = rows_end(c, p->end);
    const float *rows = j->io->fetch ? b->room : j->io->io.x + p->image * c->h * line;
    int64_t zero = 0; /* the row that stands first at `rows` */
    if (j->io->fetch && first < end) {
        zero = first / 2 * 2;
        end = qn_min_i64((end + 1) / 2 * 2, c->h);
        rows = j->io->fetch(j->io->context, p->image, zero, end - zero, b->room);
    }
    qn_winograd_source s = {.col = -c->pad_left,
                            .width = c->w,
                            .pixel = c->cin,
                            .tiles = j->tiles_w,
                            .channels = c->cin,
                            .plane = b->tiles * c->cin + LINE};
    for (int64_t r = p->first; r < p->end; r++) {
        for (int64_t i = 0; i < 4; i++) {
            int64_t at = 2 * r - c->pad_top + i;
            s.row[i] = at >= 0 && at < c->h ? rows + (at - zero) * line : NULL;
        }
        s.planes = b->source + (p->at + (r - p->first) * j->tiles_w) * c->cin;
        j->kernels->winograd_source(&s);
    }
}

/* 16 products of all tiles of the block with columns [col, col + cols). */
static void block_products(const block *b, int64_t col, int64_t cols)
{
    static const int64_t origin[1] = {0};
    const job *j = b->j;
    int64_t depth = j->c->cin;
    qn_strip s = {.rows = b->tiles,
                  .cols = (int)cols,
                  .a = b->source,
                  .row = j->row,
                  .seg = origin,
                  .segs = 1,
                  .seg_len = depth,
                  .step = 1,
                  .b = j->packed + PLANES * depth * col,
                  .ldb = cols,
                  .c = b->result,
                  .ldc = cols};
    for (int e = 0; e < PLANES; e++) {
        j->tile->strip(&s);
        s.a += b->tiles * depth + LINE;
        s.b += depth * cols;
        s.c += b->tiles * cols + LINE;
    }
}

static void part_pooled(const block *b, const part *p, int64_t col, int64_t cols)
{
    const job *j = b->j;
    const qn_conv2d *c = j->c;
    const float *bias = j->io->io.bias;
    for (int64_t r = p->first; r < p->end; r++) {
        int64_t at = (p->image * j->tiles_h + r) * j->tiles_w * c->cout + col;
        qn_winograd_pooled to = {.planes = b->result + (p->at + (r - p->first) * j->tiles_w) * cols,
                                 .plane = b->tiles * cols + LINE,
                                 .tiles = j->tiles_w,
                                 .channels = cols,
                                 .dst = j->io->io.y + at,
                                 .choice = j->io->choice ? j->io->choice + at : NULL,
                                 .pixel = c->cout,
                                 .bias = bias ? bias + col : NULL};
        j->kernels->winograd_pooled(&to);
    }
}

static void part_result(const block *b, const part *p, int64_t col, int64_t cols)
{
    const job *j = b->j;
    const qn_conv2d *c = j->c;
    const qn_conv2d_forward *io = &j->io->io;
    for (int64_t r = p->first; r < p->end; r++) {
        int64_t at = (p->image * c->oh + 2 * r) * c->ow * c->cout + col;
        qn_winograd_result to = {.planes = b->result + (p->at + (r - p->first) * j->tiles_w) * cols,
                                 .plane = b->tiles * cols + LINE,
                                 .tiles = j->tiles_w,
                                 .channels = cols,
                                 .dst = io->y + at,
                                 .row = c->ow * c->cout,
                                 .pixel = c->cout,
                                 .rows = qn_min_i64(2, c->oh - 2 * r),
                                 .cols = c->ow,
                                 .bias = io->bias ? io->bias + col : NULL,
                                 .added = io->added ? io->added + at : NULL,
                                 .relu = io->act == QN_ACT_RELU};
        j->kernels->winograd_result(&to);
        if (io->act != QN_ACT_NONE && io->act != QN_ACT_RELU)
            j->tile->activate(to.dst, c->cout, to.rows * c->ow, cols, io->act, io->slope);
    }
}

static void unit_run(void *context, int64_t unit, int worker)
{
    const job *j = context;
    const qn_conv2d *c = j->c;
    int64_t split = unit / j->pieces, piece = unit % j->pieces, at = piece % j->blocks;
    int64_t image = piece / j->blocks * j->group;
    block b = {.j = j,
               .images = qn_min_i64(j->group, c->n - image),
               .whole = {image, at * j->tiles_h / j->blocks, (at + 1) * j->tiles_h / j->blocks, 0},
               .source = j->source + worker * j->source_floats,
               .result = j->result + worker * j->result_floats,
               .room = j->room + worker * j->room_floats};
    b.tiles = b.images * (b.whole.end - b.whole.first) * j->tiles_w;
    for (int64_t i = 0; i < b.images; i++) {
        part p = block_part(&b, i);
        part_source(&b, &p);
    }
    int64_t end = (split + 1) * j->panels / j->splits;
    for (int64_t panel = split * j->panels / j->splits; panel < end; panel++) {
        int64_t col = qn_tile_panel_start(j->tile, c->cout, panel),
                cols = qn_tile_panel_start(j->tile, c->cout, panel + 1) - col;
        block_products(&b, col, cols);
        for (int64_t i = 0; i < b.images; i++) {
            part p = block_part(&b, i);
            if (j->io->pooled)
                part_pooled(&b, &p, col, cols);
            else
                part_result(&b, &p, col, cols);
        }
    }
}

static void job_run(qn_pool *pool, job *j)
{
    if (j->c->n > 0 && j->tiles_h > 0 && j->tiles_w > 0)
        qn_pool_run(pool, unit_run, j, j->pieces * j->splits);
}

/* Room for weights that are not packed; NULL where they are, and where nothing is to be run. */
static float *take_weights(const qn_conv2d *c, const float *packed, qn_carve *carve)
{
    return packed ? NULL : qn_carve_take(carve, qn_winograd_packed_bytes(c));
}

void qn_winograd_forward(qn_pool *pool, const qn_conv2d *c, const qn_winograd *io, void *scratch)
{
    job j;
    qn_carve carve = {.base = scratch};
    job_plan(&j, c, io, &carve, qn_pool_threads(pool));
    float *made = take_weights(c, io->io.packed, &carve);
    if (made)
        qn_winograd_pack(pool, c, made, io->io.weight);
    j.packed = made ? made : io->io.packed;
    job_run(pool, &j);
}

size_t qn_winograd_forward_bytes(const qn_conv2d *c, const qn_winograd *io, int threads)
{
    job j;
    qn_carve carve = {0};
    job_plan(&j, c, io, &carve, threads);
    take_weights(c, io->io.packed, &carve);
    return carve.used;
}

/* Rotated and transposed: tap t, from dy's channel o to x's channel i, is weight [8 - t, i, o]. */
static void rotate_weights(const qn_conv2d *c, float *dst, const float *weight)
{
    int64_t slab = c->cin * c->cout;
    for (int64_t t = 0; t < 9; t++)
        qn_tile_f32()->transpose(dst + t * slab, c->cin, weight + (8 - t) * slab, c->cout, c->cout,
                                 c->cin);
}

void qn_winograd_grad_x(qn_pool *pool, const qn_conv2d *c, const qn_winograd *io, void *scratch)
{
    job j;
    qn_conv2d m = mirrored(c);
    qn_carve carve = {.base = scratch};
    job_plan(&j, &m, io, &carve, qn_pool_threads(pool));
    float *made = take_weights(&m, NULL, &carve);
    float *rotated = qn_carve_take(&carve, (size_t)(9 * c->cin * c->cout) * sizeof *rotated);
    rotate_weights(c, rotated, io->io.weight);
    qn_winograd_pack(pool, &m, made, rotated);
    j.packed = made;
    job_run(pool, &j);
}

size_t qn_winograd_grad_x_bytes(const qn_conv2d *c, const qn_winograd *io, int threads)
{
    job j;
    qn_conv2d m = mirrored(c);
    qn_carve carve = {0};
    job_plan(&j, &m, io, &carve, threads);
    take_weights(&m, NULL, &carve);
    qn_carve_take(&carve, (size_t)(9 * c->cin * c->cout) * sizeof(float));
    return carve.used;
}
