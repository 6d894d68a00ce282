/* Typed loops of pool_global.c, straight from the definition. */
static void FN(whole_max)(const qn_op_run *run, const adaptive_sizes *z)
{
    const T *x = run->inputs[0].data;
    T *y = run->outputs[0].data;
    int32_t *choice = run->outputs[1].data;
    int64_t count = qn_shape_count(&run->outputs[0].shape), image = z->in[0] * z->in[1] * z->in[2];
    for (int64_t i = 0; i < count; i++) {
        int64_t begin[3], end[3], best = -1;
        T top = 0;
        qn_op_place at = qn_op_place_of(z->out, i / z->c);
        bounds_of(z, &at, begin, end);
        for (int64_t k = 0; k < pixels_of(begin, end); k++) {
            int64_t pixel = pixel_of(z, begin, end, k);
            T value = x[(at.n * image + pixel) * z->c + i % z->c];
            if (best < 0 || (!isnan(top) && (value > top || isnan(value)))) {
                best = pixel;
                top = value;
            }
        }
        y[i] = top;
        choice[i] = (int32_t)best;
    }
}

static void FN(whole_max_grad)(const qn_op_run *run, const adaptive_sizes *z)
{
    const T *dy = run->inputs[0].data;
    const int32_t *choice = run->inputs[1].data;
    T *dx = run->outputs[0].data;
    int64_t count = qn_shape_count(&run->inputs[0].shape), image = z->in[0] * z->in[1] * z->in[2];
    memset(dx, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < count; i++) {
        qn_op_place at = qn_op_place_of(z->out, i / z->c);
        if (choice[i] >= 0 && choice[i] < image)
            dx[(at.n * image + choice[i]) * z->c + i % z->c] += dy[i];
    }
}

static void FN(whole_avg)(const qn_op_run *run, const adaptive_sizes *z, bool backward)
{
    const T *src = run->inputs[0].data;
    T *dst = run->outputs[0].data;
    int64_t count = qn_shape_count(backward ? &run->inputs[0].shape : &run->outputs[0].shape),
            image = z->in[0] * z->in[1] * z->in[2];
    if (backward)
        memset(dst, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < count; i++) {
        int64_t begin[3], end[3];
        double sum = 0;
        qn_op_place at = qn_op_place_of(z->out, i / z->c);
        bounds_of(z, &at, begin, end);
        int64_t pixels = pixels_of(begin, end);
        for (int64_t k = 0; k < pixels; k++) {
            int64_t element = (at.n * image + pixel_of(z, begin, end, k)) * z->c + i % z->c;
            if (backward)
                dst[element] += (T)((double)src[i] / (double)pixels);
            else
                sum += (double)src[element];
        }
        if (!backward)
            dst[i] = (T)(sum / (double)pixels);
    }
}

/* y = (sum |x|^p)^(1/p) over all pixels of a channel */
static void FN(whole_lp)(const qn_op_run *run, const adaptive_sizes *z)
{
    const T *x = run->inputs[0].data;
    T *y = run->outputs[0].data;
    double p = (double)qn_op_attr_i(run->types, "p");
    int64_t count = qn_shape_count(&run->outputs[0].shape), image = z->in[0] * z->in[1] * z->in[2];
    for (int64_t i = 0; i < count; i++) {
        double sum = 0;
        for (int64_t k = 0; k < image; k++)
            sum += pow(fabs((double)x[(i / z->c * image + k) * z->c + i % z->c]), p);
        y[i] = (T)pow(sum, 1 / p);
    }
}

/* dx = dy sign(x) (|x| / y)^(p - 1); 0 where y is 0 */
static void FN(whole_lp_grad)(const qn_op_run *run, const adaptive_sizes *z)
{
    const T *dy = run->inputs[0].data, *x = run->inputs[1].data, *y = run->inputs[2].data;
    T *dx = run->outputs[0].data;
    double p = (double)qn_op_attr_i(run->types, "p");
    int64_t count = qn_shape_count(&run->outputs[0].shape), image = z->in[0] * z->in[1] * z->in[2];
    for (int64_t i = 0; i < count; i++) {
        int64_t from = i / z->c / image * z->c + i % z->c;
        double slope = y[from] > 0 ? pow(fabs((double)x[i]) / (double)y[from], p - 1) : 0;
        dx[i] = (T)((double)dy[from] * copysign(slope, (double)x[i]));
    }
}
