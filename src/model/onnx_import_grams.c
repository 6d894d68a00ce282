/*
 * TfIdfVectorizer over integers: how often each of the given n-grams stands in a row, with up to max_skip_count elements passed
 * over between two of its own. An n-gram of n elements is n comparisons of the row with itself moved, counted over the places.
 */
#include <string.h>

#include "model/onnx_import_priv.h"

enum { GRAMS_MAX = 4096, LENGTH_MAX = 32, SKIPS_MAX = 64 };

typedef struct {
    const qn_onnx_attr *starts, *columns, *pool, *weights;
    int64_t shortest, longest, skips, width; /* width: columns of the result */
    qn_value x;                              /* i64 [N, C] */
    int64_t length;                          /* C */
    qn_value counts;                         /* f32 [N, width] so far, or QN_NONE */
} gram_table;

/* Elements of the pool that n-grams of `n` take, from *ret_begin on; 0 = none. */
static int64_t grams_of(const gram_table *t, int64_t n, int64_t *ret_begin)
{
    if (n > t->starts->count)
        return 0;
    *ret_begin = t->starts->ints[n - 1];
    int64_t end = n < t->starts->count ? t->starts->ints[n] : t->pool->count;
    return (end - *ret_begin) / n;
}

static bool check_table(qn_onnx_call *call, gram_table *t)
{
    bool lists = t->starts && t->columns && t->pool && t->pool->kind == QN_ONNX_ATTR_INTS &&
                 t->starts->kind == QN_ONNX_ATTR_INTS && t->columns->kind == QN_ONNX_ATTR_INTS &&
                 (!t->weights || t->weights->kind == QN_ONNX_ATTR_FLOATS);
    bool sound = lists && t->columns->count <= GRAMS_MAX && t->starts->count <= LENGTH_MAX &&
                 t->shortest >= 1 && t->longest <= LENGTH_MAX && t->skips >= 0 &&
                 t->skips <= SKIPS_MAX && (!t->weights || t->weights->count == t->columns->count);
    int64_t grams = 0;
    for (int64_t n = 1; sound && n <= t->starts->count; n++) {
        int64_t begin = t->starts->ints[n - 1];
        int64_t end = n < t->starts->count ? t->starts->ints[n] : t->pool->count;
        sound = begin >= 0 && begin <= end && end <= t->pool->count && (end - begin) % n == 0;
        grams += sound ? (end - begin) / n : 0;
    }
    sound = sound && grams == t->columns->count;
    for (int64_t i = 0; sound && i < t->columns->count; i++) {
        sound = t->columns->ints[i] >= 0 && t->columns->ints[i] < GRAMS_MAX;
        if (t->columns->ints[i] >= t->width)
            t->width = t->columns->ints[i] + 1;
    }
    if (!sound || t->width == 0)
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED,
                     "needs pool_int64s with ngram_counts and ngram_indexes that agree, at most %d "
                     "n-grams",
                     (int)GRAMS_MAX);
    return call->status == QN_OK;
}

/* Element j of each n-gram: i64 [1, 1, grams]. */
static qn_value column_of(qn_onnx_call *call, const gram_table *t, int64_t begin, int64_t n,
                          int64_t grams, int64_t j)
{
    int64_t *elements = qn_onnx_numbers(call, grams, sizeof *elements);
    for (int64_t g = 0; g < grams && elements; g++)
        elements[g] = t->pool->ints[begin + g * n + j];
    if (!elements)
        return QN_NONE;
    qn_tensor tensor = qn_tensor_of(elements, QN_DTYPE_I64, QN_SHAPE(1, 1, grams));
    return qn_onnx_constant(call, &tensor);
}

/* How often each n-gram of `n` stands in the row with `skip` elements passed over: f32 [N, grams]. */
static qn_value count_grams(qn_onnx_call *call, const gram_table *t, int64_t begin, int64_t n,
                            int64_t grams, int64_t skip)
{
    int64_t places = t->length - (n - 1) * (skip + 1);
    qn_value all = QN_NONE;
    qn_attr last = qn_onnx_list("axes", (int64_t[]){2}, 1);
    qn_attr sum[] = {qn_onnx_list("axes", (int64_t[]){1}, 1), QN_ATTR_I("keepdims", 0)};
    for (int64_t j = 0; j < n; j++) {
        qn_value moved = qn_onnx_slice(call, t->x, 1, j * (skip + 1), j * (skip + 1) + places);
        moved = qn_onnx_emit(call, "Unsqueeze", &moved, 1, &last, 1);
        moved = qn_onnx_emit2(call, "Equal", moved, column_of(call, t, begin, n, grams, j));
        all = all == QN_NONE ? moved : qn_onnx_emit2(call, "And", all, moved);
    }
    all = qn_onnx_cast(call, all, QN_DTYPE_F32);
    return qn_onnx_emit(call, "ReduceSum", &all, 1, sum, 2);
}

