/* Typed loops of resize.c. */
static void FN(resize)(const qn_op_run *run, const qn_resize *r)
{
    const T *x = run->inputs[0].data;
    T *y = run->outputs[0].data;
    int64_t count = qn_shape_count(&run->outputs[0].shape);
    for (int64_t i = 0; i < count; i++) {
        tap_walk walk = walk_of(r, i);
        double sum = 0;
        do {
            int64_t flat;
            double weight = walk_weight(r, &walk, &flat);
            if (weight != 0) /* what has no part in a number is not read: it may be NaN */
                sum += weight * (double)x[flat];
        } while (walk_next(r, &walk));
        y[i] = (T)(walk.outside ? r->extrapolation : sum);
    }
}

static void FN(resize_grad)(const qn_op_run *run, const qn_resize *r)
{
    const T *dy = run->inputs[0].data;
    T *dx = run->outputs[0].data;
    int64_t count = qn_shape_count(&run->inputs[0].shape);
    memset(dx, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < count; i++) {
        tap_walk walk = walk_of(r, i);
        do {
            int64_t flat;
            double weight = walk_weight(r, &walk, &flat);
            if (!walk.outside && weight != 0)
                dx[flat] += (T)(weight * (double)dy[i]);
        } while (walk_next(r, &walk));
    }
}
