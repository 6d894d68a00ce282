/*
 * Sampling and beam search (sample.h).
 */
#include "nn/sample.h"

#include <math.h>
#include <string.h>

/* A heap whose root is the likeliest choice, of equals the first token: k of V are found in V + k log V. */

static bool is_before(const qn_nn_choice *a, const qn_nn_choice *b)
{
    return a->weight > b->weight || (a->weight >= b->weight && a->token < b->token);
}

static void sink(qn_nn_choice *heap, int64_t count, int64_t at)
{
    for (int64_t child = 2 * at + 1; child < count; child = 2 * at + 1) {
        if (child + 1 < count && is_before(&heap[child + 1], &heap[child]))
            child++;
        if (!is_before(&heap[child], &heap[at]))
            return;
        qn_nn_choice moved = heap[at];
        heap[at] = heap[child];
        heap[child] = moved;
        at = child;
    }
}

/* Moves the likeliest choices to the end, likeliest last, until k of them or a share p of `total`. Returns their count. */
static int64_t select_top(qn_nn_choice *heap, int64_t count, int64_t k, double p, double total)
{
    int64_t taken = 0;
    double sum = 0;
    while (taken < k && (taken == 0 || sum < p * total)) {
        qn_nn_choice top = heap[0];
        int64_t left = count - ++taken;
        heap[0] = heap[left];
        heap[left] = top;
        sum += top.weight;
        sink(heap, left, 0);
    }
    return taken;
}

static int64_t argmax(const float *scores, int64_t count)
{
    int64_t best = 0;
    for (int64_t i = 1; i < count; i++)
        if (scores[i] > scores[best])
            best = i;
    return best;
}

static double weigh(const float *scores, int64_t count, double temperature, qn_nn_choice *dst)
{
    double top = (double)scores[argmax(scores, count)], total = 0;
    for (int64_t i = 0; i < count; i++) {
        dst[i] = (qn_nn_choice){exp(((double)scores[i] - top) / temperature), i};
        total += dst[i].weight;
    }
    return total;
}

static double sum_of(const qn_nn_choice *choices, int64_t count)
{
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += choices[i].weight;
    return sum;
}

/* How many from the end, where the likeliest are, reach `share`. */
static int64_t nucleus_of(const qn_nn_choice *choices, int64_t count, double share)
{
    int64_t kept = 1;
    double sum = choices[count - 1].weight;
    while (kept < count && sum < share)
        sum += choices[count - ++kept].weight;
    return kept;
}

int64_t qn_nn_sample(const float *scores, int64_t count, const qn_nn_sampling *how, double uniform,
                     qn_nn_choice *scratch)
{
    if (!(how->temperature > 0))
        return argmax(scores, count);
    double total = weigh(scores, count, how->temperature, scratch);
    int64_t k = how->top_k > 0 && how->top_k < count ? how->top_k : count;
    bool nucleus = how->top_p > 0 && how->top_p < 1;
    qn_nn_choice *from = scratch;
    if (k < count || nucleus) {
        for (int64_t at = count / 2 - 1; at >= 0; at--)
            sink(scratch, count, at);
        double share = nucleus && k == count ? how->top_p : HUGE_VAL;
        int64_t taken = select_top(scratch, count, k, share, total);
        from = scratch + count - taken;
        bool cut = nucleus && k < count;
        count = taken;
        total = sum_of(from, count);
        if (cut) {
            int64_t kept = nucleus_of(from, count, how->top_p * total);
            from += count - kept;
            count = kept;
            total = sum_of(from, count);
        }
    }
    double place = uniform * total;
    for (int64_t i = 0; i + 1 < count; i++) {
        if (place < from[i].weight)
            return from[i].token;
        place -= from[i].weight;
    }
    return from[count - 1].token;
}

void qn_nn_log_softmax(double *dst, const float *scores, int64_t count)
{
    double top = (double)scores[argmax(scores, count)], sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += exp((double)scores[i] - top);
    double log_sum = top + log(sum);
    for (int64_t i = 0; i < count; i++)
        dst[i] = (double)scores[i] - log_sum;
}

/* Beams. */

typedef struct qn_nn_beam_candidate {
    double sum;
    int64_t parent, token;
} candidate;

static qn_nn_beam_path *new_paths(qn_arena *arena, const qn_nn_beam_options *o)
{
    qn_nn_beam_path *paths = QN_NEW(arena, qn_nn_beam_path, o->beams);
    int64_t *tokens = QN_NEW(arena, int64_t, o->beams * o->steps_max);
    for (int64_t i = 0; paths && tokens && i < o->beams; i++)
        paths[i].tokens = tokens + i * o->steps_max;
    return tokens ? paths : NULL;
}

