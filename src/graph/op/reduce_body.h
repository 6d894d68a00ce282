/* Typed loops of reduce.c: every output walks its own reduced elements. */
static double FN(reduce_one)(reduce_kind kind, const T *src, const reduce_walk *walk)
{
    double sum = 0, high = -HUGE_VAL, low = HUGE_VAL;
    bool nan = false;
    for (int64_t r = 0; r < walk->count; r++) {
        double x = (double)src[qn_op_offset(&walk->reduced, walk->strides, r)];
        sum += x;
        nan = nan || isnan(x);
        high = x > high ? x : high;
        low = x < low ? x : low;
    }
    if (kind == REDUCE_SUM || kind == REDUCE_MEAN || nan)
        return kind == REDUCE_MEAN ? sum / (double)walk->count : sum;
    if (kind != REDUCE_LOG_SUM_EXP)
        return kind == REDUCE_MAX ? high : low;
    if (isinf(high))
        return high;
    sum = 0;
    for (int64_t r = 0; r < walk->count; r++)
        sum += exp((double)src[qn_op_offset(&walk->reduced, walk->strides, r)] - high);
    return high + log(sum);
}

static void FN(reduce)(const qn_op_run *run, reduce_kind kind, const reduce_walk *walk)
{
    const T *src = run->inputs[0].data;
    T *dst = run->outputs[0].data;
    int64_t count = qn_shape_count(&walk->kept);
    for (int64_t i = 0; i < count; i++)
        dst[i] =
            (T)FN(reduce_one)(kind, src + qn_op_offset(&walk->kept, walk->kept_strides, i), walk);
}

static void FN(spread)(const qn_op_run *run, const qn_shape *kept, double scale)
{
    const T *dy = run->inputs[0].data;
    const qn_shape *shape = &run->outputs[0].shape;
    T *dx = run->outputs[0].data;
    int64_t strides[QN_RANK_MAX], count = qn_shape_count(shape);
    qn_op_strides(kept, shape, strides);
    for (int64_t i = 0; i < count; i++)
        dx[i] = (T)(scale * (double)dy[qn_op_offset(shape, strides, i)]);
}

static void FN(argmax)(const qn_op_run *run, const reduce_walk *walk)
{
    const T *src = run->inputs[0].data;
    int64_t *dst = run->outputs[0].data, count = qn_shape_count(&walk->kept);
    for (int64_t i = 0; i < count; i++) {
        const T *at = src + qn_op_offset(&walk->kept, walk->kept_strides, i);
        int64_t best = 0;
        for (int64_t r = 1; r < walk->count; r++) {
            T x = at[qn_op_offset(&walk->reduced, walk->strides, r)];
            T top = at[qn_op_offset(&walk->reduced, walk->strides, best)];
            if (!isnan(top) && (x > top || isnan(x)))
                best = r;
        }
        dst[i] = best;
    }
}
