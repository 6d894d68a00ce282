/* Typed loops of position.c. */
static void FN(rotary)(const qn_op_run *run, const rotary_walk *w)
{
    const T *x = run->inputs[0].data;
    T *y = run->outputs[0].data;
    for (int64_t at = 0; at < w->batch * w->steps * w->heads; at++, x += w->dim, y += w->dim) {
        int64_t row = at / w->heads, step = row % w->steps;
        step += w->starts ? w->starts[row / w->steps] : 0;
        for (int64_t i = 2 * w->half; i < w->dim; i++)
            y[i] = x[i];
        for (int64_t i = 0; i < w->half; i++) {
            int64_t first = w->interleaved ? 2 * i : i,
                    second = first + (w->interleaved ? 1 : w->half);
            double turn = w->sign * qn_op_angle(step, i, w->half, w->base);
            double a = (double)x[first], b = (double)x[second];
            y[first] = (T)(a * cos(turn) - b * sin(turn));
            y[second] = (T)(b * cos(turn) + a * sin(turn));
        }
    }
}

static void FN(sinusoid)(const qn_op_run *run, double base, const int64_t *starts)
{
    T *dst = run->outputs[0].data;
    const qn_shape *shape = &run->outputs[0].shape;
    int64_t steps = shape->dims[shape->rank - 2], dim = shape->dims[shape->rank - 1];
    for (int64_t i = 0; i < qn_shape_count(shape); i++) {
        int64_t step = i / dim % steps + (starts ? starts[i / dim / steps] : 0);
        double turn = qn_op_angle(step, i % dim / 2, (dim + 1) / 2, base);
        dst[i] = (T)(i % dim % 2 ? cos(turn) : sin(turn));
    }
}
