/* Typed loops of conv_pool.c. `z` holds the sizes of the convolution; the pooled image is half of its output. */

/* relu(conv(x, weight) + bias) at a place and channel. */
static double FN(rectified)(const qn_op_run *run, const conv_pool_sizes *z, const qn_op_place *at,
                            int64_t out)
{
    const T *x = run->inputs[0].data, *weight = run->inputs[1].data;
    const T *bias = qn_op_has(run->types, 2) ? run->inputs[2].data : NULL;
    int64_t cin = z->cin / z->groups, first = out / (z->cout / z->groups) * cin;
    double sum = bias ? (double)bias[out] : 0;
    for (int64_t place = 0; place < qn_op_window_places(&z->window); place++) {
        int64_t pixel = qn_op_window_pixel(&z->window, at, place);
        for (int64_t c = 0; pixel >= 0 && c < cin; c++)
            sum += (double)x[pixel * z->cin + first + c] *
                   (double)weight[(place * cin + c) * z->cout + out];
    }
    return (double)(T)(sum <= 0 ? 0 : sum); /* NaN stays, here and in the largest */
}

static void FN(conv_pool)(const qn_op_run *run, const conv_pool_sizes *z)
{
    T *y = run->outputs[0].data;
    uint8_t *choice = run->outputs[1].data;
    int64_t count = qn_shape_count(&run->outputs[0].shape);
    for (int64_t i = 0; i < count; i++) {
        double best = -1;
        for (int k = 0; k < 4; k++) {
            qn_op_place at = unpooled_place(z, i, k);
            double value = FN(rectified)(run, z, &at, i % z->cout);
            if (isnan(best) || value <= best)
                continue;
            best = value;
            choice[i] = (uint8_t)k;
        }
        y[i] = (T)best;
    }
}

/* Each pooled element gives dy to the one place it was taken from, where that was above 0. */
static void FN(conv_pool_grad)(const qn_op_run *run, const conv_pool_sizes *z)
{
    const T *dy = run->inputs[0].data, *y = run->inputs[1].data;
    const uint8_t *choice = run->inputs[2].data;
    const T *x = run->inputs[3].data, *weight = run->inputs[4].data;
    T *dx = run->outputs[0].data, *dweight = run->outputs[1].data, *dbias = run->outputs[2].data;
    int64_t cin = z->cin / z->groups, count = qn_shape_count(&run->inputs[0].shape);
    for (int k = 0; k < 3; k++)
        memset(run->outputs[k].data, 0, qn_tensor_bytes(&run->outputs[k]));
    for (int64_t i = 0; i < count; i++) {
        if (!(y[i] > 0) || choice[i] > 3) /* choices may come from outside */
            continue;
        qn_op_place at = unpooled_place(z, i, choice[i]);
        int64_t out = i % z->cout, first = out / (z->cout / z->groups) * cin;
        dbias[out] += dy[i];
        for (int64_t place = 0; place < qn_op_window_places(&z->window); place++) {
            int64_t pixel = qn_op_window_pixel(&z->window, &at, place);
            for (int64_t c = 0; pixel >= 0 && c < cin; c++) {
                int64_t w = (place * cin + c) * z->cout + out, p = pixel * z->cin + first + c;
                dweight[w] += dy[i] * x[p];
                dx[p] += dy[i] * weight[w];
            }
        }
    }
}
