/* Typed loops of attention.c: one query of one head at a time; sums of `dim` values in chunks of CHUNK. */

/* Score of query i and key j of head h; -inf where hidden. *ret_turn: tanh of the cap, or 0. */
static double FN(score)(const attention_walk *w, const T *q, const T *k, const T *bias, int64_t b,
                        int64_t h, int64_t i, int64_t j, double *ret_turn)
{
    *ret_turn = 0;
    if (!is_seen(w, b, h, i, j))
        return -HUGE_VAL;
    const T *from = q + q_place(w, b, i, h), *to = k + k_place(w, b, j, h);
    double sum = 0;
    for (int64_t d = 0; d < w->dim; d++)
        sum += (double)from[d] * (double)to[d];
    sum *= w->scale;
    if (w->softcap > 0) {
        *ret_turn = tanh(sum / w->softcap);
        sum = w->softcap * *ret_turn;
    }
    if (w->alibi)
        sum -= qn_op_alibi_slope(h, w->heads) * fabs((double)distance(w, b, i, j));
    return bias ? sum + (double)bias[mask_place(w, b, h, i, j)] : sum;
}

static void FN(attend)(const qn_op_run *run, const attention_walk *w, int64_t b, int64_t h,
                       int64_t i)
{
    const T *q = run->inputs[0].data, *k = run->inputs[1].data, *v = run->inputs[2].data;
    const T *bias = w->allowed ? NULL : w->mask;
    T *y = (T *)run->outputs[0].data + y_place(w, b, i, h), *lse = run->outputs[1].data;
    double top = -HUGE_VAL, sum = 0, turn;
    for (int64_t j = 0; j < w->keys; j++) {
        double score = FN(score)(w, q, k, bias, b, h, i, j, &turn);
        top = isnan(score) || score > top ? score : top; /* nothing is above a NaN */
    }
    bool empty = isinf(top) && top < 0;
    for (int64_t j = 0; j < w->keys && !empty; j++)
        sum += exp(FN(score)(w, q, k, bias, b, h, i, j, &turn) - top);
    for (int64_t from = 0; from < w->value_dim; from += CHUNK) {
        double acc[CHUNK] = {0};
        int64_t count = w->value_dim - from < CHUNK ? w->value_dim - from : CHUNK;
        for (int64_t j = 0; j < w->keys && !empty; j++) {
            double p = exp(FN(score)(w, q, k, bias, b, h, i, j, &turn) - top) / sum;
            for (int64_t d = 0; d < count && p != 0; d++) /* what is hidden may be anything */
                acc[d] += p * (double)v[v_place(w, b, j, h) + from + d];
        }
        for (int64_t d = 0; d < count; d++)
            y[from + d] = (T)acc[d];
    }
    lse[(b * w->heads + h) * w->queries + i] = (T)(empty ? -HUGE_VAL : top + log(sum));
}

static void FN(attention)(const qn_op_run *run, const attention_walk *w)
{
    for (int64_t at = 0; at < w->batch * w->heads * w->queries; at++)
        FN(attend)(run, w, at / w->queries / w->heads, at / w->queries % w->heads, at % w->queries);
}

/* p and ds of one pair. */
static void FN(pair)(const qn_op_run *run, const attention_walk *w, int64_t b, int64_t h, int64_t i,
                     int64_t j, double *ret_p, double *ret_ds)
{
    const T *dy = (const T *)run->inputs[0].data + y_place(w, b, i, h);
    const T *y = (const T *)run->inputs[4].data + y_place(w, b, i, h);
    const T *v = (const T *)run->inputs[3].data + v_place(w, b, j, h), *lse = run->inputs[5].data;
    double turn, slope = 0, log_sum = (double)lse[(b * w->heads + h) * w->queries + i];
    double s = FN(score)(w, run->inputs[1].data, run->inputs[2].data, w->allowed ? NULL : w->mask,
                         b, h, i, j, &turn);
    *ret_p = isinf(log_sum) ? 0 : exp(s - log_sum);
    for (int64_t d = 0; d < w->value_dim; d++)
        slope += (double)dy[d] * ((double)v[d] - (double)y[d]);
    *ret_ds = *ret_p == 0 ? 0 : *ret_p * slope * w->scale * (1 - turn * turn);
}

static void FN(grad_query)(const qn_op_run *run, const attention_walk *w, int64_t b, int64_t h,
                           int64_t i)
{
    const T *k = run->inputs[2].data;
    T *dq = (T *)run->outputs[0].data + q_place(w, b, i, h);
    for (int64_t from = 0; from < w->dim; from += CHUNK) {
        double acc[CHUNK] = {0}, p, ds;
        int64_t count = w->dim - from < CHUNK ? w->dim - from : CHUNK;
        for (int64_t j = 0; j < w->keys; j++) {
            FN(pair)(run, w, b, h, i, j, &p, &ds);
            for (int64_t d = 0; d < count && p != 0; d++)
                acc[d] += ds * (double)k[k_place(w, b, j, h) + from + d];
        }
        for (int64_t d = 0; d < count; d++)
            dq[from + d] = (T)acc[d];
    }
}

/* dk (values false) or dv of one key: sums over the queries and the heads that share it. */
static void FN(grad_key)(const qn_op_run *run, const attention_walk *w, int64_t b, int64_t kv,
                         int64_t j, bool values)
{
    const T *src = run->inputs[values ? 0 : 1].data;
    int64_t size = values ? w->value_dim : w->dim, group = w->heads / w->kv_heads;
    T *dst = run->outputs[values ? 2 : 1].data;
    dst += values ? v_place(w, b, j, kv * group) : k_place(w, b, j, kv * group);
    for (int64_t from = 0; from < size; from += CHUNK) {
        double acc[CHUNK] = {0}, p, ds;
        int64_t count = size - from < CHUNK ? size - from : CHUNK;
        for (int64_t at = 0; at < group * w->queries; at++) {
            int64_t h = kv * group + at / w->queries, i = at % w->queries;
            FN(pair)(run, w, b, h, i, j, &p, &ds);
            int64_t row = values ? y_place(w, b, i, h) : q_place(w, b, i, h);
            for (int64_t d = 0; d < count && p != 0; d++)
                acc[d] += (values ? p : ds) * (double)src[row + from + d];
        }
        for (int64_t d = 0; d < count; d++)
            dst[from + d] = (T)acc[d];
    }
}

static void FN(attention_grad)(const qn_op_run *run, const attention_walk *w)
{
    for (int64_t at = 0; at < w->batch * w->heads * w->queries; at++)
        FN(grad_query)
    (run, w, at / w->queries / w->heads, at / w->queries % w->heads, at % w->queries);
    for (int64_t at = 0; at < w->batch * w->kv_heads * w->keys; at++)
        for (int values = 0; values < 2; values++)
            FN(grad_key)
    (run, w, at / w->keys / w->kv_heads, at / w->keys % w->kv_heads, at % w->keys, values);
}
