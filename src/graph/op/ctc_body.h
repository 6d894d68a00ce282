/* Typed loops of ctc.c. */

static double FN(log_sum)(const T *z, int64_t classes)
{
    double high = -HUGE_VAL, sum = 0;
    for (int64_t c = 0; c < classes; c++) {
        high = (double)z[c] > high ? (double)z[c] : high;
        sum = isnan((double)z[c]) ? (double)NAN : sum;
    }
    for (int64_t c = 0; c < classes; c++)
        sum += exp((double)z[c] - high);
    return high + log(sum);
}

static double FN(emission)(const T *z, int64_t class, double lse)
{
    double y = (double)z[class] - lse;
    return y < ctc_low ? ctc_low : y;
}

/* Subtracts the largest, which is returned. */
static double FN(level)(T *row, int64_t states)
{
    double high = (double)row[0];
    for (int64_t s = 1; s < states; s++)
        high = (double)row[s] > high ? (double)row[s] : high;
    for (int64_t s = 0; s < states; s++)
        row[s] = (T)((double)row[s] - high);
    return high;
}

/* One frame on, in either direction; `from` NULL begins. Gives what `level` took off. */
static double FN(advance)(T *to, const T *from, const T *z, double lse, const ctc_row *row,
                          const ctc_options *o)
{
    int64_t states = 2 * row->count + 1;
    for (int64_t s = 0; s < states; s++) {
        double sum = s < 2 ? 0 : ctc_low;
        if (from) {
            sum = (double)from[s];
            sum = s >= 1 ? add_logs(sum, (double)from[s - 1]) : sum;
            sum = may_skip(row, s) ? add_logs(sum, (double)from[s - 2]) : sum;
        }
        to[s] = (T)(sum + FN(emission)(z, class_of(row, s, o->blank), lse));
    }
    return FN(level)(to, states);
}

/* alpha of all frames; gives the row's log-probability, below ctc_low / 2 when there is no path. */
static double FN(forward)(T *alpha, int64_t stride, const T *z, const ctc_row *row,
                          const ctc_options *o)
{
    int64_t states = 2 * row->count + 1;
    double shift = 0;
    for (int64_t t = 0; t < row->frames; t++) {
        const T *frame = z + t * o->classes;
        double lse = FN(log_sum)(frame, o->classes);
        if (isnan(lse))
            return lse;
        shift += FN(advance)(alpha + t * stride, t ? alpha + (t - 1) * stride : NULL, frame, lse,
                             row, o);
    }
    if (row->frames == 0)
        return row->count ? ctc_low : 0;
    const T *last = alpha + (row->frames - 1) * stride;
    double end = (double)last[states - 1];
    return shift + (states > 1 ? add_logs(end, (double)last[states - 2]) : end);
}

/* Takes the share of every state off the gradients of its class. beta stands in reversed order. */
static void FN(take_posterior)(T *dz, const T *alpha, const T *beta, const T *z, double lse,
                               const ctc_row *row, const ctc_options *o, double scale)
{
    int64_t states = 2 * row->count + 1;
    double high = -HUGE_VAL, sum = 0;
    for (int pass = 0; pass < 3; pass++)
        for (int64_t s = 0; s < states; s++) {
            int64_t class = class_of(row, s, o->blank);
            double both = (double)alpha[s] + (double)beta[states - 1 - s];
            double part = both - FN(emission)(z, class, lse);
            if (pass == 0)
                high = part > high ? part : high;
            else if (pass == 1)
                sum += exp(part - high);
            else
                dz[class] = (T)((double)dz[class] - scale * exp(part - high) / sum);
        }
}

/* dz, where `row` has a path. beta: two rows of memory. */
static void FN(backward)(T *dz, const T *alpha, T *beta, int64_t stride, const T *z,
                         const ctc_row *row, const ctc_options *o, double scale)
{
    ctc_row back = *row;
    back.reversed = true;
    for (int64_t t = row->frames - 1; t >= 0; t--) {
        const T *frame = z + t * o->classes;
        double lse = FN(log_sum)(frame, o->classes);
        T *now = beta + t % 2 * stride, *later = beta + (t + 1) % 2 * stride;
        (void)FN(advance)(now, t + 1 < row->frames ? later : NULL, frame, lse, &back, o);
        for (int64_t c = 0; c < o->classes; c++)
            dz[t * o->classes + c] = (T)(scale * exp((double)frame[c] - lse));
        FN(take_posterior)(dz + t * o->classes, alpha + t * stride, now, frame, lse, row, o, scale);
    }
}

static void FN(ctc)(const qn_op_run *run, const ctc_options *o)
{
    const T *z = run->inputs[0].data;
    T *dz = run->outputs[1].data, *kept = run->outputs[2].data;
    int64_t stride = 2 * o->labels + 1, frame_count = o->frames * o->classes;
    double total = 0;
    memset(dz, 0, qn_tensor_bytes(&run->outputs[1]));
    memset(kept, 0, qn_tensor_bytes(&run->outputs[2]));
    for (int64_t r = 0; r < o->rows; r++) {
        ctc_row row = read_row(run, o, r);
        T *alpha = kept + r * (o->frames + 2) * stride;
        double share = o->sum ? 1 : 1 / (double)(row.count > 1 ? row.count : 1) / (double)o->rows;
        if (!is_sound(&row, o)) {
            total = (double)NAN;
            continue;
        }
        double p = FN(forward)(alpha, stride, z + r * frame_count, &row, o);
        bool path = !(p < ctc_low / 2);
        for (int64_t i = 0; isnan(p) && i < row.frames * o->classes; i++)
            dz[r * frame_count + i] = (T)NAN; /* as the loss */
        if (path && !isnan(p))
            FN(backward)
        (dz + r * frame_count, alpha, alpha + o->frames * stride, stride, z + r * frame_count, &row,
         o, share);
        total += path ? -p * share : o->zero_infinity ? 0 : HUGE_VAL;
    }
    *(T *)run->outputs[0].data = (T)total;
}
