/* Typed loops of loss.c. */

/* One row of logits with log-sum-exp `lse`: gives the row's loss, and its gradient times `scale`. */
static double FN(entropy_row)(T *dz, const T *z, const T *weights, int64_t classes, int64_t label,
                              double smoothing, double scale)
{
    double high = -HUGE_VAL, sum = 0, loss = 0, all = 0;
    for (int64_t c = 0; c < classes; c++)
        high = (double)z[c] > high ? (double)z[c] : high;
    for (int64_t c = 0; c < classes; c++)
        sum += exp((double)z[c] - high);
    double lse = high + log(sum), own = weights ? (double)weights[label] : 1;
    for (int64_t c = 0; c < classes; c++) {
        double weight = weights ? (double)weights[c] : 1;
        double share = smoothing / (double)classes * weight;
        share += c == label ? (1 - smoothing) * own : 0;
        if (share != 0) /* a class that cannot be may have a logit of -inf */
            loss -= share * ((double)z[c] - lse);
        all += share;
        dz[c] = (T)(-scale * share);
    }
    for (int64_t c = 0; c < classes; c++)
        dz[c] = (T)((double)dz[c] + scale * all * exp((double)z[c] - lse));
    return loss;
}

static void FN(entropy)(const qn_op_run *run, const entropy_options *o)
{
    const T *z = run->inputs[0].data;
    const int64_t *labels = run->inputs[1].data;
    const T *weights = qn_op_has(run->types, 2) ? run->inputs[2].data : NULL;
    T *loss = run->outputs[0].data, *dz = run->outputs[1].data;
    double total = 0, divisor = 0;
    for (int64_t r = 0; r < o->rows; r++)
        if (counts(o, labels[r]))
            divisor += weights ? (double)weights[labels[r]] : 1;
    if (o->sum || divisor <= 0)
        divisor = 1;
    memset(dz, 0, qn_tensor_bytes(&run->outputs[1]));
    for (int64_t r = 0; r < o->rows; r++) {
        if (counts(o, labels[r]))
            total += FN(entropy_row)(dz + r * o->classes, z + r * o->classes, weights, o->classes,
                                     labels[r], o->smoothing, 1 / divisor);
        else if (labels[r] != o->ignore)
            total = (double)NAN;
    }
    loss[0] = (T)(total / divisor);
}

static void FN(pointwise)(const qn_op_run *run, pointwise_fn fn, double option)
{
    const T *p = run->inputs[0].data, *t = run->inputs[1].data;
    const T *weights = qn_op_has(run->types, 2) ? run->inputs[2].data : NULL;
    T *loss = run->outputs[0].data, *dp = run->outputs[1].data;
    int64_t count = qn_shape_count(&run->inputs[0].shape);
    const char *reduction = qn_op_attr_s(run->types, "reduction");
    int64_t shares = strcmp(reduction, "sum") == 0         ? 1
                     : strcmp(reduction, "batchmean") == 0 ? run->inputs[0].shape.dims[0]
                                                           : count;
    double total = 0, divisor = shares > 0 ? (double)shares : 1;
    for (int64_t i = 0; i < count; i++) {
        double slope = 0, weight = weights ? (double)weights[i] : 1;
        total += weight * fn((double)p[i], (double)t[i], option, &slope);
        dp[i] = (T)(weight * slope / divisor);
    }
    loss[0] = (T)(total / divisor);
}
