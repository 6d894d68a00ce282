/*
 * Dropout. Outside training it is its input. A node in training mode that has a seed drops what ONNX's reference drops: by
 * NumPy's first generator, the Mersenne Twister, so that its answers can be held against those of others. Training here
 * draws its own numbers, new ones in each step.
 *
 * Source: Matsumoto and Nishimura, Mersenne Twister, 1998, with the seeding of 2002 and reals of 53 bits.
 */
#include "model/onnx_import_priv.h"

enum { WORDS = 624, MIDDLE = 397 };

typedef struct {
    uint32_t words[WORDS];
    int at;
} twister;

static void seed_twister(twister *t, uint32_t seed)
{
    for (uint32_t i = 0; i < WORDS; i++) {
        t->words[i] = seed;
        seed = 1812433253U * (seed ^ seed >> 30) + i + 1;
    }
    t->at = WORDS;
}

static void twist(twister *t)
{
    for (int i = 0; i < WORDS; i++) {
        uint32_t mixed = (t->words[i] & 0x80000000U) | (t->words[(i + 1) % WORDS] & 0x7fffffffU);
        uint32_t turned = mixed >> 1 ^ (mixed & 1 ? 0x9908b0dfU : 0);
        t->words[i] = t->words[(i + MIDDLE) % WORDS] ^ turned;
    }
    t->at = 0;
}

static uint32_t next_word(twister *t)
{
    if (t->at == WORDS)
        twist(t);
    uint32_t word = t->words[t->at++];
    word ^= word >> 11;
    word ^= word << 7 & 0x9d2c5680U;
    word ^= word << 15 & 0xefc60000U;
    return word ^ word >> 18;
}

/* In [0, 1). */
static double next_real(twister *t)
{
    uint32_t high = next_word(t) >> 5, low = next_word(t) >> 6;
    return ((double)high * 67108864.0 + (double)low) / 9007199254740992.0;
}

/* Which elements stay, as the reference draws them. */
static qn_value draw_mask(qn_onnx_call *call, const qn_shape *shape, double ratio, int64_t seed)
{
    int64_t count = qn_shape_count(shape);
    if (count < 0)
        return qn_onnx_fail(call, QN_ERR_UNSUPPORTED,
                            "in training mode the sizes must be known; give the inputs' sizes");
    uint8_t *kept = qn_onnx_numbers(call, count, 1);
    twister t;
    seed_twister(&t, (uint32_t)seed);
    for (int64_t i = 0; kept && i < count; i++)
        kept[i] = next_real(&t) >= ratio;
    qn_tensor tensor = qn_tensor_of(kept, QN_DTYPE_BOOL, *shape);
    return kept ? qn_onnx_constant(call, &tensor) : QN_NONE;
}

static void map_seeded(qn_onnx_call *call, double ratio)
{
    qn_value x = qn_onnx_in(call, 0);
    qn_type type = *qn_onnx_type(call, x);
    qn_value mask = draw_mask(call, &type.shape, ratio, qn_onnx_attr_i(call, "seed", 0));
    qn_value scale =
        qn_onnx_cast(call, qn_onnx_scalar(call, QN_DTYPE_F64, 1 / (1 - ratio)), type.dtype);
    qn_value kept = qn_onnx_emit2(call, "Mul", x, qn_onnx_cast(call, mask, type.dtype));
    qn_onnx_out(call, 0, qn_onnx_emit2(call, "Mul", kept, scale));
    qn_onnx_out(call, 1, mask);
}

static void map_free(qn_onnx_call *call, double ratio)
{
    bool last = qn_onnx_is_last(call, 0);
    qn_value x = last ? qn_onnx_in_last(call, 0) : qn_onnx_in(call, 0);
    qn_tensor tensor;
    bool constant = x != QN_NONE && qn_graph_const_read(call->graph, x, &tensor);
    qn_attr attr = QN_ATTR_F("ratio", ratio < 1 ? ratio : 0);
    qn_value y =
        ratio > 0 && ratio < 1 && !constant ? qn_onnx_emit(call, "Dropout", &x, 1, &attr, 1) : x;
    if (last)
        qn_onnx_out_last(call, 0, y);
    else
        qn_onnx_out(call, 0, y);
    if (!qn_onnx_wants(call, 1))
        return;
    qn_shape shape = qn_onnx_type(call, qn_onnx_in(call, 0))->shape;
    qn_attr to = qn_onnx_list("shape", shape.dims, shape.rank);
    qn_value one = qn_onnx_scalar(call, QN_DTYPE_BOOL, 1);
    qn_onnx_out(call, 1, qn_onnx_emit(call, "Expand", &one, 1, &to, 1));
}

static void map_dropout(qn_onnx_call *call)
{
    double ratio = qn_onnx_attr_f(call, "ratio", 0.5), training = 0;
    if (qn_onnx_has(call, 1) && !qn_onnx_const_number(call, 1, &ratio))
        return;
    if (qn_onnx_has(call, 2) && !qn_onnx_const_number(call, 2, &training))
        return;
    bool drops = training != 0 && ratio > 0 && !call->importer->options->training;
    if (drops && (!qn_onnx_attr_find(call, "seed") || !(ratio < 1)))
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED,
                     "training_mode with a ratio and without a seed drops at random");
    else if (drops)
        map_seeded(call, ratio);
    else
        map_free(call, ratio);
}

const qn_onnx_row qn_onnx_rows_dropout[] = {
    QN_ONNX_NOTED("Dropout", 1, map_dropout, "training_mode with a ratio needs a seed"),
    {0},
};
