/* Typed loops of rnn.c: one sequence (row b of direction d) at a time. */

/* bias + x W' + h R' for gate g, unit j; `parts` says which of input (1) and recurrence (2) count. */
static double FN(gate_sum)(const qn_op_run *run, const rnn_walk *w, int64_t d, const T *x,
                           const T *h, const T *reset, int64_t row, int parts)
{
    const T *weight = run->inputs[1].data, *recurrent = run->inputs[2].data;
    const T *bias = qn_op_has(run->types, 3) ? run->inputs[3].data : NULL;
    int64_t rows = w->gates * w->hidden, at = d * rows + row;
    double sum = 0;
    for (int64_t i = 0; parts & 1 && i < w->input; i++)
        sum += (double)x[i] * (double)weight[at * w->input + i];
    for (int64_t k = 0; parts & 2 && k < w->hidden; k++)
        sum +=
            (double)h[k] * (reset ? (double)reset[k] : 1) * (double)recurrent[at * w->hidden + k];
    if (bias && parts & 1)
        sum += (double)bias[2 * d * rows + row];
    if (bias && parts & 2)
        sum += (double)bias[2 * d * rows + rows + row];
    return sum;
}

/* The peephole of gate i, o or f (0 to 2) of unit j, times what it looks at; 0 without, whatever that is. */
static double FN(peep)(const qn_op_run *run, const rnn_walk *w, int input, int64_t d, int gate,
                       int64_t j, double seen)
{
    const T *all = qn_op_has(run->types, input) ? run->inputs[input].data : NULL;
    return all ? (double)all[(d * 3 + gate) * w->hidden + j] * seen : 0;
}

static void FN(step_lstm)(const qn_op_run *run, const rnn_walk *w, int64_t d, const T *x, T *h,
                          T *c, T *a)
{
    int64_t n = w->hidden;
    const qn_rnn_act *act = w->acts[d];
    QN_ASSERT(c);
    for (int64_t row = 0; row < 4 * n; row++) {
        double sum = FN(gate_sum)(run, w, d, x, h, NULL, row, 3);
        if (row < n || (row >= 2 * n && row < 3 * n))
            sum += FN(peep)(run, w, 7, d, (int)(row / n), row % n, (double)c[row % n]);
        /* the output's gate also looks at the new cell, below */
        a[row] = (T)(row / n == 1 ? sum : activate(w, row < 3 * n ? &act[0] : &act[1], sum));
    }
    for (int64_t j = 0; j < n; j++) {
        if (w->coupled)
            a[2 * n + j] = (T)(1 - (double)a[j]);
        c[j] = (T)((double)a[2 * n + j] * (double)c[j] + (double)a[j] * (double)a[3 * n + j]);
        a[4 * n + j] = c[j];
        double sum = (double)a[n + j] + FN(peep)(run, w, 7, d, 1, j, (double)c[j]);
        a[n + j] = (T)activate(w, &act[0], sum);
        h[j] = (T)((double)a[n + j] * activate(w, &act[2], (double)c[j]));
    }
}

static void FN(step_gru)(const qn_op_run *run, const rnn_walk *w, int64_t d, const T *x, T *h, T *a)
{
    int64_t n = w->hidden;
    for (int64_t row = 0; row < 2 * n; row++)
        a[row] = (T)activate(w, &w->acts[d][0], FN(gate_sum)(run, w, d, x, h, NULL, row, 3));
    for (int64_t j = 0; j < n; j++) {
        double own = FN(gate_sum)(run, w, d, x, h, NULL, 2 * n + j, 1);
        double past = FN(gate_sum)(run, w, d, x, h, w->reset_after ? NULL : a + n, 2 * n + j, 2);
        own += past * (w->reset_after ? (double)a[n + j] : 1);
        a[2 * n + j] = (T)activate(w, &w->acts[d][1], own);
        a[3 * n + j] = (T)past;
    }
    for (int64_t j = 0; j < n; j++)
        h[j] = (T)((1 - (double)a[j]) * (double)a[2 * n + j] + (double)a[j] * (double)h[j]);
}

static void FN(step_plain)(const qn_op_run *run, const rnn_walk *w, int64_t d, const T *x, T *h,
                           T *a)
{
    for (int64_t j = 0; j < w->hidden; j++)
        a[j] = (T)activate(w, &w->acts[d][0], FN(gate_sum)(run, w, d, x, h, NULL, j, 3));
    memcpy(h, a, (size_t)w->hidden * sizeof *h);
}

/* dst = src, or zeros. */
static void FN(begin_state)(T *dst, const T *src, int64_t count)
{
    for (int64_t i = 0; i < count; i++)
        dst[i] = src ? src[i] : 0;
}

