/* Typed loops of layer_norm.c: x seen as [outer, rows, groups, width], statistics of each (outer, group). */
static int64_t FN(place)(const norm_walk *w, int64_t group, int64_t i)
{
    int64_t outer = group / w->groups, g = group % w->groups;
    return ((outer * w->rows + i / w->width) * w->groups + g) * w->width + i % w->width;
}

static void FN(group_forward)(const norm_walk *w, int64_t group, T *y, T *stats[2], const T *x,
                              const T *scale, const T *shift)
{
    double mean = 0, squares = 0;
    int64_t count = w->rows * w->width, first = group % w->groups * w->width;
    for (int64_t i = 0; w->centred && i < count; i++)
        mean += (double)x[FN(place)(w, group, i)] / (double)count;
    for (int64_t i = 0; i < count; i++) {
        double d = (double)x[FN(place)(w, group, i)] - mean;
        squares += d * d;
    }
    double rstd = 1 / sqrt(squares / (double)count + w->epsilon);
    for (int64_t i = 0; i < count; i++) {
        int64_t at = FN(place)(w, group, i), c = first + i % w->width;
        y[at] =
            (T)(((double)x[at] - mean) * rstd * (double)scale[c] + (shift ? (double)shift[c] : 0));
    }
    if (stats[0])
        stats[0][group] = (T)mean;
    stats[1][group] = (T)rstd;
}

static void FN(forward)(const qn_op_run *run, const norm_walk *w)
{
    T *stats[2] = {w->centred ? run->outputs[1].data : NULL, run->outputs[w->centred ? 2 : 1].data};
    const T *shift = run->types->inputs_count > 2 ? run->inputs[2].data : NULL;
    for (int64_t g = 0; g < w->outer * w->groups; g++)
        FN(group_forward)
    (w, g, run->outputs[0].data, stats, run->inputs[0].data, run->inputs[1].data, shift);
}

/* dx = rstd (u - mean(u) - n mean(u n)) with u = dy scale; a mean of 0 when not centred. */
static void FN(group_backward)(const qn_op_run *run, const norm_walk *w, int64_t group)
{
    const T *dy = run->inputs[0].data, *x = run->inputs[1].data, *scale = run->inputs[2].data;
    const T *means = w->centred ? run->inputs[3].data : NULL;
    const T *rstds = run->inputs[w->centred ? 4 : 3].data;
    T *dx = run->outputs[0].data;
    int64_t count = w->rows * w->width, first = group % w->groups * w->width;
    double mean = means ? (double)means[group] : 0, rstd = (double)rstds[group], sum = 0, dot = 0;
    for (int64_t i = 0; i < count; i++) {
        int64_t at = FN(place)(w, group, i);
        double up = (double)dy[at] * (double)scale[first + i % w->width];
        sum += w->centred ? up : 0;
        dot += up * ((double)x[at] - mean) * rstd;
    }
    for (int64_t i = 0; i < count; i++) {
        int64_t at = FN(place)(w, group, i);
        double up = (double)dy[at] * (double)scale[first + i % w->width];
        double normal = ((double)x[at] - mean) * rstd;
        dx[at] = (T)(rstd * (up - (sum + normal * dot) / (double)count));
    }
}

static void FN(channel_backward)(const qn_op_run *run, const norm_walk *w, int64_t c)
{
    const T *dy = run->inputs[0].data, *x = run->inputs[1].data;
    const T *means = w->centred ? run->inputs[3].data : NULL;
    const T *rstds = run->inputs[w->centred ? 4 : 3].data;
    T *dscale = run->outputs[1].data, *dshift = w->centred ? run->outputs[2].data : NULL;
    int64_t channels = w->groups * w->width;
    double dot = 0, sum = 0;
    for (int64_t r = 0; r < w->outer * w->rows; r++) {
        int64_t at = r * channels + c, group = r / w->rows * w->groups + c / w->width;
        double mean = means ? (double)means[group] : 0;
        dot += (double)dy[at] * ((double)x[at] - mean) * (double)rstds[group];
        sum += (double)dy[at];
    }
    dscale[c] = (T)dot;
    if (dshift)
        dshift[c] = (T)sum;
}

static void FN(backward)(const qn_op_run *run, const norm_walk *w)
{
    for (int64_t g = 0; g < w->outer * w->groups; g++)
        FN(group_backward)(run, w, g);
    for (int64_t c = 0; c < w->groups * w->width; c++)
        FN(channel_backward)(run, w, c);
}
