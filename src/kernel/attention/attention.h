/*
 * Attention, f32: y = softmax(scale q k' + mask) v for every head, one block of keys at a time.
 *
 * Memory does not grow with queries x keys: a block of scores lives in scratch, the softmax is
 * corrected as larger scores come (Milakov and Gimelshein 2018; Dao et al. 2022), and the backward
 * computes the scores again from the kept log-sum-exp.
 */
#ifndef QN_KERNEL_ATTENTION_H
#define QN_KERNEL_ATTENTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "kernel/gemm/pairs.h"
#include "os/pool.h"

/*
 * Shapes: q [batch, queries, heads, dim], k [batch, keys, kv_heads, dim], v [batch, keys, kv_heads,
 * value_dim], y [batch, queries, heads, value_dim], all contiguous. heads is a multiple of kv_heads;
 * head h attends to kv head h * kv_heads / heads.
 * Which keys a query i sees: those below lengths[b] (NULL: all); up to i when causal; less than
 * `window` places away when window > 0; and those the mask allows. A query that sees none gives 0.
 * Mask: bias (added to the scores) or allowed (0 = hidden), rows of `keys` for each query, steps in
 * elements between batches and heads (0 = the same for all).
 * softcap > 0: scores become softcap * tanh(score / softcap) before the mask.
 * starts: query i of row b stands at position starts[b] + i among the keys (NULL: at i).
 * slopes: head h subtracts slopes[h] times the distance from each score (NULL: none).
 * pairs: not NULL, products read their factors (q, k, v, dy, and the weights and slopes between) as bf16, pairs of it
 * (qn_pairs), and sum in f32; softmax and results are f32. halves: which of q, k, v and dy are bf16 in memory then, their
 * pointers notwithstanding (QN_ATTENTION_Q, ...); the others are rounded as they are packed.
 */
typedef struct {
    int64_t batch, heads, kv_heads, queries, keys, dim, value_dim;
    const float *q, *k, *v;
    float scale, softcap;
    bool causal;
    int64_t window;
    const int64_t *lengths, *starts;
    const float *slopes;
    const float *bias;
    const uint8_t *allowed;
    int64_t mask_batch, mask_head;
    const qn_pairs_kernels *pairs;
    unsigned halves;
} qn_attention;

enum { QN_ATTENTION_Q = 1, QN_ATTENTION_K = 2, QN_ATTENTION_V = 4, QN_ATTENTION_DY = 8 };

/* y and lse [batch, heads, queries] (-inf where a query sees no key; may be NULL).
 * Accuracy: as a softmax in f32: relative to sum |p v|, about (dim + keys) eps; of pairs: 2^-8 for each rounded factor. */
size_t qn_attention_scratch_bytes(const qn_attention *io, int threads);
void qn_attention_f32(qn_pool *pool, const qn_attention *io, float *y, float *lse, void *scratch);

/* Gradients from dy, y and lse. A batch's kv head is one piece of work, so sums run in one order. */
typedef struct {
    const float *dy, *y, *lse;
    float *dq, *dk, *dv;
} qn_attention_grad;
size_t qn_attention_grad_scratch_bytes(const qn_attention *io, int threads);
void qn_attention_grad_f32(qn_pool *pool, const qn_attention *io, const qn_attention_grad *grad,
                           void *scratch);

#endif
