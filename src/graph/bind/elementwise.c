/*
 * Bindings of elementwise ops: functions of one number and their gradients, of two with broadcasting,
 * comparisons and selection.
 */
#include <string.h>

#include "graph/bind/bind.h"
#include "kernel/elementwise/bcast.h"
#include "kernel/elementwise/binary.h"
#include "kernel/elementwise/unary.h"

typedef struct {
    const char *op;
    int code;
} op_code;

static bool find_code(const op_code *table, const char *op, int *ret)
{
    for (; table->op; table++)
        if (strcmp(table->op, op) == 0) {
            *ret = table->code;
            return true;
        }
    return false;
}

/* Functions of one number. */

typedef struct {
    qn_unary op;
    float *dst;
    const float *src, *saved;
    int64_t count;
    float alpha, low, high;
} unary_args;

static void run_unary(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const unary_args *a = args;
    qn_unary_f32(pool, a->op, a->dst, a->src, a->count, a->alpha);
}

static void run_unary_grad(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const unary_args *a = args;
    qn_unary_grad_f32(pool, a->op, a->dst, a->src, a->saved, a->count, a->alpha);
}

static void run_clip(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const unary_args *a = args;
    qn_clamp_f32(pool, a->dst, a->src, a->count, a->low, a->high);
}

static void run_clip_grad(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const unary_args *a = args;
    qn_clamp_grad_f32(pool, a->dst, a->src, a->saved, a->count, a->low, a->high);
}

static const op_code unary_codes[] = {
    {"Neg", QN_UNARY_NEG},
    {"Abs", QN_UNARY_ABS},
    {"Exp", QN_UNARY_EXP},
    {"Log", QN_UNARY_LOG},
    {"Sqrt", QN_UNARY_SQRT},
    {"Reciprocal", QN_UNARY_RECIP},
    {"Square", QN_UNARY_SQUARE},
    {"Sign", QN_UNARY_SIGN},
    {"Floor", QN_UNARY_FLOOR},
    {"Ceil", QN_UNARY_CEIL},
    {"Round", QN_UNARY_ROUND},
    {"Sin", QN_UNARY_SIN},
    {"Cos", QN_UNARY_COS},
    {"Elu", QN_UNARY_ELU},
    {"Swish", QN_UNARY_SWISH},
    {"HardSwish", QN_UNARY_HARD_SWISH},
    {"Softsign", QN_UNARY_SOFTSIGN},
    {"Mish", QN_UNARY_MISH},
    {"ThresholdedRelu", QN_UNARY_THRESHOLD},
    {"Softplus", QN_UNARY_SOFTPLUS},
    {"Erf", QN_UNARY_ERF},
    {"Relu", QN_UNARY_RELU},
    {"LeakyRelu", QN_UNARY_LEAKY},
    {"Sigmoid", QN_UNARY_SIGMOID},
    {"Tanh", QN_UNARY_TANH},
    {"Gelu", QN_UNARY_GELU},
    {"Silu", QN_UNARY_SILU},
    {"ReluGrad", QN_UNARY_RELU},
    {"LeakyReluGrad", QN_UNARY_LEAKY},
    {"SigmoidGrad", QN_UNARY_SIGMOID},
    {"TanhGrad", QN_UNARY_TANH},
    {"GeluGrad", QN_UNARY_GELU},
    {"SiluGrad", QN_UNARY_SILU},
    {NULL, 0},
};

/* The part that all of them share; inputs of a gradient are dy and what the forward saved. */
static unary_args *take_unary(const qn_bind *bind)
{
    if (!qn_bind_all_f32(bind))
        return NULL;
    unary_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return NULL;
    args->dst = bind->outputs[0].data;
    args->src = bind->inputs[0].data;
    args->saved = bind->types->inputs_count > 1 ? bind->inputs[1].data : NULL;
    args->count = qn_bind_count(&bind->outputs[0]);
    return args;
}

