/*
 * Packing parts and cutting batches. The gather is the one loop of data/ that runs in every training step: rows are
 * copied, pixels are widened and scaled on the way, and the next row is asked for before it is needed.
 */
#include "data/loader.h"

#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "base/rng.h"
#include "data/gather.h"
#include "data/transform_priv.h"

enum {
    SHUFFLE_STREAM = 0x5348, /* "SH": apart from every stream that models use */
    PART_MIN = 1 << 14,      /* numbers of a batch that are worth another core */
    PART_STEP = 64           /* bytes or pixels: whole lines of the cache on one side at least */
};

typedef struct {
    const qn_transforms *transforms;
    const qn_frame *frame;
    const int64_t *rows;
    int64_t count;
    qn_pool *pool;
    qn_arena *arena;
    void **dst; /* per output; packed as they are (u8 pixels) where NULL */
} packing;

static qn_status no_memory(int64_t rows, qn_error *err)
{
    QN_FAIL(err, QN_ERR_MEMORY, "no memory to pack %lld rows", (long long)rows);
}

/* Pixels that the frame holds as bytes stay bytes: a quarter of the memory, and less to read per batch. */
static const qn_column *byte_pixels(const packing *in, int64_t output)
{
    for (int64_t i = 0; i < in->transforms->encoders_count; i++) {
        const qn_encoder *encoder = &in->transforms->encoders[i];
        if (encoder->input.type != QN_TYPE_IMAGE || encoder->at != output)
            continue;
        const qn_column *column = qn_frame_find(in->frame, encoder->input.name);
        bool bytes =
            column && column->kind == QN_COLUMN_ARRAY && column->array.dtype == QN_DTYPE_U8;
        int64_t each =
            bytes && in->frame->rows ? qn_shape_count(&column->array.shape) / in->frame->rows : -1;
        return each == in->transforms->outputs[output].count ? column : NULL;
    }
    return NULL;
}

static qn_status pack_bytes(const packing *in, const qn_column *column, qn_packed_tensor *ret,
                            qn_error *err)
{
    ret->stored = QN_DTYPE_U8;
    ret->scale = 1.0f / 255.0f;
    ret->data = column->array.data;
    if (!in->rows)
        return QN_OK;
    uint8_t *copy = qn_arena_alloc_aligned(in->arena, (size_t)(in->count * ret->count), 64);
    if (!copy)
        return no_memory(in->count, err);
    for (int64_t i = 0; i < in->count; i++)
        memcpy(copy + i * ret->count,
               (const uint8_t *)column->array.data + in->rows[i] * ret->count, (size_t)ret->count);
    ret->data = copy;
    return QN_OK;
}

static qn_status pack_output(packing *in, int64_t output, qn_packed_tensor *ret, qn_error *err)
{
    const qn_feature_tensor *feature = &in->transforms->outputs[output];
    *ret = (qn_packed_tensor){.name = feature->name,
                              .stored = feature->dtype,
                              .dtype = feature->dtype,
                              .shape = feature->shape,
                              .count = feature->count,
                              .scale = 1};
    const qn_column *pixels = byte_pixels(in, output);
    int64_t count;
    if (!qn_mul_i64(in->count, feature->count, &count) || !qn_mul_i64(count, 8, &count))
        return no_memory(in->count, err);
    size_t size = (size_t)(in->count * feature->count) * qn_dtype_size(feature->dtype);
    if (pixels) /* in->dst stays NULL: qn_transforms_apply leaves it out */
        return pack_bytes(in, pixels, ret, err);
    in->dst[output] = qn_arena_alloc_aligned(in->arena, size, 64);
    ret->data = in->dst[output];
    return ret->data ? QN_OK : no_memory(in->count, err);
}

/* An array a row: numbers scaled like any others, labels as they are. */
static qn_status pack_array(const packing *in, qn_packed_tensor *ret, qn_error *err)
{
    const qn_transforms *t = in->transforms;
    bool labels = t->task == QN_TASK_TRANSCRIBE;
    ret->shape = t->target_array.shape;
    ret->count = qn_shape_count(&ret->shape);
    ret->stored = ret->dtype = labels ? QN_DTYPE_I64 : QN_DTYPE_F32;
    int64_t all;
    void *data = NULL;
    if (qn_mul_i64(in->count, ret->count, &all))
        data = qn_arena_zero(in->arena, all, qn_dtype_size(ret->stored));
    if (!data)
        return no_memory(in->count, err);
    ret->data = data;
    QN_TRY(qn_transforms_arrays(t, in->frame, in->rows, in->count, data, err));
    float *numbers = data;
    for (int64_t i = 0; !labels && i < all; i++)
        numbers[i] = (float)(((double)numbers[i] - t->target_mean) / t->target_deviation);
    return QN_OK;
}