static void FN(sequence)(const qn_op_run *run, const rnn_walk *w, int64_t d, int64_t b)
{
    int64_t n = w->hidden, at = state_place(w, d, b) * n, end = length_of(w, b);
    bool lstm = w->kind == RNN_LSTM;
    T *y = run->outputs[0].data, *h = (T *)run->outputs[1].data + at;
    T *c = lstm ? (T *)run->outputs[2].data + at : NULL, *kept = run->outputs[lstm ? 3 : 2].data;
    const T *h0 = qn_op_has(run->types, 5) ? (const T *)run->inputs[5].data + at : NULL;
    const T *c0 = qn_op_has(run->types, 6) ? (const T *)run->inputs[6].data + at : NULL;
    FN(begin_state)(h, h0, n);
    if (c)
        FN(begin_state)(c, c0, n);
    for (int64_t t = end; t < w->steps; t++) {
        memset(y + out_place(w, d, t, b) * n, 0, (size_t)n * sizeof *y);
        memset(kept + kept_place(w, d, t, b) * w->kept * n, 0,
               (size_t)(w->kept * n) * sizeof *kept);
    }
    for (int64_t s = 0; s < end; s++) {
        int64_t t = time_of(w, d, s, end);
        const T *x = (const T *)run->inputs[0].data + in_place(w, t, b) * w->input;
        T *a = kept + kept_place(w, d, t, b) * w->kept * n;
        if (lstm)
            FN(step_lstm)(run, w, d, x, h, c, a);
        else if (w->kind == RNN_GRU)
            FN(step_gru)(run, w, d, x, h, a);
        else
            FN(step_plain)(run, w, d, x, h, a);
        memcpy(y + out_place(w, d, t, b) * n, h, (size_t)n * sizeof *h);
    }
}

static void FN(forward)(const qn_op_run *run, const rnn_walk *w)
{
    for (int64_t i = 0; i < w->dirs * w->batch; i++)
        FN(sequence)(run, w, i / w->batch, i % w->batch);
}

/*
 * Backward. Inputs: x, weight, recurrent, y, kept, then what may be absent: dy, dy_h, dy_c, lengths, h0, c0. The
 * gradients of what stands before the activations go to the last output; everything else is sums over them.
 */
static const T *FN(given)(const qn_op_run *run, int input)
{
    return qn_op_has(run->types, input) ? run->inputs[input].data : NULL;
}

/* The state before step s: y (or kept c) of the step before, or the initial one; NULL = zeros. */
static const T *FN(before)(const qn_op_run *run, const rnn_walk *w, int64_t d, int64_t b, int64_t s,
                           bool cell)
{
    int64_t n = w->hidden, end = length_of(w, b);
    const T *initial = FN(given)(run, cell ? 10 : 9);
    if (s == 0)
        return initial ? initial + state_place(w, d, b) * n : NULL;
    int64_t t = time_of(w, d, s - 1, end);
    if (cell)
        return (const T *)run->inputs[4].data + kept_place(w, d, t, b) * w->kept * n + 4 * n;
    return (const T *)run->inputs[3].data + out_place(w, d, t, b) * n;
}

/* Sum over j of gates [first, first + count) of slope[j] * recurrent[j, k]. */
static double FN(pull)(const qn_op_run *run, const rnn_walk *w, int64_t d, const T *slope,
                       int64_t first, int64_t count, int64_t k)
{
    const T *recurrent = run->inputs[2].data;
    double sum = 0;
    for (int64_t j = 0; j < count * w->hidden; j++)
        sum += (double)slope[j] *
               (double)recurrent[((d * w->gates + first) * w->hidden + j) * w->hidden + k];
    return sum;
}

/* How steep an activation is where its stored value is y; flat where it was clipped. */
static double FN(slope_at)(const rnn_walk *w, const qn_rnn_act *act, T y)
{
    if (w->clip > 0 &&
        (y <= (T)qn_rnn_act_apply(act, -w->clip) || y >= (T)qn_rnn_act_apply(act, w->clip)))
        return 0;
    return qn_rnn_act_slope(act, (double)y);
}