/* Adds counts [N, grams] to the columns that the grams have; `first` is the first gram's place among all. */
static void add_counts(qn_onnx_call *call, gram_table *t, qn_value counts, int64_t first,
                       int64_t grams)
{
    float *places = qn_onnx_numbers(call, grams * t->width, sizeof *places);
    for (int64_t g = 0; g < grams && places; g++)
        places[g * t->width + t->columns->ints[first + g]] = 1;
    if (!places)
        return;
    qn_tensor tensor = qn_tensor_of(places, QN_DTYPE_F32, QN_SHAPE(grams, t->width));
    counts = qn_onnx_emit2(call, "MatMul", counts, qn_onnx_constant(call, &tensor));
    t->counts = t->counts == QN_NONE ? counts : qn_onnx_emit2(call, "Add", t->counts, counts);
}

/* TF counts, IDF weighs what is there, TFIDF weighs counts. */
static qn_value weigh(qn_onnx_call *call, const gram_table *t)
{
    const char *mode = qn_onnx_attr_s(call, "mode", "TF");
    qn_value y = t->counts;
    float *weights = qn_onnx_numbers(call, t->width, sizeof *weights);
    if (strcmp(mode, "TF") == 0 || !weights)
        return y;
    for (int64_t i = 0; i < t->columns->count; i++)
        weights[t->columns->ints[i]] = t->weights ? t->weights->floats[i] : 1;
    qn_tensor tensor = qn_tensor_of(weights, QN_DTYPE_F32, QN_SHAPE(t->width));
    if (strcmp(mode, "IDF") == 0)
        y = qn_onnx_cast(call,
                         qn_onnx_emit2(call, "Greater", y, qn_onnx_scalar(call, QN_DTYPE_F32, 0)),
                         QN_DTYPE_F32);
    return qn_onnx_emit2(call, "Mul", y, qn_onnx_constant(call, &tensor));
}

/* A row [C] as [1, C]; false after an error. */
static bool read_rows(qn_onnx_call *call, gram_table *t, bool *ret_single)
{
    qn_value x = qn_onnx_in(call, 0);
    qn_type type = *qn_onnx_type(call, x);
    int rank = type.shape.rank;
    bool known = rank >= 1 && rank <= 2 && type.shape.dims[rank - 1] >= 0;
    if (call->status == QN_OK && (!known || qn_dtype_is_float(type.dtype)))
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "takes rows of integers of known length");
    if (call->status != QN_OK)
        return false;
    *ret_single = rank == 1;
    t->length = type.shape.dims[rank - 1];
    t->x = qn_onnx_cast(call, x, QN_DTYPE_I64);
    if (rank == 1)
        t->x = qn_onnx_reshape(call, t->x, &QN_SHAPE(1, t->length));
    return call->status == QN_OK;
}

/* Rows too short for any n-gram. */
static qn_value no_counts(qn_onnx_call *call, const gram_table *t)
{
    int64_t rows = t->length > 0 ? t->length : 1;
    float *zeros = qn_onnx_numbers(call, rows * t->width, sizeof *zeros);
    if (!zeros)
        return QN_NONE;
    qn_tensor tensor = qn_tensor_of(zeros, QN_DTYPE_F32, QN_SHAPE(t->length, t->width));
    return qn_onnx_emit2(call, "MatMul", qn_onnx_cast(call, t->x, QN_DTYPE_F32),
                         qn_onnx_constant(call, &tensor));
}

static void map_tfidf(qn_onnx_call *call)
{
    gram_table t = {.starts = qn_onnx_attr_find(call, "ngram_counts"),
                    .columns = qn_onnx_attr_find(call, "ngram_indexes"),
                    .pool = qn_onnx_attr_find(call, "pool_int64s"),
                    .weights = qn_onnx_attr_find(call, "weights"),
                    .shortest = qn_onnx_attr_i(call, "min_gram_length", 1),
                    .longest = qn_onnx_attr_i(call, "max_gram_length", 1),
                    .skips = qn_onnx_attr_i(call, "max_skip_count", 0),
                    .counts = QN_NONE};
    bool single = false;
    if (!check_table(call, &t) || !read_rows(call, &t, &single))
        return;
    for (int64_t n = 1, first = 0, begin = 0; n <= t.longest && call->status == QN_OK; n++) {
        int64_t grams = grams_of(&t, n, &begin), skips = n == 1 ? 0 : t.skips;
        for (int64_t skip = 0; n >= t.shortest && grams > 0 && skip <= skips; skip++)
            if (t.length >= 1 + (n - 1) * (skip + 1))
                add_counts(call, &t, count_grams(call, &t, begin, n, grams, skip), first, grams);
        first += grams;
    }
    if (t.counts == QN_NONE)
        t.counts = no_counts(call, &t);
    qn_value y = call->status == QN_OK ? weigh(call, &t) : QN_NONE;
    qn_onnx_out(call, 0, single ? qn_onnx_reshape(call, y, &QN_SHAPE(t.width)) : y);
}

const qn_onnx_row qn_onnx_rows_grams[] = {
    QN_ONNX_NOTED("TfIdfVectorizer", 9, map_tfidf, "of integers, rows of known length"),
    {0},
};
