/*
 * Binding: from an op with concrete tensors to one kernel call. One file per family; an op (or a case of it)
 * that no file binds runs its row's reference.
 *
 * A bound call is a function, a pointer to its arguments in plan memory and the pool it may use: running one costs an
 * indirect call. Binding again (after an input moved) writes the same arguments anew and allocates nothing.
 */
#ifndef QN_GRAPH_BIND_BIND_H
#define QN_GRAPH_BIND_BIND_H

#include "base/arena.h"
#include "graph/op.h"
#include "kernel/act.h"
#include "os/pool.h"

typedef void (*qn_call_fn)(const void *args, qn_pool *pool, uint32_t step);
typedef struct {
    qn_call_fn fn;
    const void *args;
    qn_pool *pool; /* NULL = too little work to wake anybody */
} qn_call;

/* The same for all calls of a plan. */
typedef struct {
    qn_pool *pool;
    int threads;
    uint64_t seed;
    bool training;
    bool reference;
    qn_arena *arena;  /* of the plan: arguments */
    const void *flat; /* the range of gradients that mirrors the parameters: zeros between them */
    size_t flat_bytes;
} qn_bind_context;

/* What became of a step. */
typedef struct {
    qn_call_fn fn;
    void *args;
    size_t args_bytes;
    void *kept;         /* what the kernel keeps of fixed inputs, in its own order */
    const char *kernel; /* for people */
    bool failed;        /* memory was short: no other way of running the step is tried */
} qn_bound;

typedef struct {
    const qn_bind_context *context;
    const qn_op_types *types;
    const qn_tensor *inputs; /* data NULL = absent */
    const qn_tensor
        *outputs; /* an output may have the address of an input where the op's flags allow it */
    const bool *wanted; /* by output: something reads it */
    const bool *fixed;  /* by input: it holds now what it will hold in every run */
    bool narrow;   /* the factors (qn_op.factors) are read as bf16, whether stored so or in f32 */
    void *scratch; /* 64-byte aligned, as large as was asked for */
    uint32_t stream;
    qn_bound *bound;
} qn_bind;

/* Zeroed memory for the arguments, the same block when bound again; NULL = memory is short. */
void *qn_bind_args(const qn_bind *bind, size_t size);
/* Memory for what the kernel keeps of fixed inputs in its own order, the same block when bound again; *ret_fresh: it is
 * to be filled. NULL = memory is short. */
void *qn_bind_keep(const qn_bind *bind, size_t bytes, bool *ret_fresh);
/* Sets the call; returns true. */
bool qn_bind_to(const qn_bind *bind, qn_call_fn fn, const char *kernel);

/* One op's binding. `bind` false: this case has no kernel. `scratch_bytes` may be NULL; tensors have no data then. Of a row
 * with spare outputs it gives what the reference wants for a case without kernel. */
typedef struct {
    const char *op;
    bool (*bind)(const qn_bind *bind);
    size_t (*scratch_bytes)(const qn_bind *bind);
} qn_binding;

/* Finds the binding of an op; NULL = none. */
const qn_binding *qn_binding_find(const char *op);
/* The row's reference; false = memory is short. */
bool qn_bind_reference(const qn_bind *bind);
/* What the reference wants: outputs that have no memory (qn_op.spare). */
size_t qn_bind_reference_scratch_bytes(const qn_bind *bind);
/* What the binding wants, or the reference where there is none. */
size_t qn_bind_scratch_bytes(const qn_bind *bind, const qn_binding *binding);

/* A narrow step. Whether its own kernel reads the factors as they are stored: */
bool qn_bind_takes_bf16(const qn_bind *bind);
/* Otherwise they are rounded or widened into scratch before its f32 binding (NULL: the row's reference); false = memory is short. */
bool qn_bind_widened(const qn_bind *bind, const qn_binding *binding);
size_t qn_bind_widened_scratch_bytes(const qn_bind *bind, const qn_binding *binding);
/* MatMul, Gemm, MatMulGradWeight: qn_bind_takes_bf16 of the family. */
bool qn_bind_product_takes_bf16(const qn_bind *bind);
/* The same of attention, convolutions and their gradients. */
bool qn_bind_attention_takes_bf16(const qn_bind *bind);
bool qn_bind_conv_takes_bf16(const qn_bind *bind);
/* Of recurrent rows, which round factors of f32 as they pack them. */
bool qn_bind_recurrent_takes_bf16(const qn_bind *bind);

/* Whether all present inputs and outputs are f32. */
bool qn_bind_all_f32(const qn_bind *bind);
int64_t qn_bind_count(const qn_tensor *tensor);

/* The fused activation of Gemm and Conv; false = unknown. */
bool qn_bind_activation(const qn_bind *bind, qn_act *ret, float *ret_slope);

/* Families: tables ended by a NULL op. */
extern const qn_binding qn_bindings_conv[];
extern const qn_binding qn_bindings_elementwise[];
extern const qn_binding qn_bindings_index[];
extern const qn_binding qn_bindings_layer_norm[];
extern const qn_binding qn_bindings_attention[];
extern const qn_binding qn_bindings_position[];
extern const qn_binding qn_bindings_ctc[];
extern const qn_binding qn_bindings_loss[];
extern const qn_binding qn_bindings_matmul[];
extern const qn_binding qn_bindings_move[];
extern const qn_binding qn_bindings_norm[];
extern const qn_binding qn_bindings_optim[];
extern const qn_binding qn_bindings_pool[];
extern const qn_binding qn_bindings_random[];
extern const qn_binding qn_bindings_reduce[];
extern const qn_binding qn_bindings_resize[];
extern const qn_binding qn_bindings_rnn[];
extern const qn_binding qn_bindings_softmax[];
extern const qn_binding qn_bindings_update[];

#endif