static void FN(back_lstm)(const qn_op_run *run, const rnn_walk *w, int64_t d, const T *a,
                          const T *c_before, T *dh, T *dc, T *g)
{
    int64_t n = w->hidden;
    const qn_rnn_act *act = w->acts[d];
    for (int64_t j = 0; j < n; j++) {
        double in = (double)a[j], out = (double)a[n + j], keep = (double)a[2 * n + j];
        double fresh = (double)a[3 * n + j], cell = (double)a[4 * n + j];
        double old = c_before ? (double)c_before[j] : 0, turn = activate(w, &act[2], cell);
        double steep = w->clip > 0 && fabs(cell) >= w->clip ? 0 : qn_rnn_act_slope(&act[2], turn);
        double at_out = (double)dh[j] * turn * FN(slope_at)(w, &act[0], a[n + j]);
        double slope =
            (double)dc[j] + (double)dh[j] * out * steep + FN(peep)(run, w, 11, d, 1, j, at_out);
        double at_in = slope * (w->coupled ? fresh - old : fresh) * FN(slope_at)(w, &act[0], a[j]);
        double at_keep = w->coupled ? 0 : slope * old * FN(slope_at)(w, &act[0], a[2 * n + j]);
        g[j] = (T)at_in;
        g[n + j] = (T)at_out;
        g[2 * n + j] = (T)at_keep;
        g[3 * n + j] = (T)(slope * in * FN(slope_at)(w, &act[1], a[3 * n + j]));
        dc[j] = (T)(slope * keep + FN(peep)(run, w, 11, d, 0, j, at_in) +
                    FN(peep)(run, w, 11, d, 2, j, at_keep));
    }
    for (int64_t k = 0; k < n; k++)
        dh[k] = (T)FN(pull)(run, w, d, g, 0, 4, k);
}

/* g: z, r, the candidate from the input's side, the candidate from the state's side. */
static void FN(back_gru)(const qn_op_run *run, const rnn_walk *w, int64_t d, const T *a,
                         const T *h_before, T *dh, T *g)
{
    int64_t n = w->hidden;
    const qn_rnn_act *act = w->acts[d];
    for (int64_t j = 0; j < n; j++) {
        double z = (double)a[j], r = (double)a[n + j], fresh = (double)a[2 * n + j];
        double old = h_before ? (double)h_before[j] : 0, up = (double)dh[j];
        double slope = up * (1 - z) * FN(slope_at)(w, &act[1], a[2 * n + j]);
        g[j] = (T)(up * (old - fresh) * FN(slope_at)(w, &act[0], a[j]));
        g[2 * n + j] = (T)slope;
        g[3 * n + j] = (T)(w->reset_after ? slope * r : slope);
        g[n + j] = (T)(slope * (double)a[3 * n + j] * FN(slope_at)(w, &act[0], a[n + j]));
    }
    for (int64_t k = 0; k < n && !w->reset_after; k++) {
        double old = h_before ? (double)h_before[k] : 0;
        g[n + k] =
            (T)(FN(pull)(run, w, d, g + 3 * n, 2, 1, k) * old * FN(slope_at)(w, &act[0], a[n + k]));
    }
    for (int64_t k = 0; k < n; k++) {
        double through = FN(pull)(run, w, d, g + 3 * n, 2, 1, k);
        through *= w->reset_after ? 1 : (double)a[n + k];
        dh[k] = (T)((double)dh[k] * (double)a[k] + FN(pull)(run, w, d, g, 0, 2, k) + through);
    }
}

static void FN(back_plain)(const qn_op_run *run, const rnn_walk *w, int64_t d, const T *a, T *dh,
                           T *g)
{
    for (int64_t j = 0; j < w->hidden; j++)
        g[j] = (T)((double)dh[j] * FN(slope_at)(w, &w->acts[d][0], a[j]));
    for (int64_t k = 0; k < w->hidden; k++)
        dh[k] = (T)FN(pull)(run, w, d, g, 0, 1, k);
}

static void FN(back_sequence)(const qn_op_run *run, const rnn_walk *w, int64_t d, int64_t b)
{
    int64_t n = w->hidden, at = state_place(w, d, b) * n, end = length_of(w, b);
    bool lstm = w->kind == RNN_LSTM;
    const T *dy = FN(given)(run, 5), *last = FN(given)(run, 6), *last_c = FN(given)(run, 7);
    T *dh = (T *)run->outputs[4].data + at, *dc = lstm ? (T *)run->outputs[5].data + at : NULL;
    T *slopes = run->outputs[lstm ? 6 : 5].data;
    FN(begin_state)(dh, last ? last + at : NULL, n);
    if (lstm)
        FN(begin_state)(dc, last_c ? last_c + at : NULL, n);
    for (int64_t t = end; t < w->steps; t++)
        memset(slopes + kept_place(w, d, t, b) * w->slopes * n, 0,
               (size_t)(w->slopes * n) * sizeof *slopes);
    for (int64_t s = end - 1; s >= 0; s--) {
        int64_t t = time_of(w, d, s, end);
        const T *a = (const T *)run->inputs[4].data + kept_place(w, d, t, b) * w->kept * n;
        T *g = slopes + kept_place(w, d, t, b) * w->slopes * n;
        for (int64_t j = 0; dy && j < n; j++)
            dh[j] = (T)((double)dh[j] + (double)dy[out_place(w, d, t, b) * n + j]);
        if (lstm)
            FN(back_lstm)(run, w, d, a, FN(before)(run, w, d, b, s, true), dh, dc, g);
        else if (w->kind == RNN_GRU)
            FN(back_gru)(run, w, d, a, FN(before)(run, w, d, b, s, false), dh, g);
        else
            FN(back_plain)(run, w, d, a, dh, g);
    }
}

