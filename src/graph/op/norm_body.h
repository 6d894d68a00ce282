/* Typed loops of norm.c: one channel of x seen as [rows, channels]. */
static void FN(norm_channel)(const qn_op_run *run, int64_t c, const norm_options *o)
{
    const T *x = run->inputs[0].data, *scale = run->inputs[1].data, *shift = run->inputs[2].data;
    const T *old_mean = run->inputs[3].data, *old_var = run->inputs[4].data;
    T *y = run->outputs[0].data, *mean_out = run->outputs[1].data, *var_out = run->outputs[2].data;
    T *saved = run->outputs[3].data;
    double mean = (double)old_mean[c], var = (double)old_var[c], sum = 0, squares = 0;
    if (o->training) {
        for (int64_t r = 0; r < o->rows; r++)
            sum += (double)x[r * o->channels + c];
        mean = sum / (double)o->rows;
        for (int64_t r = 0; r < o->rows; r++) {
            double d = (double)x[r * o->channels + c] - mean;
            squares += d * d;
        }
        var = squares / (double)o->rows;
    }
    double keep = o->training ? o->momentum : 1, rstd = 1 / sqrt(var + o->epsilon);
    for (int64_t r = 0; r < o->rows; r++)
        y[r * o->channels + c] =
            (T)(((double)x[r * o->channels + c] - mean) * rstd * (double)scale[c] +
                (double)shift[c]);
    mean_out[c] = (T)(keep * (double)old_mean[c] + (1 - keep) * mean);
    var_out[c] = (T)(keep * (double)old_var[c] + (1 - keep) * var);
    saved[c] = (T)mean;
    saved[o->channels + c] = (T)rstd;
}

static void FN(norm)(const qn_op_run *run, const norm_options *o)
{
    for (int64_t c = 0; c < o->channels; c++)
        FN(norm_channel)(run, c, o);
}

static void FN(norm_grad_channel)(const qn_op_run *run, int64_t c, const norm_options *o)
{
    const T *dy = run->inputs[0].data, *x = run->inputs[1].data, *scale = run->inputs[2].data;
    const T *saved = run->inputs[3].data;
    T *dx = run->outputs[0].data, *dscale = run->outputs[1].data, *dshift = run->outputs[2].data;
    double mean = (double)saved[c], rstd = (double)saved[o->channels + c];
    double sum = 0, dot = 0, rows = (double)o->rows;
    for (int64_t r = 0; r < o->rows; r++) {
        int64_t i = r * o->channels + c;
        sum += (double)dy[i];
        dot += (double)dy[i] * ((double)x[i] - mean) * rstd;
    }
    for (int64_t r = 0; r < o->rows; r++) {
        int64_t i = r * o->channels + c;
        double normal = ((double)x[i] - mean) * rstd;
        double through = o->training ? (sum + normal * dot) / rows : 0;
        dx[i] = (T)((double)scale[c] * rstd * ((double)dy[i] - through));
    }
    dscale[c] = (T)dot;
    dshift[c] = (T)sum;
}

static void FN(norm_grad)(const qn_op_run *run, const norm_options *o)
{
    for (int64_t c = 0; c < o->channels; c++)
        FN(norm_grad_channel)(run, c, o);
}