static bool bind_unary(const qn_bind *bind)
{
    const char *name = bind->types->op->name;
    unary_args *args = take_unary(bind);
    int code;
    if (!args || !find_code(unary_codes, name, &code))
        return false;
    if (code == QN_UNARY_LEAKY || code == QN_UNARY_ELU || code == QN_UNARY_SWISH ||
        code == QN_UNARY_THRESHOLD)
        args->alpha = (float)qn_op_attr_f(bind->types, "alpha");
    if (code == QN_UNARY_GELU && strcmp(qn_op_attr_s(bind->types, "approximate"), "tanh") == 0)
        code = QN_UNARY_GELU_TANH;
    args->op = (qn_unary)code;
    if (bind->types->inputs_count > 1)
        return qn_bind_to(bind, run_unary_grad, "unary gradient");
    return qn_bind_to(bind, run_unary, "unary");
}

static bool bind_clip(const qn_bind *bind)
{
    unary_args *args = take_unary(bind);
    if (!args)
        return false;
    args->low = (float)qn_op_attr_f(bind->types, "min");
    args->high = (float)qn_op_attr_f(bind->types, "max");
    if (bind->types->inputs_count > 1)
        return qn_bind_to(bind, run_clip_grad, "clamp gradient");
    return qn_bind_to(bind, run_clip, "clamp");
}

/* Activations that are two or three of these in a row, over pieces that stay in the caches. */

enum { PIECE = 4096 }; /* elements: 16 KiB each of input and output */

typedef void (*piece_fn)(qn_pool *pool, const unary_args *a, float *dst, const float *src,
                         int64_t count);

static void run_pieces(const unary_args *a, qn_pool *pool, piece_fn fn)
{
    /* Enough work for several workers: each pass over all, cut by the kernels. */
    int64_t piece = pool ? a->count : PIECE;
    for (int64_t at = 0; at < a->count; at += piece) {
        int64_t rest = a->count - at;
        fn(pool, a, a->dst + at, a->src + at, rest < piece ? rest : piece);
    }
}

static void hard_sigmoid_piece(qn_pool *pool, const unary_args *a, float *dst, const float *src,
                               int64_t count)
{
    qn_affine_f32(pool, dst, src, count, a->alpha, a->low);
    qn_clamp_f32(pool, dst, dst, count, 0, 1);
}

static void selu_piece(qn_pool *pool, const unary_args *a, float *dst, const float *src,
                       int64_t count)
{
    qn_unary_f32(pool, QN_UNARY_ELU, dst, src, count, a->alpha);
    qn_affine_f32(pool, dst, dst, count, a->high, -0.0f);
}

static void celu_piece(qn_pool *pool, const unary_args *a, float *dst, const float *src,
                       int64_t count)
{
    qn_affine_f32(pool, dst, src, count, 1 / a->alpha, -0.0f);
    qn_unary_f32(pool, QN_UNARY_ELU, dst, dst, count, 1);
    qn_affine_f32(pool, dst, dst, count, a->alpha, -0.0f);
}