/* The place in a row of slopes of gate row `row`, on the input's or the state's side. */
static int64_t FN(slope_place)(const rnn_walk *w, int64_t row, bool state)
{
    return state && w->kind == RNN_GRU && row >= 2 * w->hidden ? row + w->hidden : row;
}

/* dweight and dbias of one gate row: input's side (state false) or state's side. */
static void FN(back_row)(const qn_op_run *run, const rnn_walk *w, int64_t d, int64_t row,
                         bool state)
{
    int64_t n = w->hidden, size = state ? n : w->input, rows = w->gates * n;
    const T *slopes = run->outputs[w->kind == RNN_LSTM ? 6 : 5].data;
    T *dst = (T *)run->outputs[state ? 2 : 1].data + (d * rows + row) * size;
    T *dbias = (T *)run->outputs[3].data + 2 * d * rows + (state ? rows : 0) + row;
    int64_t place = FN(slope_place)(w, row, state);
    for (int64_t i = -1; i < size; i++) { /* -1: the bias */
        double sum = 0;
        for (int64_t at = 0; at < w->batch * w->steps; at++) {
            int64_t b = at / w->steps, s = at % w->steps, end = length_of(w, b);
            if (s >= end)
                continue;
            int64_t t = time_of(w, d, s, end), kept = kept_place(w, d, t, b);
            double slope = (double)slopes[kept * w->slopes * n + place], value = 1;
            const T *h = FN(before)(run, w, d, b, s, false);
            if (i >= 0 && state)
                value = h ? (double)h[i] : 0;
            else if (i >= 0)
                value = (double)((const T *)run->inputs[0].data)[in_place(w, t, b) * size + i];
            if (i >= 0 && state && w->kind == RNN_GRU && !w->reset_after && row >= 2 * n)
                value *= (double)((const T *)run->inputs[4].data)[kept * w->kept * n + n + i];
            sum += slope * value;
        }
        *(i < 0 ? dbias : dst + i) = (T)sum;
    }
}

/* dpeepholes of one gate of one unit: the output's gate saw the new cell, the others the one before. */
static void FN(back_peephole)(const qn_op_run *run, const rnn_walk *w, int64_t d, int gate,
                              int64_t j)
{
    int64_t n = w->hidden;
    const T *slopes = run->outputs[6].data, *kept = run->inputs[4].data;
    double sum = 0;
    for (int64_t at = 0; at < w->batch * w->steps; at++) {
        int64_t b = at / w->steps, s = at % w->steps, end = length_of(w, b);
        if (s >= end)
            continue;
        int64_t row = kept_place(w, d, time_of(w, d, s, end), b);
        const T *before = FN(before)(run, w, d, b, s, true);
        double cell = before ? (double)before[j] : 0;
        if (gate == 1)
            cell = (double)kept[row * w->kept * n + 4 * n + j];
        sum += (double)slopes[row * w->slopes * n + gate * n + j] * cell;
    }
    ((T *)run->outputs[7].data)[(d * 3 + gate) * n + j] = (T)sum;
}

static void FN(back_input)(const qn_op_run *run, const rnn_walk *w, int64_t t, int64_t b, int64_t i)
{
    const T *slopes = run->outputs[w->kind == RNN_LSTM ? 6 : 5].data;
    const T *weight = run->inputs[1].data;
    double sum = 0;
    for (int64_t row = 0; row < w->dirs * w->gates * w->hidden; row++) {
        int64_t d = row / (w->gates * w->hidden), j = row % (w->gates * w->hidden);
        sum += (double)slopes[kept_place(w, d, t, b) * w->slopes * w->hidden + j] *
               (double)weight[row * w->input + i];
    }
    ((T *)run->outputs[0].data)[in_place(w, t, b) * w->input + i] = (T)sum;
}

static void FN(backward)(const qn_op_run *run, const rnn_walk *w)
{
    for (int64_t i = 0; i < w->dirs * w->batch; i++)
        FN(back_sequence)(run, w, i / w->batch, i % w->batch);
    for (int64_t row = 0; row < w->dirs * w->gates * w->hidden; row++)
        for (int state = 0; state < 2; state++)
            FN(back_row)(run, w, row / (w->gates * w->hidden), row % (w->gates * w->hidden), state);
    for (int64_t i = 0; w->kind == RNN_LSTM && i < w->dirs * 3 * w->hidden; i++)
        FN(back_peephole)
    (run, w, i / w->hidden / 3, (int)(i / w->hidden % 3), i % w->hidden);
    for (int64_t i = 0; i < w->batch * w->steps * w->input; i++)
        FN(back_input)(run, w, i / w->input % w->steps, i / w->input / w->steps, i % w->input);
}
