/* Typed loops of optim.c. */
static void FN(sgd)(const qn_op_run *run, const update_options *o)
{
    const T *weight = run->inputs[0].data, *grad = run->inputs[1].data;
    T *out = run->outputs[0].data;
    double lr = FN(scalar)(run, 2), scale = FN(scalar)(run, 3);
    for (int64_t i = 0; i < o->count; i++) {
        double w = (double)weight[i];
        out[i] = (T)(w - lr * (scale * (double)grad[i] + o->decay * w));
    }
}

static void FN(momentum)(const qn_op_run *run, const update_options *o)
{
    const T *weight = run->inputs[0].data, *velocity = run->inputs[1].data;
    const T *grad = run->inputs[2].data;
    T *out = run->outputs[0].data, *velocity_out = run->outputs[1].data;
    double lr = FN(scalar)(run, 3), scale = FN(scalar)(run, 4);
    for (int64_t i = 0; i < o->count; i++) {
        double w = (double)weight[i], g = scale * (double)grad[i] + o->decay * w;
        double v = o->momentum * (double)velocity[i] + g;
        out[i] = (T)(w - lr * (o->nesterov ? g + o->momentum * v : v));
        velocity_out[i] = (T)v;
    }
}

static void FN(adam)(const qn_op_run *run, const update_options *o)
{
    const T *weight = run->inputs[0].data, *first = run->inputs[1].data;
    const T *second = run->inputs[2].data, *grad = run->inputs[3].data;
    T *out = run->outputs[0].data, *first_out = run->outputs[1].data;
    T *second_out = run->outputs[2].data;
    double lr = FN(scalar)(run, 4), scale = FN(scalar)(run, 6);
    double step = (double)((const int64_t *)run->inputs[5].data)[0];
    double unbias1 = 1 - pow(o->beta1, step), unbias2 = 1 - pow(o->beta2, step);
    for (int64_t i = 0; i < o->count; i++) {
        double w = (double)weight[i], g = scale * (double)grad[i];
        if (!o->decoupled)
            g += o->decay * w;
        double m = o->beta1 * (double)first[i] + (1 - o->beta1) * g;
        double v = o->beta2 * (double)second[i] + (1 - o->beta2) * g * g;
        if (o->decoupled)
            w *= 1 - lr * o->decay;
        out[i] = (T)(w - lr / unbias1 * m / (sqrt(v / unbias2) + o->epsilon));
        first_out[i] = (T)m;
        second_out[i] = (T)v;
    }
}

static void FN(global_norm)(const qn_op_run *run)
{
    double sum = 0;
    for (int k = 0; k < run->types->inputs_count; k++) {
        const T *x = run->inputs[k].data;
        int64_t count = qn_shape_count(&run->inputs[k].shape);
        for (int64_t i = 0; i < count; i++)
            sum += (double)x[i] * (double)x[i];
    }
    *(T *)run->outputs[0].data = (T)sqrt(sum);
}