#define RUN_PIECES(name)                                                                           \
    static void run_##name(const void *args, qn_pool *pool, uint32_t step)                         \
    {                                                                                              \
        (void)step;                                                                                \
        run_pieces(args, pool, name##_piece);                                                      \
    }
RUN_PIECES(hard_sigmoid)
RUN_PIECES(selu)
RUN_PIECES(celu)

static bool bind_hard_sigmoid(const qn_bind *bind)
{
    unary_args *args = take_unary(bind);
    if (!args)
        return false;
    args->alpha = (float)qn_op_attr_f(bind->types, "alpha");
    args->low = (float)qn_op_attr_f(bind->types, "beta");
    return qn_bind_to(bind, run_hard_sigmoid, "hard sigmoid");
}

static bool bind_selu(const qn_bind *bind)
{
    unary_args *args = take_unary(bind);
    if (!args)
        return false;
    args->alpha = (float)qn_op_attr_f(bind->types, "alpha");
    args->high = (float)qn_op_attr_f(bind->types, "gamma");
    return qn_bind_to(bind, run_selu, "selu");
}

/* Scaling by alpha turns the sign of what elu sees, which only holds above 0. */
static bool bind_celu(const qn_bind *bind)
{
    unary_args *args = take_unary(bind);
    if (!args || !(qn_op_attr_f(bind->types, "alpha") > 0))
        return false;
    args->alpha = (float)qn_op_attr_f(bind->types, "alpha");
    return qn_bind_to(bind, run_celu, "celu");
}

/* Functions of two numbers and Where. */

typedef struct {
    int op;
    void *dst;
    const void *inputs[3];
    qn_bcast shape;
} binary_args;

static void run_binary_f32(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const binary_args *a = args;
    qn_binary_f32(pool, (qn_binary)a->op, a->dst, a->inputs[0], a->inputs[1], &a->shape);
}

static void run_binary_i64(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const binary_args *a = args;
    qn_binary_i64(pool, (qn_binary)a->op, a->dst, a->inputs[0], a->inputs[1], &a->shape);
}

static void run_compare_f32(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const binary_args *a = args;
    qn_compare_f32(pool, (qn_compare)a->op, a->dst, a->inputs[0], a->inputs[1], &a->shape);
}

static void run_compare_i64(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const binary_args *a = args;
    qn_compare_i64(pool, (qn_compare)a->op, a->dst, a->inputs[0], a->inputs[1], &a->shape);
}

static void run_where(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const binary_args *a = args;
    qn_where_f32(pool, a->dst, a->inputs[0], a->inputs[1], a->inputs[2], &a->shape);
}

/* Two inputs of one type; Where has its own check. */
static bool is_pair(const qn_bind *bind, qn_dtype dtype)
{
    const qn_op_types *types = bind->types;
    return types->inputs_count == 2 && types->inputs[0].dtype == dtype &&
           types->inputs[1].dtype == dtype;
}

static binary_args *take_binary(const qn_bind *bind)
{
    const qn_op_types *types = bind->types;
    const int64_t *dims[QN_BCAST_INPUTS];
    int ranks[QN_BCAST_INPUTS];
    binary_args *args = qn_bind_args(bind, sizeof *args);
    if (!args)
        return NULL;
    args->dst = bind->outputs[0].data;
    for (int i = 0; i < types->inputs_count; i++) {
        args->inputs[i] = bind->inputs[i].data;
        dims[i] = types->inputs[i].shape.dims;
        ranks[i] = types->inputs[i].shape.rank;
    }
    const qn_shape *out = &types->outputs[0].shape;
    args->shape = qn_bcast_make(out->dims, out->rank, dims, ranks, types->inputs_count);
    return args;
}

static const op_code binary_codes[] = {
    {"Add", QN_BINARY_ADD}, {"Sub", QN_BINARY_SUB},     {"Mul", QN_BINARY_MUL},
    {"Div", QN_BINARY_DIV}, {"Min", QN_BINARY_MIN},     {"Max", QN_BINARY_MAX},
    {"Pow", QN_BINARY_POW}, {"PRelu", QN_BINARY_PRELU}, {NULL, 0},
};

/* Small whole exponents, one for all, as models out of other tools have them (x^2, x^3), are products.
 * They are read when run: an exponent may be trained. */
static void run_power(const void *args, qn_pool *pool, uint32_t step)
{
    const binary_args *a = args;
    const float *exponent = a->inputs[1];
    int64_t count = qn_bcast_count(&a->shape);
    if (*exponent == 2) {
        qn_unary_f32(pool, QN_UNARY_SQUARE, a->dst, a->inputs[0], count, 0);
    } else if (*exponent == 3 && a->dst != a->inputs[0]) {
        qn_bcast same = qn_bcast_same(count);
        qn_unary_f32(pool, QN_UNARY_SQUARE, a->dst, a->inputs[0], count, 0);
        qn_binary_f32(pool, QN_BINARY_MUL, a->dst, a->dst, a->inputs[0], &same);
    } else {
        run_binary_f32(args, pool, step);
    }
}

static bool has_one_exponent(const qn_bind *bind)
{
    return qn_shape_count(&bind->types->inputs[1].shape) == 1 &&
           qn_shape_equal(&bind->types->inputs[0].shape, &bind->types->outputs[0].shape);
}

static bool bind_binary(const qn_bind *bind)
{
    bool floats = is_pair(bind, QN_DTYPE_F32), integers = is_pair(bind, QN_DTYPE_I64);
    binary_args *args = floats || integers ? take_binary(bind) : NULL;
    if (!args || !find_code(binary_codes, bind->types->op->name, &args->op))
        return false;
    if (floats && args->op == QN_BINARY_POW && has_one_exponent(bind))
        return qn_bind_to(bind, run_power, "power");
    if (floats)
        return qn_bind_to(bind, run_binary_f32, "binary");
    return args->op != QN_BINARY_POW && qn_bind_to(bind, run_binary_i64, "binary i64");
}

/* Sum, Mean, Min and Max of any number: one pair after another into the output. */

typedef struct {
    const float *a, *b;
    qn_bcast shape;
} pair_step;

typedef struct {
    qn_binary op;
    float *dst;
    float scale; /* 1 = none */
    int64_t count;
    int steps_count;
    pair_step steps[]; /* follows */
} many_args;

static void run_many(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const many_args *a = args;
    for (int i = 0; i < a->steps_count; i++)
        qn_binary_f32(pool, a->op, a->dst, a->steps[i].a, a->steps[i].b, &a->steps[i].shape);
    if (a->scale < 1)
        qn_affine_f32(pool, a->dst, a->dst, a->count, a->scale, -0.0f);
}

static const op_code many_codes[] = {
    {"Sum", QN_BINARY_ADD},
    {"Mean", QN_BINARY_ADD},
    {"Min", QN_BINARY_MIN},
    {"Max", QN_BINARY_MAX},
    {NULL, 0},
};

/* The output's memory may be one input's, but not several': later pairs would read what earlier ones
 * wrote. */
static bool overwrites_one(const qn_bind *bind)
{
    int count = 0;
    for (int i = 0; i < bind->types->inputs_count; i++)
        count += bind->inputs[i].data == bind->outputs[0].data;
    return count <= 1 || !bind->outputs[0].data;
}

/* Input k of the order in which they are taken: the one whose memory is the output's comes first, since
 * the first pair overwrites it. */
static int taken_at(const qn_bind *bind, int k)
{
    int own = 0;
    for (int i = 0; i < bind->types->inputs_count; i++)
        if (bind->inputs[i].data == bind->outputs[0].data)
            own = i;
    return k == 0 ? own : k <= own ? k - 1 : k;
}

static bool bind_many(const qn_bind *bind)
{
    const qn_op_types *types = bind->types;
    const qn_shape *out = &types->outputs[0].shape;
    int inputs = types->inputs_count, code;
    if (inputs < 2 || !overwrites_one(bind) || !qn_bind_all_f32(bind) ||
        !find_code(many_codes, types->op->name, &code))
        return false;
    many_args *args =
        qn_bind_args(bind, sizeof *args + (size_t)(inputs - 1) * sizeof args->steps[0]);
    if (!args)
        return false;
    args->op = (qn_binary)code;
    args->dst = bind->outputs[0].data;
    args->count = qn_bind_count(&bind->outputs[0]);
    args->scale = strcmp(types->op->name, "Mean") == 0 ? 1.0f / (float)inputs : 1;
    args->steps_count = inputs - 1;
    for (int k = 1; k < inputs; k++) {
        pair_step *pair = &args->steps[k - 1];
        int first = taken_at(bind, 0), second = taken_at(bind, k);
        const qn_shape *left = k == 1 ? &types->inputs[first].shape : out;
        const qn_shape *right = &types->inputs[second].shape;
        const int64_t *dims[] = {left->dims, right->dims};
        pair->a = k == 1 ? bind->inputs[first].data : args->dst;
        pair->b = bind->inputs[second].data;
        pair->shape =
            qn_bcast_make(out->dims, out->rank, dims, (int[]){left->rank, right->rank}, 2);
    }
    return qn_bind_to(bind, run_many, "many");
}

static const op_code compare_codes[] = {
    {"Equal", QN_COMPARE_EQ},       {"Less", QN_COMPARE_LT},           {"Greater", QN_COMPARE_GT},
    {"LessOrEqual", QN_COMPARE_LE}, {"GreaterOrEqual", QN_COMPARE_GE}, {NULL, 0},
};

static bool bind_compare(const qn_bind *bind)
{
    bool floats = is_pair(bind, QN_DTYPE_F32), integers = is_pair(bind, QN_DTYPE_I64);
    binary_args *args = floats || integers ? take_binary(bind) : NULL;
    if (!args || !find_code(compare_codes, bind->types->op->name, &args->op))
        return false;
    if (floats)
        return qn_bind_to(bind, run_compare_f32, "compare");
    return qn_bind_to(bind, run_compare_i64, "compare i64");
}

static const op_code logic_codes[] = {
    {"And", QN_LOGIC_AND}, {"Or", QN_LOGIC_OR}, {"Xor", QN_LOGIC_XOR}, {NULL, 0}};

static void run_logic(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const binary_args *a = args;
    qn_logic_u8(pool, (qn_logic)a->op, a->dst, a->inputs[0], a->inputs[1], &a->shape);
}

static bool bind_logic(const qn_bind *bind)
{
    binary_args *args = take_binary(bind);
    return args && find_code(logic_codes, bind->types->op->name, &args->op) &&
           qn_bind_to(bind, run_logic, "logic");
}

static void run_not(const void *args, qn_pool *pool, uint32_t step)
{
    (void)step;
    const binary_args *a = args;
    qn_not_u8(pool, a->dst, a->inputs[0], qn_bcast_count(&a->shape));
}

static bool bind_not(const qn_bind *bind)
{
    return take_binary(bind) && qn_bind_to(bind, run_not, "not");
}

static bool bind_where(const qn_bind *bind)
{
    return bind->types->outputs[0].dtype == QN_DTYPE_F32 && take_binary(bind) &&
           qn_bind_to(bind, run_where, "where");
}

static bool bind_min_max(const qn_bind *bind)
{
    return bind->types->inputs_count == 2 ? bind_binary(bind) : bind_many(bind);
}

const qn_binding qn_bindings_elementwise[] = {
    {.op = "Neg", .bind = bind_unary},
    {.op = "Abs", .bind = bind_unary},
    {.op = "Exp", .bind = bind_unary},
    {.op = "Log", .bind = bind_unary},
    {.op = "Sqrt", .bind = bind_unary},
    {.op = "Reciprocal", .bind = bind_unary},
    {.op = "Square", .bind = bind_unary},
    {.op = "Sign", .bind = bind_unary},
    {.op = "Floor", .bind = bind_unary},
    {.op = "Ceil", .bind = bind_unary},
    {.op = "Round", .bind = bind_unary},
    {.op = "Sin", .bind = bind_unary},
    {.op = "Cos", .bind = bind_unary},
    {.op = "Elu", .bind = bind_unary},
    {.op = "Swish", .bind = bind_unary},
    {.op = "HardSwish", .bind = bind_unary},
    {.op = "Softsign", .bind = bind_unary},
    {.op = "Mish", .bind = bind_unary},
    {.op = "ThresholdedRelu", .bind = bind_unary},
    {.op = "HardSigmoid", .bind = bind_hard_sigmoid},
    {.op = "Selu", .bind = bind_selu},
    {.op = "Celu", .bind = bind_celu},
    {.op = "Softplus", .bind = bind_unary},
    {.op = "Not", .bind = bind_not},
    {.op = "Erf", .bind = bind_unary},
    {.op = "Relu", .bind = bind_unary},
    {.op = "LeakyRelu", .bind = bind_unary},
    {.op = "Sigmoid", .bind = bind_unary},
    {.op = "Tanh", .bind = bind_unary},
    {.op = "Gelu", .bind = bind_unary},
    {.op = "Silu", .bind = bind_unary},
    {.op = "ReluGrad", .bind = bind_unary},
    {.op = "LeakyReluGrad", .bind = bind_unary},
    {.op = "SigmoidGrad", .bind = bind_unary},
    {.op = "TanhGrad", .bind = bind_unary},
    {.op = "GeluGrad", .bind = bind_unary},
    {.op = "SiluGrad", .bind = bind_unary},
    {.op = "Clip", .bind = bind_clip},
    {.op = "ClipGrad", .bind = bind_clip},
    {.op = "Add", .bind = bind_binary},
    {.op = "Sub", .bind = bind_binary},
    {.op = "Mul", .bind = bind_binary},
    {.op = "Div", .bind = bind_binary},
    {.op = "Min", .bind = bind_min_max},
    {.op = "Max", .bind = bind_min_max},
    {.op = "Sum", .bind = bind_many},
    {.op = "Mean", .bind = bind_many},
    {.op = "Pow", .bind = bind_binary},
    {.op = "PRelu", .bind = bind_binary},
    {.op = "Equal", .bind = bind_compare},
    {.op = "Less", .bind = bind_compare},
    {.op = "Greater", .bind = bind_compare},
    {.op = "LessOrEqual", .bind = bind_compare},
    {.op = "GreaterOrEqual", .bind = bind_compare},
    {.op = "And", .bind = bind_logic},
    {.op = "Or", .bind = bind_logic},
    {.op = "Xor", .bind = bind_logic},
    {.op = "Where", .bind = bind_where},
    {0},
};
