/* Typed loops of loss_embedding.c. */

/* What the mean divides by. */
static double FN(rows_divisor)(const embedding_options *o)
{
    return o->sum || o->rows == 0 ? 1 : (double)o->rows;
}

/* One pair: gives its loss, and the gradients times `scale`. With c = cos: dc/dx = y / r - c x / (|x|^2 + eps). */
static double FN(cosine_row)(T *dx, T *dy, const T *x, const T *y, bool same,
                             const embedding_options *o, double scale)
{
    double xx = 1e-12, yy = 1e-12, xy = 0;
    for (int64_t i = 0; i < o->width; i++) {
        xx += (double)x[i] * (double)x[i];
        yy += (double)y[i] * (double)y[i];
        xy += (double)x[i] * (double)y[i];
    }
    double root = sqrt(xx * yy), cosine = xy / root;
    bool counts = same || cosine > o->margin || isnan(cosine);
    double slope = same ? -scale : counts ? scale : 0;
    for (int64_t i = 0; i < o->width; i++) {
        dx[i] = (T)(slope * ((double)y[i] / root - cosine * (double)x[i] / xx));
        dy[i] = (T)(slope * ((double)x[i] / root - cosine * (double)y[i] / yy));
    }
    return same ? 1 - cosine : counts ? cosine - o->margin : 0;
}

static void FN(cosine)(const qn_op_run *run, const embedding_options *o)
{
    const T *x = run->inputs[0].data, *y = run->inputs[1].data, *side = run->inputs[2].data;
    T *loss = run->outputs[0].data, *dx = run->outputs[1].data, *dy = run->outputs[2].data;
    double total = 0, divisor = FN(rows_divisor)(o);
    for (int64_t r = 0; r < o->rows; r++) {
        int64_t at = r * o->width;
        total +=
            FN(cosine_row)(dx + at, dy + at, x + at, y + at, (double)side[r] > 0, o, 1 / divisor);
    }
    loss[0] = (T)(total / divisor);
}

static double FN(distance)(const T *a, const T *b, int64_t width)
{
    double sum = 0;
    for (int64_t i = 0; i < width; i++) {
        double d = (double)a[i] - (double)b[i] + 1e-6;
        sum += d * d;
    }
    return sqrt(sum);
}

static void FN(triplet)(const qn_op_run *run, const embedding_options *o)
{
    const T *a = run->inputs[0].data, *p = run->inputs[1].data, *n = run->inputs[2].data;
    T *da = run->outputs[1].data, *dp = run->outputs[2].data, *dn = run->outputs[3].data;
    double total = 0, divisor = FN(rows_divisor)(o);
    for (int64_t at = 0; at < o->rows * o->width; at += o->width) {
        double near = FN(distance)(a + at, p + at, o->width);
        double far = FN(distance)(a + at, n + at, o->width);
        double loss = near - far + o->margin;
        double scale = loss > 0 ? 1 / divisor : loss <= 0 ? 0 : loss;
        total += loss <= 0 ? 0 : loss;
        for (int64_t i = at; i < at + o->width; i++) {
            double pull = near > 0 ? ((double)a[i] - (double)p[i] + 1e-6) / near : 0;
            double push = far > 0 ? ((double)a[i] - (double)n[i] + 1e-6) / far : 0;
            da[i] = (T)(scale * (pull - push));
            dp[i] = (T)(scale * -pull);
            dn[i] = (T)(scale * push);
        }
    }
    *(T *)run->outputs[0].data = (T)(total / divisor);
}

static void FN(nll)(const qn_op_run *run, const embedding_options *o)
{
    const T *p = run->inputs[0].data;
    const int64_t *labels = run->inputs[1].data;
    const T *weights = qn_op_has(run->types, 2) ? run->inputs[2].data : NULL;
    T *dp = run->outputs[1].data;
    double total = 0, divisor = 0;
    memset(dp, 0, qn_tensor_bytes(&run->outputs[1]));
    for (int64_t r = 0; r < o->rows; r++) {
        bool counts = labels[r] >= 0 && labels[r] < o->width && labels[r] != o->ignore;
        double weight = counts && weights ? (double)weights[labels[r]] : 1;
        if (counts) {
            total -= weight * (double)p[r * o->width + labels[r]];
            divisor += weight;
            dp[r * o->width + labels[r]] = (T)-weight;
        } else if (labels[r] != o->ignore) {
            total = (double)NAN; /* no such class */
        }
    }
    divisor = o->sum || divisor <= 0 ? 1 : divisor;
    for (int64_t r = 0; r < o->rows; r++)
        if (labels[r] >= 0 && labels[r] < o->width)
            dp[r * o->width + labels[r]] = (T)((double)dp[r * o->width + labels[r]] / divisor);
    *(T *)run->outputs[0].data = (T)(total / divisor);
}
