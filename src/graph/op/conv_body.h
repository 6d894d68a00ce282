/* Typed loops of conv.c, straight from the definition. `conv_place` says whether a weight's place lies in x. */
static double FN(conv_sum)(const T *x, const T *weight, const conv_sizes *z, const int64_t at[4])
{
    double sum = 0;
    int64_t cin = z->cin / z->groups, first = at[3] / (z->cout / z->groups) * cin;
    for (int64_t place = 0; place < z->window.kernel[0] * z->window.kernel[1]; place++) {
        int64_t row, col;
        if (!conv_place(z, at, place, &row, &col))
            continue;
        const T *pixel = x + ((at[0] * z->h + row) * z->w + col) * z->cin + first;
        for (int64_t c = 0; c < cin; c++)
            sum += (double)pixel[c] * (double)weight[(place * cin + c) * z->cout + at[3]];
    }
    return sum;
}

static void FN(conv)(const qn_op_run *run, const conv_sizes *z)
{
    const T *bias = qn_op_has(run->types, 2) ? run->inputs[2].data : NULL;
    const char *activation = qn_op_attr_s(run->types, "activation");
    double slope = qn_op_attr_f(run->types, "slope");
    T *y = run->outputs[0].data;
    int64_t count = qn_shape_count(&run->outputs[0].shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t at[4];
        conv_index(z, i, at);
        double sum = FN(conv_sum)(run->inputs[0].data, run->inputs[1].data, z, at);
        y[i] = (T)qn_op_activate(activation, slope, sum + (bias ? (double)bias[at[3]] : 0));
    }
}

/* Every output spreads dy over the places of x it was made from. */
static void FN(conv_grad_data)(const qn_op_run *run, const conv_sizes *z)
{
    const T *dy = run->inputs[0].data, *weight = run->inputs[1].data;
    T *dx = run->outputs[0].data;
    int64_t cin = z->cin / z->groups, count = z->n * z->oh * z->ow * z->cout;
    memset(dx, 0, qn_tensor_bytes(&run->outputs[0]));
    for (int64_t i = 0; i < count; i++) {
        int64_t at[4], row, col;
        conv_index(z, i, at);
        int64_t first = at[3] / (z->cout / z->groups) * cin;
        for (int64_t place = 0; place < z->window.kernel[0] * z->window.kernel[1]; place++) {
            if (!conv_place(z, at, place, &row, &col))
                continue;
            T *pixel = dx + ((at[0] * z->h + row) * z->w + col) * z->cin + first;
            for (int64_t c = 0; c < cin; c++)
                pixel[c] += dy[i] * weight[(place * cin + c) * z->cout + at[3]];
        }
    }
}

static double FN(conv_weight_sum)(const T *x, const T *dy, const conv_sizes *z, int64_t index)
{
    int64_t cin = z->cin / z->groups, out = index % z->cout, c = index / z->cout % cin;
    int64_t place = index / z->cout / cin, channel = out / (z->cout / z->groups) * cin + c;
    double sum = 0;
    for (int64_t i = out; i < z->n * z->oh * z->ow * z->cout; i += z->cout) {
        int64_t at[4], row, col;
        conv_index(z, i, at);
        if (conv_place(z, at, place, &row, &col))
            sum +=
                (double)dy[i] * (double)x[((at[0] * z->h + row) * z->w + col) * z->cin + channel];
    }
    return sum;
}

static void FN(conv_grad_weight)(const qn_op_run *run, const conv_sizes *z)
{
    const T *x = run->inputs[0].data, *dy = run->inputs[1].data;
    T *dweight = run->outputs[0].data, *dbias = run->outputs[1].data;
    int64_t count = qn_shape_count(&run->outputs[0].shape);
    for (int64_t i = 0; i < count; i++)
        dweight[i] = (T)FN(conv_weight_sum)(x, dy, z, i);
    for (int64_t c = 0; dbias && c < z->cout; c++) {
        double sum = 0;
        for (int64_t i = c; i < z->n * z->oh * z->ow * z->cout; i += z->cout)
            sum += (double)dy[i];
        dbias[c] = (T)sum;
    }
}
