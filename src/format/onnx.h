/*
 * ONNX files: bytes to structs, and back. What the operators mean is model/onnx_import.h's business.
 *
 * Every tensor comes as plain elements of a type that tensors here have: 2- and 4-bit integers and the
 * small floats are unpacked to one byte each (`elem` says what the bytes stand for), data in other files
 * is mapped, typed lists are turned into contiguous elements.
 */
#ifndef QN_FORMAT_ONNX_H
#define QN_FORMAT_ONNX_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/error.h"
#include "base/str.h"
#include "os/file.h"
#include "tensor/tensor.h"

/* Element types by ONNX's numbers: number, name, how a tensor here holds one element, its bits in
 * raw data. Types without storage (strings, complex numbers) are read as absent data. */
#define QN_ONNX_ELEMS(X)                                                                           \
    X(1, FLOAT, F32, 32)                                                                           \
    X(2, UINT8, U8, 8)                                                                             \
    X(3, INT8, I8, 8)                                                                              \
    X(4, UINT16, U16, 16)                                                                          \
    X(5, INT16, I16, 16)                                                                           \
    X(6, INT32, I32, 32)                                                                           \
    X(7, INT64, I64, 64)                                                                           \
    X(9, BOOL, BOOL, 8)                                                                            \
    X(10, FLOAT16, F16, 16)                                                                        \
    X(11, DOUBLE, F64, 64)                                                                         \
    X(12, UINT32, U32, 32)                                                                         \
    X(13, UINT64, U64, 64)                                                                         \
    X(16, BFLOAT16, BF16, 16)                                                                      \
    X(17, FLOAT8E4M3FN, U8, 8)                                                                     \
    X(18, FLOAT8E4M3FNUZ, U8, 8)                                                                   \
    X(19, FLOAT8E5M2, U8, 8)                                                                       \
    X(20, FLOAT8E5M2FNUZ, U8, 8)                                                                   \
    X(21, UINT4, U8, 4)                                                                            \
    X(22, INT4, I8, 4)                                                                             \
    X(23, FLOAT4E2M1, U8, 4)                                                                       \
    X(24, FLOAT8E8M0, U8, 8)                                                                       \
    X(25, UINT2, U8, 2)                                                                            \
    X(26, INT2, I8, 2)
enum {
#define X(number, name, dtype, bits) QN_ONNX_##name = (number),
    QN_ONNX_ELEMS(X)
#undef X
        QN_ONNX_STRING = 8,
    QN_ONNX_ELEM_COUNT = 32
};
const char *qn_onnx_elem_name(int elem);          /* "float16"; "type 99" has no name: "unknown" */
bool qn_onnx_elem_dtype(int elem, qn_dtype *ret); /* false: no tensor here holds it */
int qn_onnx_elem_of(qn_dtype dtype);              /* the plain type that a dtype is */

/* A declared input or output. */
typedef struct {
    const char *name;
    int elem;                  /* 0: not a tensor (a sequence, map or optional), or undeclared */
    int rank;                  /* -1: undeclared */
    int64_t dims[QN_RANK_MAX]; /* -1: see params */
    const char *params[QN_RANK_MAX]; /* name of a symbolic dimension; "" = nameless */
} qn_onnx_info;

typedef struct {
    const char *name;
    int elem;
    qn_tensor tensor; /* data NULL where elements are strings */
} qn_onnx_tensor;

typedef enum {
    QN_ONNX_ATTR_FLOAT = 1,
    QN_ONNX_ATTR_INT = 2,
    QN_ONNX_ATTR_STRING = 3,
    QN_ONNX_ATTR_TENSOR = 4,
    QN_ONNX_ATTR_GRAPH = 5,
    QN_ONNX_ATTR_FLOATS = 6,
    QN_ONNX_ATTR_INTS = 7,
    QN_ONNX_ATTR_STRINGS = 8,
} qn_onnx_attr_kind;
typedef struct {
    const char *name;
    qn_onnx_attr_kind kind; /* kinds that are not in the list are kept as their number */
    float f;
    int64_t i;
    const char *s;
    qn_onnx_tensor tensor;
    int64_t count; /* of the lists */
    const float *floats;
    const int64_t *ints;
    const char *const *strings;
    qn_str graph;    /* the bytes of a graph, for qn_onnx_read_body */
    const char *ref; /* in a function: the attribute of the calling node that is meant; "" = none */
} qn_onnx_attr;

typedef struct {
    const char *op, *domain, *name; /* domain "" = ONNX's own */
    const char *overload;           /* of a function of the file's own */
    const char *const *inputs;      /* "" = left out */
    const char *const *outputs;
    const qn_onnx_attr *attrs;
    int inputs_count, outputs_count, attrs_count;
} qn_onnx_node;

typedef struct {
    const char *domain;
    int64_t version;
} qn_onnx_opset;

/* An operator that the file defines by nodes. */
typedef struct {
    const char *op, *domain, *overload;
    const char *const *inputs;
    const char *const *outputs;
    const qn_onnx_node *nodes;
    const qn_onnx_attr *attrs; /* defaults */
    const qn_onnx_opset *opsets;
    int inputs_count, outputs_count, nodes_count, attrs_count, opsets_count;
} qn_onnx_function;

typedef struct {
    int64_t ir_version;
    const char *producer, *producer_version, *graph_name;
    const qn_onnx_opset *opsets;
    const qn_onnx_node *nodes;
    const qn_onnx_tensor *initializers;
    const qn_onnx_info *inputs, *outputs;
    const qn_onnx_function *functions;
    int functions_count;
    int opsets_count, nodes_count, initializers_count, inputs_count, outputs_count;
    const char *const *meta_keys;
    const char *const *meta_values;
    int meta_count;
    qn_map *maps; /* of files with external data: private */
    int maps_count;
} qn_onnx_model;

/* `bytes` may go afterwards. `folder` is where files of external data are looked for (NULL = there are none):
 * their names must stay inside it. Memory: everything in `arena` but external data, which is mapped until
 * qn_onnx_close. Errors: ERR_DATA names the node or tensor and what is wrong with it; ERR_BUDGET when the
 * file asks for more memory than its size can justify. Threads: any. */
QN_MUST_USE qn_status qn_onnx_read(qn_str bytes, const char *file, const char *folder,
                                   qn_arena *arena, qn_onnx_model *ret, qn_error *err);
void qn_onnx_close(qn_onnx_model *model);
/* The file at `path`, with external data beside it. */
QN_MUST_USE qn_status qn_onnx_open(const char *path, qn_arena *arena, qn_onnx_model *ret,
                                   qn_error *err);
/* The graph in an attribute, as a model without opsets; its tensors lie in the file itself. Whoever follows graphs in
 * graphs bounds the depth. */
QN_MUST_USE qn_status qn_onnx_read_body(const qn_onnx_attr *attr, qn_arena *arena,
                                        qn_onnx_model *ret, qn_error *err);
/* One TensorProto by itself, as ONNX's own test data keep them. */
QN_MUST_USE qn_status qn_onnx_read_tensor(qn_str bytes, const char *file, qn_arena *arena,
                                          qn_onnx_tensor *ret, qn_error *err);

/* The model as a file's bytes; elements as raw data. Errors: ERR_MEMORY; ERR_BUDGET beyond 2 GiB, which a
 * protobuf message cannot pass. */
QN_MUST_USE qn_status qn_onnx_write(qn_buf *dst, const qn_onnx_model *model, qn_error *err);

#endif