static qn_status pack_target(const packing *in, qn_packed_tensor *ret, qn_error *err)
{
    const qn_transforms *transforms = in->transforms;
    *ret = (qn_packed_tensor){.name = QN_STR("target"), .scale = 1, .count = 1};
    if (qn_transforms_target_array(transforms))
        return pack_array(in, ret, err);
    if (transforms->task != QN_TASK_REGRESSION) {
        int64_t *classes = QN_NEW(in->arena, int64_t, in->count);
        ret->stored = ret->dtype = QN_DTYPE_I64;
        ret->data = classes;
        return classes
                   ? qn_transforms_classes(transforms, in->frame, in->rows, in->count, classes, err)
                   : no_memory(in->count, err);
    }
    float *numbers = QN_NEW(in->arena, float, in->count);
    ret->stored = ret->dtype = QN_DTYPE_F32;
    ret->shape = QN_SHAPE(1);
    ret->data = numbers;
    if (!numbers)
        return no_memory(in->count, err);
    QN_TRY(qn_transforms_numbers(transforms, in->frame, in->rows, in->count, numbers, err));
    for (int64_t i = 0; i < in->count; i++)
        numbers[i] =
            (float)(((double)numbers[i] - transforms->target_mean) / transforms->target_deviation);
    return QN_OK;
}

qn_status qn_pack(const qn_transforms *transforms, const qn_frame *frame, const int64_t *rows,
                  int64_t count, bool with_target, qn_pool *pool, qn_arena *arena, qn_packed *ret,
                  qn_error *err)
{
    int64_t outputs = transforms->outputs_count;
    packing in = {transforms, frame, rows, count, pool, arena, QN_NEW(arena, void *, outputs)};
    qn_packed packed = {.tensors = QN_NEW(arena, qn_packed_tensor, outputs + 1), .rows = count};
    if (!in.dst || !packed.tensors)
        return no_memory(count, err);
    for (int64_t i = 0; i < outputs; i++)
        QN_TRY(pack_output(&in, i, &packed.tensors[i], err));
    packed.tensors_count = outputs;
    QN_TRY(qn_transforms_apply(transforms, frame, rows, count, in.dst, pool, arena, err));
    bool target =
        with_target && transforms->target.size > 0 && qn_frame_find(frame, transforms->target);
    if (target)
        QN_TRY(pack_target(&in, &packed.tensors[packed.tensors_count++], err));
    *ret = packed;
    return QN_OK;
}

static bool dtype_is_packed(qn_dtype dtype)
{
    return dtype == QN_DTYPE_F32 || dtype == QN_DTYPE_I64 || dtype == QN_DTYPE_U8;
}

qn_status qn_pack_arrays(const qn_named_tensor *arrays, int64_t arrays_count, qn_arena *arena,
                         qn_packed *ret, qn_error *err)
{
    if (arrays_count < 1 || arrays[0].tensor.shape.rank < 1)
        QN_FAIL(err, QN_ERR_ARG, "no arrays with rows are given");
    qn_packed packed = {.tensors = QN_NEW(arena, qn_packed_tensor, arrays_count),
                        .tensors_count = arrays_count,
                        .rows = arrays[0].tensor.shape.dims[0]};
    if (!packed.tensors)
        return no_memory(packed.rows, err);
    for (int64_t i = 0; i < arrays_count; i++) {
        const qn_tensor *tensor = &arrays[i].tensor;
        qn_packed_tensor *out = &packed.tensors[i];
        if (tensor->shape.rank < 1 || tensor->shape.dims[0] != packed.rows)
            QN_FAIL(err, QN_ERR_ARG, "'%s' has %lld rows, '%s' has %lld", arrays[i].name,
                    (long long)(tensor->shape.rank ? tensor->shape.dims[0] : 0), arrays[0].name,
                    (long long)packed.rows);
        if (!dtype_is_packed(tensor->dtype) || !qn_tensor_contiguous(tensor))
            QN_FAIL(err, QN_ERR_ARG, "'%s' is %s, expected contiguous f32, i64 or u8",
                    arrays[i].name, qn_dtype_name(tensor->dtype));
        bool bytes = tensor->dtype == QN_DTYPE_U8;
        *out = (qn_packed_tensor){.name = qn_str_from(arrays[i].name),
                                  .stored = tensor->dtype,
                                  .dtype = bytes ? QN_DTYPE_F32 : tensor->dtype,
                                  .data = tensor->data,
                                  .count = 1,
                                  .scale = bytes ? 1.0f / 255.0f : 1};
        out->shape.rank = tensor->shape.rank - 1;
        for (int axis = 0; axis < out->shape.rank; axis++)
            out->shape.dims[axis] = tensor->shape.dims[axis + 1];
        out->count = qn_shape_count(&out->shape);
    }
    *ret = packed;
    return QN_OK;
}

