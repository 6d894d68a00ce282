/* Typed loops of unpool.c. Elements that go to one place are added. */
static void FN(unpool)(const qn_op_run *run)
{
    const T *x = run->inputs[0].data;
    const int64_t *index = run->inputs[1].data;
    T *y = run->outputs[0].data;
    int64_t count = qn_shape_count(&run->inputs[0].shape);
    memset(y, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < count; i++) {
        int64_t at = place_of(&run->outputs[0].shape, index[i]);
        if (at >= 0)
            y[at] += x[i];
    }
}

static void FN(unpool_grad)(const qn_op_run *run)
{
    const T *dy = run->inputs[0].data;
    const int64_t *index = run->inputs[1].data;
    T *dx = run->outputs[0].data;
    int64_t count = qn_shape_count(&run->outputs[0].shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = place_of(&run->inputs[0].shape, index[i]);
        dx[i] = at >= 0 ? dy[at] : 0;
    }
}
