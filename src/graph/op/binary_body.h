/* Typed loops of binary.c; here also for int64_t. */
static void FN(zip)(const qn_op_run *run, T (*fn)(T, T))
{
    const qn_tensor *a = &run->inputs[0], *b = &run->inputs[1];
    const qn_shape *shape = &run->outputs[0].shape;
    const T *as = a->data, *bs = b->data;
    T *dst = run->outputs[0].data;
    int64_t sa[QN_RANK_MAX], sb[QN_RANK_MAX], count = qn_shape_count(shape);
    qn_op_strides(&a->shape, shape, sa);
    qn_op_strides(&b->shape, shape, sb);
    for (int64_t i = 0; i < count; i++)
        dst[i] = fn(as[qn_op_offset(shape, sa, i)], bs[qn_op_offset(shape, sb, i)]);
}

static void FN(compare)(const qn_op_run *run, int sign)
{
    const qn_tensor *a = &run->inputs[0], *b = &run->inputs[1];
    const qn_shape *shape = &run->outputs[0].shape;
    const T *as = a->data, *bs = b->data;
    uint8_t *dst = run->outputs[0].data;
    int64_t sa[QN_RANK_MAX], sb[QN_RANK_MAX], count = qn_shape_count(shape);
    qn_op_strides(&a->shape, shape, sa);
    qn_op_strides(&b->shape, shape, sb);
    for (int64_t i = 0; i < count; i++) {
        T x = as[qn_op_offset(shape, sa, i)], y = bs[qn_op_offset(shape, sb, i)];
        dst[i] = sign == 0 ? x == y : sign < 0 ? x < y : x > y;
    }
}

static T FN(add)(T a, T b)
{
    return (T)(a + b);
}
static T FN(sub)(T a, T b)
{
    return (T)(a - b);
}
static T FN(mul)(T a, T b)
{
    return (T)(a * b);
}