qn_status qn_nn_beam_init(qn_nn_beam *beam, const qn_nn_beam_options *options, qn_arena *arena,
                          qn_error *err)
{
    if (options->beams < 1 || options->beams > 1024 || options->steps_max < 1)
        QN_FAIL(err, QN_ERR_ARG, "%lld beams of %lld tokens; 1 to 1024 beams, 1 token or more",
                (long long)options->beams, (long long)options->steps_max);
    *beam = (qn_nn_beam){.options = *options, .open_count = 1};
    beam->open = new_paths(arena, options);
    beam->next = new_paths(arena, options);
    beam->done = new_paths(arena, options);
    beam->logs = QN_NEW(arena, double, options->vocab);
    beam->candidates = QN_NEW(arena, candidate, 2 * options->beams);
    if (!beam->open || !beam->next || !beam->done || !beam->logs || !beam->candidates)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory for %lld beams", (long long)options->beams);
    return QN_OK;
}

/* Keeps the 2 beams best, best first; of equals what came first. Half of them can at most be stop tokens. */
static int64_t gather(qn_nn_beam *beam, const float *scores)
{
    const qn_nn_beam_options *o = &beam->options;
    int64_t count = 0, most = 2 * o->beams;
    for (int64_t at = 0; at < beam->open_count * o->vocab; at++) {
        int64_t parent = at / o->vocab, token = at % o->vocab;
        if (token == 0)
            qn_nn_log_softmax(beam->logs, scores + parent * o->vocab, o->vocab);
        candidate own = {beam->open[parent].sum + beam->logs[token], parent, token};
        if (count == most && !(own.sum > beam->candidates[most - 1].sum))
            continue;
        int64_t to = count < most ? count++ : most - 1;
        for (; to > 0 && own.sum > beam->candidates[to - 1].sum; to--)
            beam->candidates[to] = beam->candidates[to - 1];
        beam->candidates[to] = own;
    }
    return count;
}

static void extend(const qn_nn_beam *beam, qn_nn_beam_path *dst, const candidate *from)
{
    const qn_nn_beam_path *parent = &beam->open[from->parent];
    memcpy(dst->tokens, parent->tokens, (size_t)parent->length * sizeof *dst->tokens);
    dst->tokens[parent->length] = from->token;
    dst->length = parent->length + 1;
    dst->sum = from->sum;
    dst->score = from->sum / pow((double)dst->length, beam->options.length_penalty);
}

/* Into `done`, if it is among the best. */
static void finish(qn_nn_beam *beam, const candidate *from)
{
    double length = (double)beam->open[from->parent].length + 1;
    double own = from->sum / pow(length, beam->options.length_penalty);
    int64_t most = beam->options.beams;
    if (beam->done_count == most && !(own > beam->done[most - 1].score))
        return;
    int64_t to = beam->done_count < most ? beam->done_count++ : most - 1;
    qn_nn_beam_path path = beam->done[to];
    for (; to > 0 && own > beam->done[to - 1].score; to--)
        beam->done[to] = beam->done[to - 1];
    extend(beam, &path, from);
    beam->done[to] = path;
}

/* Whether an open path can still pass the worst done one: its sum only falls, its length may reach the last step. */
static bool may_improve(const qn_nn_beam *beam)
{
    const qn_nn_beam_options *o = &beam->options;
    if (beam->done_count < o->beams)
        return true;
    double sum = beam->open[0].sum;
    double length = o->length_penalty > 0 ? (double)o->steps_max : (double)beam->step + 1;
    return sum / pow(length, o->length_penalty) > beam->done[o->beams - 1].score;
}

bool qn_nn_beam_step(qn_nn_beam *beam, const float *scores, int64_t *ret_parents,
                     int64_t *ret_tokens)
{
    const qn_nn_beam_options *o = &beam->options;
    int64_t found = gather(beam, scores), opened = 0;
    bool last = ++beam->step >= o->steps_max;
    for (int64_t i = 0; i < found; i++) {
        const candidate *own = &beam->candidates[i];
        if (own->token == o->stop || last) {
            finish(beam, own);
        } else if (opened < o->beams) {
            ret_parents[opened] = own->parent;
            ret_tokens[opened] = own->token;
            extend(beam, &beam->next[opened++], own);
        }
    }
    qn_nn_beam_path *spent = beam->open;
    beam->open = beam->next;
    beam->next = spent;
    beam->open_count = opened;
    for (int64_t i = opened; opened > 0 && i < o->beams; i++) {
        ret_parents[i] = ret_parents[0];
        ret_tokens[i] = ret_tokens[0];
    }
    return !last && opened > 0 && may_improve(beam);
}
