/*
 * What a plan is made of, for the files that make it:
 *
 *     plan.c         options -> passes -> layout -> steps -> plan; running
 *     plan_layout.c  order of nodes, which values share memory, where buffers lie
 *     plan_steps.c   nodes with their tensors, joined where they are neighbours, bound to kernels
 *     plan_print.c   for people, and the search for the first NaN
 */
#ifndef QN_GRAPH_PLAN_PRIV_H
#define QN_GRAPH_PLAN_PRIV_H

#include "graph/bind/bind.h"
#include "graph/graph_priv.h"
#include "graph/plan.h"

enum { QN_PLAN_ALIGNMENT = 64 };

/*
 * Layout: every value has a buffer; values share one by being views of each other or by running in place.
 */
typedef enum {
    QN_BUFFER_ARENA, /* placed by liveness */
    QN_BUFFER_FLAT,  /* a gradient, laid out like the parameters: at `offset` of the flat range */
    QN_BUFFER_INPUT, /* whole run; may be rebound to the caller's memory */
    QN_BUFFER_STATE,
    QN_BUFFER_CONST,
} qn_buffer_kind;

typedef struct {
    qn_buffer_kind kind;
    qn_value value; /* the value that gave it: input, state, constant or the first written */
    size_t bytes;
    int first, last; /* positions in the order, inclusive: while the contents matter */
    size_t offset;   /* in the plan's memory: ARENA, FLAT, INPUT */
    bool fixed;      /* holds the same from the making of the plan on */
} qn_plan_buffer;

typedef struct {
    const qn_graph *graph;
    const qn_state *state;
    int *
        order; /* node indices; the first main_count run before any state is written, and of those the
                   first once_count only while the plan is made */
    int once_count, main_count, order_count;
    int *buffer_of; /* by value */
    bool *direct;   /* by assignment: the node writes the state itself */
    int *copy_of;   /* by value: the buffer that keeps it although its state changes, or -1 */
    int *uses;      /* by value */
    qn_plan_buffer *buffers;
    int buffers_count;
    size_t flat_bytes; /* the flat range stands first */
    size_t bytes;      /* flat range, inputs and arena together */
} qn_layout;

/* All tables lie in `arena`. */
QN_MUST_USE qn_status qn_layout_make(const qn_graph *graph, const qn_state *state,
                                     const qn_plan_options *options, qn_arena *arena,
                                     qn_layout *ret, qn_error *err);

enum { QN_SOURCE_PLAN = -1, QN_SOURCE_STATE = -2 }; /* of memory that is no plan input */

/*
 * Steps: what runs, with its tensors. Kept for printing, rebinding and the search for a NaN.
 */
typedef struct {
    qn_op_types types; /* deep */
    const char *scope;
    qn_tensor *inputs, *outputs;
    bool *wanted;       /* by output: something reads it */
    bool *fixed;        /* by input: it never changes */
    int *input_sources; /* by input: which plan input its memory is, or a QN_SOURCE */
    uint32_t stream;
    bool narrow; /* see qn_node */
    size_t scratch_bytes;
    int joined; /* how many nodes this stands for */
    qn_bound bound;
} qn_plan_step;

typedef struct {
    const char *name;
    qn_tensor tensor;
    int source; /* outputs: the plan input that it shows, or a QN_SOURCE */
} qn_plan_name;

struct qn_plan {
    qn_arena arena;
    qn_call *calls; /* once_count that ran already, up to main_count, then the tail */
    qn_plan_step *steps;
    int once_count, main_count, calls_count;
    qn_plan_name *inputs, *outputs;
    int inputs_count, outputs_count;
    const qn_tensor **guards;
    int guards_count;
    bool stopped;
    char *memory;  /* buffers, then scratch */
    bool borrowed; /* it is another plan's */
    size_t memory_bytes, buffers_bytes, scratch_bytes;
    qn_bind_context context;
};

/* First without addresses, to learn how much scratch the bindings want (buffers_bytes, scratch_bytes); then, with
 * plan->memory in place, for good. */
QN_MUST_USE qn_status qn_steps_measure(qn_plan *plan, const qn_layout *layout, qn_error *err);
QN_MUST_USE qn_status qn_steps_make(qn_plan *plan, const qn_layout *layout, qn_error *err);
/* Binds step `index` (again) to its kernel. */
QN_MUST_USE qn_status qn_step_bind(qn_plan *plan, int index, qn_error *err);
/* Bytes that a step reads and writes, and its estimate of work. */
int64_t qn_step_bytes(const qn_plan_step *step);
int64_t qn_step_flops(const qn_plan_step *step);

#endif
