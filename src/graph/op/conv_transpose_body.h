/* Typed loops of conv_transpose.c: every input spreads over the outputs it reaches, summed here from the outputs' side. */
static double FN(transposed_sum)(const T *x, const T *weight, const transposed *t,
                                 const qn_op_place *y, int64_t out)
{
    const qn_op_window *w = &t->window;
    int64_t each = t->channels / t->groups, wide = t->outputs / t->groups, g = out / wide;
    double sum = 0;
    for (int64_t place = 0; place < qn_op_window_places(w); place++) {
        qn_op_place tap = qn_op_place_of(w->kernel, place);
        int64_t pixel = y->n;
        for (int i = 0; i < 3 && pixel >= 0; i++) {
            int64_t from = y->at[i] + w->before[i] - tap.at[i] * w->dilation[i];
            bool reached = from >= 0 && from % w->stride[i] == 0 && from / w->stride[i] < w->out[i];
            pixel = reached ? pixel * w->out[i] + from / w->stride[i] : -1;
        }
        for (int64_t c = g * each; pixel >= 0 && c < (g + 1) * each; c++)
            sum += (double)x[pixel * t->channels + c] *
                   (double)weight[(place * wide + out % wide) * t->channels + c];
    }
    return sum;
}

static void FN(transposed)(const qn_op_run *run, const transposed *t)
{
    const T *bias = qn_op_has(run->types, 2) ? run->inputs[2].data : NULL;
    const char *activation = qn_op_attr_s(run->types, "activation");
    double slope = qn_op_attr_f(run->types, "slope");
    T *y = run->outputs[0].data;
    int64_t count = qn_shape_count(&run->outputs[0].shape);
    for (int64_t i = 0; i < count; i++) {
        int64_t out = i % t->outputs;
        qn_op_place at = qn_op_place_of(t->window.in, i / t->outputs);
        double sum = FN(transposed_sum)(run->inputs[0].data, run->inputs[1].data, t, &at, out);
        y[i] = (T)qn_op_activate(activation, slope, sum + (bias ? (double)bias[out] : 0));
    }
}
