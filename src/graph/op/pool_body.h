/* Typed loops of pool.c, straight from the definition. */
static void FN(max_pool)(const qn_op_run *run, const pool_sizes *z)
{
    const T *x = run->inputs[0].data;
    T *y = run->outputs[0].data;
    int64_t count = z->n * z->oh * z->ow * z->c;
    for (int64_t i = 0; i < count; i++) {
        int64_t best = -1;
        T top = 0;
        for (int64_t place = 0; place < z->window.kernel[0] * z->window.kernel[1]; place++) {
            int64_t at = pool_place(z, i, place);
            if (at < 0)
                continue;
            if (best < 0 || (!isnan(top) && (x[at] > top || isnan(x[at])))) {
                best = place;
                top = x[at];
            }
        }
        y[i] = top;
        set_choice(&run->outputs[1], i, best);
    }
}

static void FN(max_pool_grad)(const qn_op_run *run, const pool_sizes *z)
{
    const T *dy = run->inputs[0].data;
    T *dx = run->outputs[0].data;
    int64_t count = z->n * z->oh * z->ow * z->c;
    memset(dx, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < count; i++) {
        int64_t at = pool_place(z, i, get_choice(&run->inputs[1], i));
        if (at >= 0)
            dx[at] += dy[i];
    }
}

static void FN(avg_pool)(const qn_op_run *run, const pool_sizes *z, bool backward)
{
    const T *src = run->inputs[0].data;
    T *dst = run->outputs[0].data;
    int64_t count = z->n * z->oh * z->ow * z->c;
    if (backward)
        memset(dst, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < count; i++) {
        double sum = 0, divisor = pool_divisor(z, i);
        for (int64_t place = 0; place < z->window.kernel[0] * z->window.kernel[1]; place++) {
            int64_t at = pool_place(z, i, place);
            if (at >= 0 && backward)
                dst[at] += (T)((double)src[i] / divisor);
            else if (at >= 0)
                sum += (double)src[at];
        }
        if (!backward)
            dst[i] = (T)(sum / divisor);
    }
}
