/*
 * What the family files share: reading attributes with defaults, checking types, walking broadcast
 * shapes, and building the usual pieces of a gradient. Not for other folders.
 */
#ifndef QN_GRAPH_OP_COMMON_H
#define QN_GRAPH_OP_COMMON_H

#include "graph/op.h"
#include "graph/op/families.h"

/* Samples are static tables, where compound literals are not constant: these are plain braces. */
#define OP_DIMS(...)                                                                               \
    {                                                                                              \
        (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)),                                 \
        {                                                                                          \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
#define OP_F64(...)                                                                                \
    {                                                                                              \
        QN_DTYPE_F64, OP_DIMS(__VA_ARGS__)                                                         \
    }
#define OP_F32(...)                                                                                \
    {                                                                                              \
        QN_DTYPE_F32, OP_DIMS(__VA_ARGS__)                                                         \
    }
#define OP_I64(...)                                                                                \
    {                                                                                              \
        QN_DTYPE_I64, OP_DIMS(__VA_ARGS__)                                                         \
    }
#define OP_I32(...)                                                                                \
    {                                                                                              \
        QN_DTYPE_I32, OP_DIMS(__VA_ARGS__)                                                         \
    }
#define OP_U8(...)                                                                                 \
    {                                                                                              \
        QN_DTYPE_U8, OP_DIMS(__VA_ARGS__)                                                          \
    }
#define OP_BOOL(...)                                                                               \
    {                                                                                              \
        QN_DTYPE_BOOL, OP_DIMS(__VA_ARGS__)                                                        \
    }
#define OP_F64_SCALAR                                                                              \
    {                                                                                              \
        QN_DTYPE_F64,                                                                              \
        {                                                                                          \
            0,                                                                                     \
            {                                                                                      \
                0                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }
#define OP_I64_SCALAR                                                                              \
    {                                                                                              \
        QN_DTYPE_I64,                                                                              \
        {                                                                                          \
            0,                                                                                     \
            {                                                                                      \
                0                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }
#define OP_ABSENT                                                                                  \
    {                                                                                              \
        QN_DTYPE_F32,                                                                              \
        {                                                                                          \
            -1,                                                                                    \
            {                                                                                      \
                0                                                                                  \
            }                                                                                      \
        }                                                                                          \
    }
#define OP_AI(key, v)                                                                              \
    {                                                                                              \
        .name = (key), .kind = QN_ATTR_INT, .i = (v)                                               \
    }
#define OP_AF(key, v)                                                                              \
    {                                                                                              \
        .name = (key), .kind = QN_ATTR_FLOAT, .f = (v)                                             \
    }
#define OP_AS(key, v)                                                                              \
    {                                                                                              \
        .name = (key), .kind = QN_ATTR_STRING, .s = (v)                                            \
    }
#define OP_AINTS(key, ...)                                                                         \
    {                                                                                              \
        .name = (key), .kind = QN_ATTR_INTS,                                                       \
        .count = (int)(sizeof((int64_t[]){__VA_ARGS__}) / sizeof(int64_t)), .ints = {              \
            __VA_ARGS__                                                                            \
        }                                                                                          \
    }
/* For attributes that name an element type. */
#define OP_DTYPE_CHOICES "f32 f64 f16 bf16 i64 i32 i16 i8 u64 u32 u16 u8 bool"
#define OP_SAMPLES(table)                                                                          \
    .samples = (table), .samples_count = (int)(sizeof(table) / sizeof((table)[0]))
#define OP_NODE_ATTRS(table) (table), (int)(sizeof(table) / sizeof((table)[0]))

/* Calls name_f64 or name_f32, both made by including a typed body (typed.h). */
#define OP_FLOAT_CALL(dtype, name, ...)                                                            \
    ((dtype) == QN_DTYPE_F64 ? name##_f64(__VA_ARGS__) : name##_f32(__VA_ARGS__))

/* The attribute's list as exactly `count` numbers, `fallback` each when it was left out. */
QN_MUST_USE qn_status qn_op_ints(const qn_op_types *types, const char *name, int count,
                                 int64_t fallback, int64_t *ret, qn_error *err);
/* Which axes the attribute names (negative from the end; none = all), as flags. */
QN_MUST_USE qn_status qn_op_axes(const qn_op_types *types, const char *name, int rank,
                                 bool ret_axes[QN_RANK_MAX], qn_error *err);
/* The attribute `axis` in [0, rank). */
int qn_op_axis_of(const qn_op_types *types,
                  int rank); /* in ref and vjp, where infer has checked it */
QN_MUST_USE qn_status qn_op_axis(const qn_op_types *types, int rank, int *ret, qn_error *err);

/* Checks of infer. They name the input by position and say what came. */
QN_MUST_USE qn_status qn_op_want_float(const qn_op_types *types, int input, qn_error *err);
QN_MUST_USE qn_status qn_op_want_dtype(const qn_op_types *types, int input, qn_dtype dtype,
                                       qn_error *err);
QN_MUST_USE qn_status qn_op_want_rank(const qn_op_types *types, int input, int rank, qn_error *err);
QN_MUST_USE qn_status qn_op_want_shape(const qn_op_types *types, int input, const qn_shape *shape,
                                       qn_error *err);
QN_MUST_USE qn_status qn_op_want_like(const qn_op_types *types, int input, int like, qn_error *err);
QN_MUST_USE qn_status qn_op_want_scalar(const qn_op_types *types, int input, qn_dtype dtype,
                                        qn_error *err);
/* Kinds of element types, for rows that take more than f32 and f64. */
enum {
    OP_KIND_FLOAT = 1, /* f16 and bf16 too */
    OP_KIND_SIGNED = 2,
    OP_KIND_UNSIGNED = 4,
    OP_KIND_BOOL = 8,
    OP_KIND_INTEGER = OP_KIND_SIGNED | OP_KIND_UNSIGNED,
    OP_KIND_NUMBER = OP_KIND_FLOAT | OP_KIND_INTEGER,
    OP_KIND_ANY = OP_KIND_NUMBER | OP_KIND_BOOL,
};
QN_MUST_USE qn_status qn_op_want_kind(const qn_op_types *types, int input, int kinds,
                                      qn_error *err);
/* An index: i32 or i64. */
QN_MUST_USE qn_status qn_op_want_index(const qn_op_types *types, int input, qn_error *err);
bool qn_op_has(const qn_op_types *types, int input);  /* given, not left out */
bool qn_op_vjp_wants(const qn_op_vjp *in, int input); /* given and of a float type */

/* Infer of elementwise rows: every input of input 0's float type and shape, all outputs the same. */
QN_MUST_USE qn_status qn_op_infer_same(const qn_op_types *types, qn_type *ret_outputs,
                                       qn_error *err);

/* The common shape of all inputs under broadcasting. */
QN_MUST_USE qn_status qn_op_broadcast_all(const qn_op_types *types, qn_shape *ret, qn_error *err);

/* Walking: strides[d] in elements of `shape`, contiguous, seen under `as` by broadcasting (0 there). */
void qn_op_strides(const qn_shape *shape, const qn_shape *as, int64_t strides[QN_RANK_MAX]);
/* Offset of the flat-th index of `shape` under `strides`. */
int64_t qn_op_offset(const qn_shape *shape, const int64_t *strides, int64_t flat);

/* Lines along one axis: `count` elements, `inner` apart; there are outer * inner of them. */
typedef struct {
    int64_t outer, count, inner;
} qn_op_lines;
qn_op_lines qn_op_lines_of(const qn_shape *shape, int axis);
int64_t qn_op_line_at(const qn_op_lines *lines, int64_t line); /* where a line begins */

/* Pieces of gradients. */
qn_dtype qn_op_vjp_dtype(const qn_op_vjp *in, int input);
qn_value qn_op_scale(const qn_op_vjp *in, qn_value x, double factor); /* x * factor */
qn_value qn_op_shift(const qn_op_vjp *in, qn_value x, double term);   /* x + term */
qn_value qn_op_mul(const qn_op_vjp *in, qn_value a, qn_value b);
qn_value qn_op_div(const qn_op_vjp *in, qn_value a, qn_value b);
qn_value qn_op_pick(const qn_op_vjp *in, qn_value condition, qn_value yes, qn_value no); /* Where */
/* Sums `grad` over the dimensions along which a value of type `target` was broadcast. */
qn_value qn_op_reduce_to(qn_graph *graph, qn_value grad, const qn_type *target);
/* Broadcasts `x` to `shape`, which may be symbolic. */
qn_value qn_op_expand(qn_graph *graph, qn_value x, const qn_shape *shape);
/* x[start, end) along one axis. */
qn_value qn_op_slice(qn_graph *graph, qn_value x, int axis, int64_t start, int64_t end);
/* A node with the attributes of the node being differentiated (the rows share one list). */
qn_value qn_op_like_node(const qn_op_vjp *in, const char *op, const qn_value *inputs, int count);

/*
 * Activations that a row may fuse behind itself (Gemm, Conv): attributes `activation` and `alpha`.
 */
#define OP_ACTIVATION_CHOICES "none relu leaky_relu sigmoid tanh gelu gelu_tanh silu"
#define OP_ACTIVATION_ATTRS                                                                        \
    {.name = "activation", .kind = QN_ATTR_STRING, .choices = OP_ACTIVATION_CHOICES},              \
    {                                                                                              \
        .name = "slope", .kind = QN_ATTR_FLOAT, .value = 0.01                                      \
    }
double qn_op_activate(const char *activation, double slope, double x);
/* The gradient before the fused activation, from dy and the row's output. An activation whose
 * derivative needs its input has the node rebuilt without it. */
qn_value qn_op_activation_vjp(const qn_op_vjp *in);

/* The attribute "shape": of an input that a gradient gives back. */
qn_shape qn_op_attr_shape(const qn_op_types *types);

#endif
