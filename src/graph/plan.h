/*
 * A plan: an immutable flat list of bound kernel calls over one arena, made from a graph, concrete
 * sizes and a state. Folding, sharing, dead code, fusion, liveness and memory are settled here;
 * running does no allocation and makes no decision.
 */
#ifndef QN_GRAPH_PLAN_H
#define QN_GRAPH_PLAN_H

#include <stdint.h>

#include "base/buf.h"
#include "base/error.h"
#include "graph/graph.h"
#include "graph/state.h"
#include "os/pool.h"

typedef struct qn_plan qn_plan;

typedef struct {
    int64_t batch;  /* what QN_DIM_BATCH stands for */
    int64_t time;   /* what QN_DIM_TIME stands for; 0 = none */
    uint64_t seed;  /* random ops */
    qn_pool *pool;  /* may be NULL: serial */
    bool reference; /* use op references only: tests */
    bool training;  /* random ops and batch norm behave as in training */
    bool bf16;      /* products read their factors from bf16; sums and all else are f32 */
    /* States keep the values they have now for as long as the plan lives, and nothing is assigned:
     * what depends on them alone is computed once, while the plan is made, batch norm goes into the
     * convolution before it, and kernels may keep weights in their own order. */
    bool frozen;
    int64_t memory_max; /* 0 = none; ERR_BUDGET says what the plan would need */
    /* Uses the memory of this plan where it is large enough: another batch size of the same graph, which
     * never runs at the same time and lives longer. NULL = its own. */
    const qn_plan *memory_of;
    /* Scalar outputs (loss, gradient norm) that must be finite before any state is changed:
     * otherwise the run ends there, qn_plan_stopped says so and the states are as they were before
     * the run. */
    const char *const *guards;
    int guards_count;
    const char *const *
        outputs; /* only these outputs (and what they need) are computed; NULL = all plus assigns */
    int outputs_count;
} qn_plan_options;

/* Units: bytes. Memory: the plan owns its arena; graph may be destroyed afterwards, state may not.
 */
QN_MUST_USE qn_status qn_plan_create(const qn_graph *graph, qn_state *state,
                                     const qn_plan_options *options, qn_plan **ret, qn_error *err);
void qn_plan_destroy(qn_plan *plan);

/* Views into the arena by name: fill inputs before a run, read outputs after it (valid until the
 * next). NULL = no such name. Find once, use every step. */
const qn_tensor *qn_plan_input(const qn_plan *plan, const char *name);
const qn_tensor *qn_plan_output(const qn_plan *plan, const char *name);
/* Inputs may instead point at caller's memory of the same type (contiguous), for as long as the
 * runs last. */
QN_MUST_USE qn_status qn_plan_bind(qn_plan *plan, const char *name, const void *data,
                                   qn_error *err);

/* `step` keys the random ops. Threads: one at a time per plan. Cannot fail: all was settled at
 * creation. */
void qn_plan_run(qn_plan *plan, uint32_t step);

/* The last run found a guard that was not finite and left all states alone. */
bool qn_plan_stopped(const qn_plan *plan);

/* After a run that stopped: where the first NaN or infinity is, as text: "input x", "Conv layers[0]
 * conv2d" (the node that made it), or the node and ", in parameters left by an earlier update".
 * Re-runs node by node on the same inputs and step, without assigns. False = all finite. */
bool qn_plan_find_nonfinite(qn_plan *plan, uint32_t step, char *dst, int size);

/* What the plan holds: its memory, unless that is another plan's, what kernels keep, and its tables. */
int64_t qn_plan_bytes(const qn_plan *plan);
int64_t qn_plan_flops(const qn_plan *plan); /* estimate per run */
int qn_plan_calls(const qn_plan *plan);
/* For people: nodes, shapes, bytes, kernel chosen, one line a call. */
void qn_plan_print(const qn_plan *plan, qn_buf *dst);

#endif
