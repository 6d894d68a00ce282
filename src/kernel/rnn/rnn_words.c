/*
 * Products of recurrent networks, of f32 or of pairs of bf16: how factors become words of either, how the
 * columns of gates are cut into panels, and the product of one panel.
 */
#include <string.h>

#include "base/checked.h"
#include "kernel/isa.h"
#include "kernel/rnn/rnn_priv.h"

qn_rnn_job qn_rnn_job_make(const qn_rnn *io)
{
    static const qn_rnn_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_rnn_f32);
    bool lstm = io->kind == QN_RNN_LSTM, gru = io->kind == QN_RNN_GRU;
    qn_rnn_job job = {.io = io,
                      .tile = io->pairs ? io->pairs->tile : qn_tile_f32(),
                      .rows = rows[qn_cpu_level()],
                      .pairs = io->pairs,
                      .gates = lstm  ? 4
                               : gru ? 3
                                     : 1,
                      .kept = lstm  ? 5
                              : gru ? 4
                                    : 1,
                      .slopes = lstm || gru ? 4 : 1};
    job.in_words = qn_rnn_words(&job, io->input);
    job.state_words = qn_rnn_words(&job, io->hidden);
    return job;
}

void qn_rnn_words_take(const qn_rnn_job *job, float *dst, const float *src, int64_t count)
{
    if (job->pairs)
        job->pairs->of_f32.line((uint32_t *)(void *)dst, src, count);
    else
        memcpy(dst, src, (size_t)count * sizeof *dst);
}

void qn_rnn_words_stack(const qn_rnn_job *job, float *dst, const float *src, int64_t lds,
                        int64_t rows, int64_t cols)
{
    if (job->pairs)
        job->pairs->of_f32.join((uint32_t *)(void *)dst, cols, src, lds, rows, cols);
    else
        job->rows->stack(dst, src, lds, rows, cols);
}

int64_t qn_rnn_panels(const qn_rnn_job *job, int64_t parts)
{
    if (job->io->kind != QN_RNN_GRU)
        return qn_tile_panels(job->tile, parts * job->io->hidden);
    return parts * qn_tile_panels(job->tile, job->io->hidden);
}

qn_rnn_panel qn_rnn_panel_at(const qn_rnn_job *job, int64_t parts, int64_t index)
{
    bool gru = job->io->kind == QN_RNN_GRU;
    int64_t n = job->io->hidden, total = gru ? n : parts * n;
    int64_t each = qn_tile_panels(job->tile, total), part = index / each;
    int64_t first = qn_tile_panel_start(job->tile, total, index % each);
    return (qn_rnn_panel){.part = part,
                          .col = part * n + first,
                          .cols = qn_tile_panel_start(job->tile, total, index % each + 1) - first};
}

void qn_rnn_multiply(const qn_rnn_job *job, const qn_rnn_product *product)
{
    static const int64_t origin[1] = {0};
    int64_t row[QN_TILE_ROWS_MAX];
    for (int64_t i = 0; i < product->rows; i++)
        row[i] = i * product->lda;
    qn_strip s = {.rows = product->rows,
                  .cols = (int)product->cols,
                  .a = product->a,
                  .row = row,
                  .seg = origin,
                  .segs = 1,
                  .step = 1,
                  .b = product->b,
                  .ldb = product->cols,
                  .c = product->c,
                  .ldc = product->ldc,
                  .add = product->add};
    int64_t parts = (product->depth + QN_RNN_DEPTH - 1) / QN_RNN_DEPTH;
    int64_t part = (product->depth + parts - 1) / parts;
    part = (part + QN_RNN_WHOLE - 1) / QN_RNN_WHOLE * QN_RNN_WHOLE;
    for (int64_t k = 0; k < product->depth; k += s.seg_len) {
        s.seg_len = qn_min_i64(part, product->depth - k);
        s.a = product->a + k;
        s.b = product->b + k * product->cols;
        s.add = product->add || k > 0;
        s.bias = k + s.seg_len == product->depth ? product->bias : NULL;
        job->tile->strip(&s);
    }
}
