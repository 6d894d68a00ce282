/*
 * CTC: the walk over frames of each row, and the choice of its kernels. Both directions go through one recursion: backward is
 * forward over reversed labels.
 */
#include "kernel/loss/ctc.h"

#include <math.h>
#include <string.h>

#include "base/error.h"
#include "kernel/isa.h"
#include "kernel/loss/ctc_table.h"
#include "kernel/split.h"

enum { PADS = 2, GRAIN = 4096 /* states of all frames, of about 3 ns each */ };

static const qn_ctc_kernels *choose(void)
{
    static const qn_ctc_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_ctc_f32);
    return rows[qn_cpu_level()];
}

/* One row in hand. */
typedef struct {
    const qn_ctc *io;
    const qn_ctc_kernels *kernels;
    const int64_t *labels;
    int64_t count, frames, states;
    const float *logits;
    float *alpha, *beta; /* [frames_max, stride], [2, stride] */
    int64_t stride;
    float *lse;                       /* [frames_max] */
    float *from, *emit, *skip, *part; /* [stride] each, `from` behind two pads */
} ctc_row;

typedef struct {
    const qn_ctc *io;
    const qn_ctc_kernels *kernels;
    double *losses;
    float *scratch;
    int64_t scratch_each;
} ctc_job;

static int64_t clamp(int64_t length, int64_t most)
{
    return length < 0 ? 0 : length > most ? most : length;
}

static int64_t count_labels(const qn_ctc *io, int64_t r)
{
    if (io->labels_counts)
        return clamp(io->labels_counts[r], io->labels_max);
    const int64_t *labels = io->labels + r * io->labels_max;
    int64_t count = 0;
    while (count < io->labels_max && labels[count] >= 0)
        count++;
    return count;
}

static ctc_row open_row(const ctc_job *j, int64_t r)
{
    const qn_ctc *io = j->io;
    ctc_row row = {.io = io, .kernels = j->kernels, .stride = 2 * io->labels_max + 1};
    row.labels = io->labels + r * io->labels_max;
    row.count = count_labels(io, r);
    row.frames = io->frames_counts ? clamp(io->frames_counts[r], io->frames) : io->frames;
    row.states = 2 * row.count + 1;
    row.logits = io->logits + r * io->frames * io->classes;
    row.alpha = io->kept + r * (io->frames + 2) * row.stride;
    row.beta = row.alpha + io->frames * row.stride;
    row.lse = j->scratch + r * j->scratch_each;
    row.from = row.lse + io->frames + PADS;
    row.emit = row.from + row.stride;
    row.skip = row.emit + row.stride;
    row.part = row.skip + row.stride;
    row.from[-1] = row.from[-2] = QN_CTC_LOW;
    return row;
}

static bool is_sound(const ctc_row *row)
{
    for (int64_t i = 0; i < row->count; i++)
        if (row->labels[i] < 0 || row->labels[i] >= row->io->classes ||
            row->labels[i] == row->io->blank)
            return false;
    return true;
}

static int64_t class_of(const ctc_row *row, int64_t state)
{
    return state % 2 ? row->labels[state / 2] : row->io->blank;
}

static void set_skips(ctc_row *row, bool reversed)
{
    for (int64_t s = 0; s < row->states; s++) {
        int64_t i = reversed ? row->count - 1 - s / 2 : s / 2, before = reversed ? i + 1 : i - 1;
        bool may = s % 2 && s >= 3 && row->labels[i] != row->labels[before];
        row->skip[s] = may ? 0 : QN_CTC_LOW;
    }
}

static void set_emissions(ctc_row *row, int64_t t, bool reversed)
{
    const float *z = row->logits + t * row->io->classes;
    float lse = row->lse[t];
    float blank = fmaxf(z[row->io->blank] - lse, QN_CTC_LOW);
    for (int64_t s = 0; s < row->states; s += 2)
        row->emit[s] = blank;
    for (int64_t i = 0; i < row->count; i++) {
        int64_t s = reversed ? 2 * (row->count - 1 - i) + 1 : 2 * i + 1;
        row->emit[s] = fmaxf(z[row->labels[i]] - lse, QN_CTC_LOW);
    }
}

/* One frame on: `from` NULL begins. */
static float advance(ctc_row *row, float *to, const float *from)
{
    size_t bytes = (size_t)row->states * sizeof *to;
    QN_ASSERT(to && row->states > 0);
    if (from) {
        memcpy(row->from, from, bytes);
        return row->kernels->advance(to, row->from, row->emit, row->skip, row->states);
    }
    for (int64_t s = 0; s < row->states; s++)
        to[s] = (s < 2 ? 0 : QN_CTC_LOW) + row->emit[s];
    float top = row->states > 1 && to[1] > to[0] ? to[1] : to[0];
    for (int64_t s = 0; s < row->states; s++)
        to[s] -= top;
    return top;
}