typedef struct {
    const qn_packed *packed;
    const int64_t *rows;
    int64_t first, count, parts;
    void *const *dst;
} gathering;

/* A part of the columns of every tensor: weights that meet them are shared out between cores in the same way. */
static void gather_part(void *context, int64_t at, int worker)
{
    const gathering *g = context;
    (void)worker;
    for (int64_t i = 0; i < g->packed->tensors_count; i++) {
        const qn_packed_tensor *tensor = &g->packed->tensors[i];
        bool pixels = tensor->stored == QN_DTYPE_U8;
        int64_t width = tensor->count * (pixels ? 1 : (int64_t)qn_dtype_size(tensor->stored));
        qn_batch_part part = {.rows = g->rows,
                              .first = g->first,
                              .count = g->count,
                              .width = width,
                              .from = width * at / g->parts / PART_STEP * PART_STEP,
                              .end = width * (at + 1) / g->parts / PART_STEP * PART_STEP};
        if (at + 1 == g->parts)
            part.end = width;
        if (g->dst[i] && pixels)
            qn_batch_pixels(g->dst[i], tensor->data, &part, tensor->scale);
        else if (g->dst[i])
            qn_batch_rows(g->dst[i], tensor->data, &part);
    }
}

void qn_packed_gather(const qn_packed *packed, qn_pool *pool, const int64_t *rows, int64_t first,
                      int64_t count, void *const *dst)
{
    gathering g = {packed, rows ? rows + first : NULL, first, count, 1, dst};
    int64_t widest = 0;
    for (int64_t i = 0; i < packed->tensors_count; i++)
        widest = qn_max_i64(widest, packed->tensors[i].count);
    if (pool && widest * count >= PART_MIN)
        g.parts = qn_pool_threads(pool);
    qn_pool_run(g.parts > 1 ? pool : NULL, gather_part, &g, g.parts);
}

/* Batches */

static void begin_epoch(qn_loader *loader)
{
    if (!loader->options.shuffle)
        return;
    for (int64_t i = 0; i < loader->packed->rows; i++)
        loader->order[i] = i;
    qn_rng rng = {.seed = loader->options.seed,
                  .stream = SHUFFLE_STREAM,
                  .step = (uint32_t)loader->cursor.epoch};
    qn_rng_shuffle(rng, loader->order, loader->packed->rows);
}

qn_status qn_loader_init(qn_loader *loader, const qn_packed *packed,
                         const qn_loader_options *options, qn_arena *arena, qn_error *err)
{
    if (options->batch < 1)
        QN_FAIL(err, QN_ERR_ARG, "a batch of %lld rows, expected at least 1",
                (long long)options->batch);
    if (packed->rows < 1 || (options->last == QN_LAST_DROP && packed->rows < options->batch))
        QN_FAIL(err, QN_ERR_ARG, "%lld rows do not make a batch of %lld", (long long)packed->rows,
                (long long)options->batch);
    int64_t *order = options->shuffle ? QN_NEW(arena, int64_t, packed->rows) : NULL;
    if (options->shuffle && !order)
        return no_memory(packed->rows, err);
    *loader = (qn_loader){.packed = packed, .options = *options, .order = order};
    begin_epoch(loader);
    return QN_OK;
}

int64_t qn_loader_batches(const qn_loader *loader)
{
    int64_t whole = loader->packed->rows / loader->options.batch;
    bool rest = loader->packed->rows % loader->options.batch != 0;
    return whole + (rest && loader->options.last == QN_LAST_KEEP);
}

void qn_loader_seek(qn_loader *loader, qn_loader_cursor cursor)
{
    loader->cursor = cursor;
    begin_epoch(loader);
}

int64_t qn_loader_next(qn_loader *loader, void *const *dst)
{
    if (loader->cursor.batch >= qn_loader_batches(loader)) {
        loader->cursor = (qn_loader_cursor){loader->cursor.epoch + 1, 0};
        begin_epoch(loader);
        return 0;
    }
    int64_t first = loader->cursor.batch * loader->options.batch;
    int64_t count = qn_min_i64(loader->options.batch, loader->packed->rows - first);
    qn_packed_gather(loader->packed, loader->options.pool, loader->order, first, count, dst);
    loader->cursor.batch++;
    return count;
}
