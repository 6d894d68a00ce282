/* Typed loops of conv.c, straight from the definition. */
static double FN(conv_sum)(const T *x, const T *weight, const conv_sizes *z, int64_t y_pixel,
                           int64_t out)
{
    double sum = 0;
    int64_t cin = z->cin / z->groups, first = out / (z->cout / z->groups) * cin;
    qn_op_place at = qn_op_place_of(z->window.out, y_pixel);
    for (int64_t place = 0; place < qn_op_window_places(&z->window); place++) {
        int64_t pixel = qn_op_window_pixel(&z->window, &at, place);
        for (int64_t c = 0; pixel >= 0 && c < cin; c++)
            sum += (double)x[pixel * z->cin + first + c] *
                   (double)weight[(place * cin + c) * z->cout + out];
    }
    return sum;
}

static void FN(conv)(const qn_op_run *run, const conv_sizes *z)
{
    const T *bias = qn_op_has(run->types, 2) ? run->inputs[2].data : NULL;
    const T *added = qn_op_has(run->types, 3) ? run->inputs[3].data : NULL;
    const char *activation = qn_op_attr_s(run->types, "activation");
    double slope = qn_op_attr_f(run->types, "slope");
    T *y = run->outputs[0].data;
    int64_t count = qn_shape_count(&run->outputs[0].shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t out = i % z->cout;
        double sum = FN(conv_sum)(run->inputs[0].data, run->inputs[1].data, z, i / z->cout, out);
        sum += (bias ? (double)bias[out] : 0) + (added ? (double)added[i] : 0);
        y[i] = (T)qn_op_activate(activation, slope, sum);
    }
}

/* Every output spreads dy over the places of x it was made from. */
static void FN(conv_grad_data)(const qn_op_run *run, const conv_sizes *z)
{
    const T *dy = run->inputs[0].data, *weight = run->inputs[1].data;
    T *dx = run->outputs[0].data;
    int64_t cin = z->cin / z->groups, count = qn_shape_count(&run->inputs[0].shape);
    memset(dx, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < count; i++) {
        int64_t out = i % z->cout, first = out / (z->cout / z->groups) * cin;
        qn_op_place at = qn_op_place_of(z->window.out, i / z->cout);
        for (int64_t place = 0; place < qn_op_window_places(&z->window); place++) {
            int64_t pixel = qn_op_window_pixel(&z->window, &at, place);
            for (int64_t c = 0; pixel >= 0 && c < cin; c++)
                dx[pixel * z->cin + first + c] += dy[i] * weight[(place * cin + c) * z->cout + out];
        }
    }
}

static double FN(conv_weight_sum)(const T *x, const T *dy, const conv_sizes *z, int64_t dy_count,
                                  int64_t index)
{
    int64_t cin = z->cin / z->groups, out = index % z->cout, c = index / z->cout % cin;
    int64_t place = index / z->cout / cin, channel = out / (z->cout / z->groups) * cin + c;
    double sum = 0;
    for (int64_t i = out; i < dy_count; i += z->cout) {
        qn_op_place at = qn_op_place_of(z->window.out, i / z->cout);
        int64_t pixel = qn_op_window_pixel(&z->window, &at, place);
        if (pixel >= 0)
            sum += (double)dy[i] * (double)x[pixel * z->cin + channel];
    }
    return sum;
}

static void FN(conv_grad_weight)(const qn_op_run *run, const conv_sizes *z)
{
    const T *x = run->inputs[0].data, *dy = run->inputs[1].data;
    T *dweight = run->outputs[0].data, *dbias = run->outputs[1].data;
    int64_t count = qn_shape_count(&run->outputs[0].shape),
            dy_count = qn_shape_count(&run->inputs[1].shape);
    for (int64_t i = 0; i < count; i++)
        dweight[i] = (T)FN(conv_weight_sum)(x, dy, z, dy_count, i);
    for (int64_t c = 0; dbias && c < z->cout; c++) {
        double sum = 0;
        for (int64_t i = c; i < dy_count; i += z->cout)
            sum += (double)dy[i];
        dbias[c] = (T)sum;
    }
}
