/*
 * Blocks of attention (attention_priv.h).
 */
#include <math.h>
#include <string.h>

#include "base/checked.h"
#include "kernel/attention/attention_priv.h"
#include "kernel/isa.h"

qn_attention_job qn_attention_job_make(const qn_attention *io)
{
    static const qn_attention_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_attention_f32);
    return (qn_attention_job){.io = io,
                              .tile = io->pairs ? io->pairs->tile : qn_tile_f32(),
                              .rows = rows[qn_cpu_level()]};
}

qn_attention_rows qn_attention_queries(const qn_attention *io, unsigned which, const float *data,
                                       int64_t b, int64_t i, int64_t h)
{
    int64_t count = which == QN_ATTENTION_Q ? io->dim : io->value_dim, row = io->heads * count;
    return (qn_attention_rows){data, which, (b * io->queries + i) * row + h * count, row, count};
}

qn_attention_rows qn_attention_keys(const qn_attention *io, unsigned which, int64_t b, int64_t i,
                                    int64_t kv)
{
    bool keys = which == QN_ATTENTION_K;
    int64_t count = keys ? io->dim : io->value_dim, row = io->kv_heads * count;
    return (qn_attention_rows){keys ? io->k : io->v, which, (b * io->keys + i) * row + kv * count,
                               row, count};
}

/* Where row i begins, of floats or of halves. */
static const void *row_at(const qn_attention_job *j, const qn_attention_rows *src, int64_t i)
{
    int64_t at = src->at + i * src->row;
    if (j->io->halves & src->which)
        return (const uint16_t *)(const void *)src->data + at;
    return src->data + at;
}

static const qn_pairs_pack *pack_of(const qn_attention_job *j, const qn_attention_rows *src)
{
    return j->io->halves & src->which ? &j->io->pairs->of_bf16 : &j->io->pairs->of_f32;
}

static uint32_t *as_pairs(float *words)
{
    return (uint32_t *)(void *)words;
}

void qn_attention_lines(const qn_attention_job *j, float *dst, const qn_attention_rows *src,
                        int64_t rows)
{
    for (int64_t i = 0; i < rows; i++, dst += qn_attention_words(j, src->count))
        if (j->io->pairs)
            pack_of(j, src)->line(as_pairs(dst), row_at(j, src, i), src->count);
        else
            memcpy(dst, row_at(j, src, i), (size_t)src->count * sizeof *dst);
}

void qn_attention_join(const qn_attention_job *j, float *dst, const qn_attention_rows *src,
                       int64_t rows)
{
    if (j->io->pairs)
        pack_of(j, src)->join(as_pairs(dst), src->count, row_at(j, src, 0), src->row, rows,
                              src->count);
    else
        qn_attention_lines(j, dst, src, rows);
}

void qn_attention_turn(const qn_attention_job *j, float *dst, const qn_attention_rows *src,
                       int64_t rows)
{
    if (j->io->pairs)
        pack_of(j, src)->turn(as_pairs(dst), QN_ATTENTION_PITCH, row_at(j, src, 0), src->row,
                              src->count, rows);
    else
        j->tile->transpose(dst, QN_ATTENTION_PITCH, row_at(j, src, 0), src->row, src->count, rows);
}

void qn_attention_narrow(const qn_attention_job *j, float *scores, int64_t rows, int64_t count)
{
    for (int64_t r = 0; j->io->pairs && r < rows; r++, scores += QN_ATTENTION_PITCH)
        j->io->pairs->of_f32.line(as_pairs(scores), scores, count);
}

void qn_attention_product(const qn_attention_job *j, float *c, int64_t ldc, qn_attention_side a,
                          const float *b, int64_t ldb, int64_t rows, int64_t cols, int64_t depth,
                          bool add)
{
    qn_tile_product product = {.rows = rows,
                               .cols = cols,
                               .depth = depth,
                               .a = a.data,
                               .a_row = a.row,
                               .a_col = a.col,
                               .b = b,
                               .ldb = ldb,
                               .c = c,
                               .ldc = ldc,
                               .add = add};
    qn_tile_multiply(j->tile, &product);
}

void qn_attention_range(const qn_attention *io, int64_t b, int64_t i, int64_t *ret_first,
                        int64_t *ret_end)
{
    int64_t first = 0, end = io->keys;
    i += io->starts ? io->starts[b] : 0;
    if (io->lengths)
        end = io->lengths[b] < 0 ? 0 : qn_min_i64(end, io->lengths[b]);
    if (io->window > 0 && i >= io->window)
        first = i - io->window + 1;
    if (io->window > 0)
        end = qn_min_i64(end, i + io->window);
    if (io->causal)
        end = qn_min_i64(end, i + 1);
    /* An empty range must not lie beyond the keys that count, or a block would reach over them. */
    end = end > 0 ? end : 0;
    *ret_first = qn_min_i64(first, end);
    *ret_end = end;
}

void qn_attention_block_range(const qn_attention *io, int64_t b, int64_t i, int64_t count,
                              int64_t *ret_first, int64_t *ret_end)
{
    int64_t unused;
    qn_attention_range(io, b, i, ret_first, &unused);
    qn_attention_range(io, b, i + count - 1, &unused, ret_end);
    *ret_end = qn_min_i64(*ret_end, io->keys);
}

int64_t qn_attention_reach(const qn_attention *io, int64_t b, int64_t i, int64_t rows, int64_t key,
                           int64_t count)
{
    int64_t first, end;
    if (!qn_attention_is_cut(io))
        return count;
    qn_attention_block_range(io, b, i, rows, &first, &end);
    int64_t steps = (end - key + QN_ATTENTION_STEP - 1) / QN_ATTENTION_STEP;
    return end > key ? qn_min_i64(steps * QN_ATTENTION_STEP, count) : 0;
}

const float *qn_attention_bias(const qn_attention *io, int64_t b, int64_t h, int64_t i, int64_t key,
                               int64_t count, float row[QN_ATTENTION_KEYS])
{
    int64_t at = b * io->mask_batch + h * io->mask_head + i * io->keys + key;
    if (io->bias && !io->slopes)
        return io->bias + at;
    if (!io->allowed && !io->slopes)
        return NULL;
    int64_t own = i + (io->starts ? io->starts[b] : 0);
    for (int64_t j = 0; j < count; j++) {
        float sum = io->bias                              ? io->bias[at + j]
                    : io->allowed && !io->allowed[at + j] ? -INFINITY
                                                          : 0;
        if (io->slopes)
            sum -= io->slopes[h] * fabsf((float)(own - key - j));
        row[j] = sum;
    }
    return row;
}