static double add_logs(double a, double b)
{
    double high = a > b ? a : b;
    return high + log(exp(a - high) + exp(b - high));
}

static double forward(ctc_row *row)
{
    double shift = 0;
    set_skips(row, false);
    for (int64_t t = 0; t < row->frames; t++) {
        row->lse[t] = row->kernels->log_sum(row->logits + t * row->io->classes, row->io->classes);
        if (isnan(row->lse[t]))
            return (double)NAN;
        set_emissions(row, t, false);
        shift += (double)advance(row, row->alpha + t * row->stride,
                                 t ? row->alpha + (t - 1) * row->stride : NULL);
    }
    if (row->frames == 0)
        return row->count ? (double)QN_CTC_LOW : 0;
    const float *last = row->alpha + (row->frames - 1) * row->stride;
    double end = (double)last[row->states - 1];
    return shift + (row->states > 1 ? add_logs(end, (double)last[row->states - 2]) : end);
}

static void backward(ctc_row *row, float *dz, float scale)
{
    int64_t classes = row->io->classes, states = row->states;
    set_skips(row, true);
    for (int64_t t = row->frames - 1; t >= 0; t--) {
        float *now = row->beta + t % 2 * row->stride,
              *later = row->beta + (t + 1) % 2 * row->stride;
        float *to = dz + t * classes;
        set_emissions(row, t, true);
        (void)advance(row, now, t + 1 < row->frames ? later : NULL);
        for (int64_t s = 0; s < states; s++) /* beta and its emissions in the order of alpha */
            row->from[s] = now[states - 1 - s];
        set_emissions(row, t, false);
        float sum = row->kernels->posterior(row->part, row->alpha + t * row->stride, row->from,
                                            row->emit, states);
        row->kernels->softmax(to, row->logits + t * classes, classes, row->lse[t], scale);
        for (int64_t s = 0; s < states; s++)
            to[class_of(row, s)] -= scale / sum * row->part[s];
    }
}

static void run_row(const ctc_job *j, int64_t r)
{
    const qn_ctc *io = j->io;
    ctc_row row = open_row(j, r);
    int64_t frame_count = io->frames * io->classes;
    float *dz = io->dlogits ? io->dlogits + r * frame_count : NULL;
    if (dz)
        memset(dz, 0, (size_t)frame_count * sizeof *dz);
    memset(row.alpha, 0, (size_t)((io->frames + 2) * row.stride) * sizeof *row.alpha);
    double share = io->sum ? 1 : 1 / (double)(row.count > 1 ? row.count : 1) / (double)io->rows;
    if (!is_sound(&row)) {
        j->losses[r] = (double)NAN;
        return;
    }
    double p = forward(&row);
    bool path = !(p < (double)QN_CTC_LOW / 2);
    for (int64_t i = 0; isnan(p) && dz && i < row.frames * io->classes; i++)
        dz[i] = NAN;
    if (path && !isnan(p) && dz)
        backward(&row, dz, (float)share);
    j->losses[r] = path ? -p * share : io->zero_infinity ? 0 : HUGE_VAL;
}

static void run_rows(void *context, int64_t first, int64_t end)
{
    for (int64_t r = first; r < end; r++)
        run_row(context, r);
}

static int64_t scratch_floats(int64_t frames, int64_t labels_max)
{
    return frames + PADS + 4 * (2 * labels_max + 1);
}

size_t qn_ctc_scratch_bytes(int64_t rows, int64_t frames, int64_t labels_max)
{
    return (size_t)rows *
           (sizeof(double) + (size_t)scratch_floats(frames, labels_max) * sizeof(float));
}

void qn_ctc_f32(qn_pool *pool, const qn_ctc *io, void *scratch)
{
    ctc_job j = {.io = io,
                 .kernels = choose(),
                 .losses = scratch,
                 .scratch = (float *)(void *)((double *)scratch + io->rows),
                 .scratch_each = scratch_floats(io->frames, io->labels_max)};
    int64_t each = io->frames * (4 * (2 * io->labels_max + 1) + io->classes);
    qn_split(pool, io->rows, qn_split_grain(each, GRAIN), run_rows, &j);
    double total = 0;
    for (int64_t r = 0; r < io->rows; r++)
        total += j.losses[r];
    if (io->loss)
        *io->loss = (float)total;
}
