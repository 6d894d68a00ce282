/* Typed loops of conv_pool.c. `z` holds the sizes of the convolution; the pooled image is half of oh and ow. */

/* relu(conv(x, weight) + bias) at [n, row, column, channel]. */
static double FN(rectified)(const qn_op_run *run, const conv_pool_sizes *z, const int64_t at[4])
{
    const T *x = run->inputs[0].data, *weight = run->inputs[1].data;
    const T *bias = qn_op_has(run->types, 2) ? run->inputs[2].data : NULL;
    int64_t cin = z->cin / z->groups, first = at[3] / (z->cout / z->groups) * cin;
    double sum = bias ? (double)bias[at[3]] : 0;
    for (int64_t place = 0; place < z->window.kernel[0] * z->window.kernel[1]; place++) {
        int64_t pixel = source_pixel(z, at, place);
        for (int64_t c = 0; pixel >= 0 && c < cin; c++)
            sum += (double)x[pixel * z->cin + first + c] *
                   (double)weight[(place * cin + c) * z->cout + at[3]];
    }
    return (double)(T)(sum > 0 ? sum : 0);
}

static void FN(conv_pool)(const qn_op_run *run, const conv_pool_sizes *z)
{
    T *y = run->outputs[0].data;
    uint8_t *choice = run->outputs[1].data;
    int64_t count = qn_shape_count(&run->outputs[0].shape);
    for (int64_t i = 0; i < count; i++) {
        double best = -1;
        for (int k = 0; k < 4; k++) {
            int64_t at[4];
            unpooled_index(z, i, k, at);
            double value = FN(rectified)(run, z, at);
            if (value <= best)
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
        if (!(y[i] > 0))
            continue;
        int64_t at[4];
        unpooled_index(z, i, choice[i], at);
        int64_t first = at[3] / (z->cout / z->groups) * cin;
        dbias[at[3]] += dy[i];
        for (int64_t place = 0; place < z->window.kernel[0] * z->window.kernel[1]; place++) {
            int64_t pixel = source_pixel(z, at, place);
            for (int64_t c = 0; pixel >= 0 && c < cin; c++) {
                int64_t w = (place * cin + c) * z->cout + at[3], p = pixel * z->cin + first + c;
                dweight[w] += dy[i] * x[p];
                dx[p] += dy[i] * weight[w];
            }
        }
    }
}
