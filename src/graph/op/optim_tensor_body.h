/* Typed loops of optim_tensor.c. */
static double FN(input_scalar)(const qn_op_run *run, int input)
{
    return qn_op_has(run->types, input) ? (double)*(const T *)run->inputs[input].data : 1;
}

static void FN(lamb)(const qn_op_run *run, const tensor_options *o)
{
    const T *weight = run->inputs[0].data, *grad = run->inputs[3].data;
    const T *first = run->inputs[1].data, *second = run->inputs[2].data;
    T *out = run->outputs[0].data, *first_out = run->outputs[1].data;
    T *second_out = run->outputs[2].data;
    double lr = FN(input_scalar)(run, 4), scale = FN(input_scalar)(run, 6);
    double step = (double)((const int64_t *)run->inputs[5].data)[0], norm = 0, length = 0;
    double unbias1 = 1 - pow(o->beta1, step), unbias2 = 1 - pow(o->beta2, step);
    for (int pass = 0; pass < 2; pass++)
        for (int64_t i = 0; i < o->count; i++) {
            double w = (double)weight[i], g = scale * (double)grad[i];
            double m = o->beta1 * (double)first[i] + (1 - o->beta1) * g;
            double v = o->beta2 * (double)second[i] + (1 - o->beta2) * g * g;
            double r = m / unbias1 / (sqrt(v / unbias2) + o->epsilon) + o->decay * w;
            if (pass == 0) {
                norm += w * w;
                length += r * r;
                continue;
            }
            double trust = norm > 0 && length > 0 ? sqrt(norm / length) : 1;
            out[i] = (T)(w - lr * trust * r);
            first_out[i] = (T)m;
            second_out[i] = (T)v;
        }
}

/* Moves `kept` by `share` towards the mean of squares of `count` gradients that lie `stride` apart. */
static void FN(mean_square)(T *kept, const T *old, const T *grad, int64_t count, int64_t stride,
                            double share, double scale)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++) {
        double g = scale * (double)grad[i * stride];
        sum += g * g;
    }
    double mean = count ? sum / (double)count : 0;
    *kept = (T)((double)*old + share * (mean - (double)*old));
}

/* w from the estimate v of every g^2. `estimate` gives element i of v. */
static void FN(factor_apply)(const qn_op_run *run, const tensor_options *o, const T *grad,
                             int lr_at,
                             double (*estimate)(const qn_op_run *, const tensor_options *, int64_t))
{
    const T *weight = run->inputs[0].data;
    T *out = run->outputs[0].data;
    double lr = FN(input_scalar)(run, lr_at), scale = FN(input_scalar)(run, lr_at + 2);
    double step = (double)((const int64_t *)run->inputs[lr_at + 1].data)[0];
    double norm = 0, length = 0, count = o->count ? (double)o->count : 1;
    for (int pass = 0; pass < 2; pass++)
        for (int64_t i = 0; i < o->count; i++) {
            double w = (double)weight[i], v = estimate(run, o, i);
            double u = scale * (double)grad[i] / sqrt(fmax(v, o->epsilon1 * o->epsilon1));
            if (pass == 0) {
                norm += w * w;
                length += u * u;
                continue;
            }
            double rate = fmin(lr, 1 / sqrt(step)) * fmax(o->epsilon2, sqrt(norm / count));
            out[i] =
                (T)(w * (1 - lr * o->decay) - rate / fmax(1, sqrt(length / count) / o->clip) * u);
        }
}

static double FN(factored)(const qn_op_run *run, const tensor_options *o, int64_t i)
{
    const T *rows = run->outputs[1].data, *cols = run->outputs[2].data;
    int64_t matrix = i / (o->rows * o->cols), row = i / o->cols;
    double mean = 0;
    for (int64_t r = 0; r < o->rows; r++)
        mean += (double)rows[matrix * o->rows + r] / (double)o->rows;
    return (double)rows[row] * (double)cols[matrix * o->cols + i % o->cols] /
           fmax(mean, o->epsilon1);
}

static void FN(adafactor)(const qn_op_run *run, const tensor_options *o)
{
    const T *rows = run->inputs[1].data, *cols = run->inputs[2].data, *grad = run->inputs[3].data;
    T *rows_out = run->outputs[1].data, *cols_out = run->outputs[2].data;
    double scale = FN(input_scalar)(run, 6);
    double share = pow((double)((const int64_t *)run->inputs[5].data)[0], o->beta2);
    for (int64_t r = 0; r < o->matrices * o->rows; r++)
        FN(mean_square)(&rows_out[r], &rows[r], grad + r * o->cols, o->cols, 1, share, scale);
    for (int64_t c = 0; c < o->matrices * o->cols; c++) {
        const T *from = grad + c / o->cols * o->rows * o->cols + c % o->cols;
        FN(mean_square)(&cols_out[c], &cols[c], from, o->rows, o->cols, share, scale);
    }
    FN(factor_apply)(run, o, grad, 4, FN(factored));
}

static double FN(whole)(const qn_op_run *run, const tensor_options *o, int64_t i)
{
    (void)o;
    return (double)((const T *)run->outputs[1].data)[i];
}

static void FN(adafactor_vector)(const qn_op_run *run, const tensor_options *o)
{
    const T *old = run->inputs[1].data, *grad = run->inputs[2].data;
    T *kept = run->outputs[1].data;
    double scale = FN(input_scalar)(run, 5);
    double share = pow((double)((const int64_t *)run->inputs[4].data)[0], o->beta2);
    for (int64_t i = 0; i < o->count; i++)
        FN(mean_square)(&kept[i], &old[i], &grad[i], 1, 1, share, scale);
    FN(factor_apply)(run, o, grad, 3, FN(whole));
}
