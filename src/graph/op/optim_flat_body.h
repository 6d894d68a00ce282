/* Typed loop of optim_flat.c: outputs are the weight and its moments, then comes the gradient, then scalars. */
static void FN(flat)(const qn_op_run *run, flat_rule rule, flat_options *o)
{
    int moments = run->types->outputs_count - 1, lr = moments + 2;
    const T *weight = run->inputs[0].data, *grad = run->inputs[moments + 1].data;
    int product = lr + 2, scaled = run->types->op->inputs_min > product ? product + 1 : product;
    double scale = qn_op_has(run->types, scaled) ? (double)*(const T *)run->inputs[scaled].data : 1;
    int64_t count = qn_shape_count(&run->inputs[0].shape);
    o->lr = (double)*(const T *)run->inputs[lr].data;
    if (qn_op_has(run->types, lr + 1))
        o->step = (double)((const int64_t *)run->inputs[lr + 1].data)[0];
    if (scaled > product)
        o->product = (double)*(const T *)run->inputs[product].data;
    for (int64_t i = 0; i < count; i++) {
        flat_cell cell = {.w = (double)weight[i], .g = scale * (double)grad[i]};
        for (int k = 0; k < moments; k++)
            cell.m[k] = (double)((const T *)run->inputs[1 + k].data)[i];
        rule(&cell, o);
        ((T *)run->outputs[0].data)[i] = (T)cell.w;
        for (int k = 0; k < moments; k++)
            ((T *)run->outputs[1 + k].data)[i] = (T)cell.m[k];
    }
}
