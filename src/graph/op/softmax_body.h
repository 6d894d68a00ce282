/* Typed loops of softmax.c: one line of `count` elements, `step` apart. */
static void FN(softmax_line)(T *y, const T *x, int64_t count, int64_t step, bool logs)
{
    double high = -HUGE_VAL, sum = 0;
    for (int64_t i = 0; i < count; i++)
        high = (double)x[i * step] > high ? (double)x[i * step] : high;
    for (int64_t i = 0; i < count; i++)
        sum += exp((double)x[i * step] - high);
    for (int64_t i = 0; i < count; i++) {
        double below = (double)x[i * step] - high;
        y[i * step] = (T)(logs ? below - log(sum) : exp(below) / sum);
    }
}

static void FN(softmax_grad_line)(T *dx, const T *dy, const T *y, int64_t count, int64_t step,
                                  bool logs)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += (double)dy[i * step] * (logs ? 1 : (double)y[i * step]);
    for (int64_t i = 0; i < count; i++) {
        double slope = (double)y[i * step], up = (double)dy[i * step];
        dx[i * step] = (T)(logs ? up - exp(slope) * sum : (up - sum) * slope);
    }
}

static void FN(softmax)(const qn_op_run *run, const qn_op_lines *w, bool logs)
{
    const T *x = run->inputs[0].data;
    T *y = run->outputs[0].data;
    for (int64_t i = 0; i < w->outer * w->inner; i++) {
        int64_t at = qn_op_line_at(w, i);
        FN(softmax_line)(y + at, x + at, w->count, w->inner, logs);
    }
}

static void FN(softmax_grad)(const qn_op_run *run, const qn_op_lines *w, bool logs)
{
    const T *dy = run->inputs[0].data, *y = run->inputs[1].data;
    T *dx = run->outputs[0].data;
    for (int64_t i = 0; i < w->outer * w->inner; i++) {
        int64_t at = qn_op_line_at(w, i);
        FN(softmax_grad_line)(dx + at, dy + at, y + at, w->count, w->inner, logs);
    }
}
