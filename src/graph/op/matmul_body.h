/* Typed loops of matmul.c. */
static void FN(matmul)(const qn_op_run *run, const matmul_sizes *z)
{
    const qn_tensor *a = &run->inputs[0], *b = &run->inputs[1];
    const T *as = a->data, *bs = b->data;
    T *dst = run->outputs[0].data;
    int64_t count = qn_shape_count(&z->batch) * z->m * z->n;
    for (int64_t i = 0; i < count; i++) {
        int64_t batch = i / (z->m * z->n), row = i / z->n % z->m, col = i % z->n;
        const T *am = as + qn_op_offset(&z->batch, z->stride_a, batch) * z->m * z->k;
        const T *bm = bs + qn_op_offset(&z->batch, z->stride_b, batch) * z->k * z->n;
        double sum = 0;
        for (int64_t k = 0; k < z->k; k++)
            sum += (double)am[z->trans_a ? k * z->m + row : row * z->k + k] *
                   (double)bm[z->trans_b ? col * z->k + k : k * z->n + col];
        dst[i] = (T)sum;
    }
}

static void FN(gemm)(const qn_op_run *run, const matmul_sizes *z)
{
    const T *a = run->inputs[0].data, *b = run->inputs[1].data;
    const T *c = qn_op_has(run->types, 2) ? run->inputs[2].data : NULL;
    const qn_shape *shape = &run->outputs[0].shape;
    T *dst = run->outputs[0].data;
    const char *activation = qn_op_attr_s(run->types, "activation");
    double alpha = qn_op_attr_f(run->types, "alpha"), beta = qn_op_attr_f(run->types, "beta");
    double slope = qn_op_attr_f(run->types, "slope");
    int64_t strides[QN_RANK_MAX] = {0};
    if (c)
        qn_op_strides(&run->inputs[2].shape, shape, strides);
    for (int64_t i = 0; i < z->m * z->n; i++) {
        int64_t row = i / z->n, col = i % z->n;
        double sum = 0;
        for (int64_t k = 0; k < z->k; k++)
            sum += (double)a[z->trans_a ? k * z->m + row : row * z->k + k] *
                   (double)b[z->trans_b ? col * z->k + k : k * z->n + col];
        sum = alpha * sum + (c ? beta * (double)c[qn_op_offset(shape, strides, i)] : 0);
        dst[i] = (T)qn_op_activate(activation, slope, sum);
    }
}

/* dweight[k, n] = sum over rows of x[row, k] dy[row, n] */
static void FN(weight_grad)(const qn_op_run *run, int64_t rows)
{
    const T *x = run->inputs[0].data, *dy = run->inputs[1].data;
    T *dst = run->outputs[0].data;
    int64_t depth = run->outputs[0].shape.dims[0], cols = run->outputs[0].shape.dims[1];
    for (int64_t i = 0; i < depth * cols; i++) {
        double sum = 0;
        for (int64_t r = 0; r < rows; r++)
            sum += (double)x[r * depth + i / cols] * (double)dy[r * cols + i % cols];
        dst[i] = (T)sum;
    }
}
