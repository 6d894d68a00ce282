/*
 * The Open Inference Protocol between its two encodings (JSON with binary tensors, protobuf) and an inference: what
 * both decode into, how that becomes rows or tensors, and what both encode from.
 */
#ifndef QN_SERVE_OIP_H
#define QN_SERVE_OIP_H

#include "serve_priv.h"

/* A named tensor of a request or an answer. */
typedef struct {
    qn_str name;
    bool strings; /* datatype BYTES: `texts`; otherwise `data` of `dtype` */
    qn_dtype dtype;
    qn_shape shape;
    int64_t count; /* elements */
    const void *data;
    const qn_str *texts;
    bool binary; /* answers: not as JSON */
} qn_oip_tensor;

typedef struct {
    qn_str name;
    bool binary;
} qn_oip_wanted;

typedef struct {
    qn_str id;
    qn_str signature; /* parameter "signature"; empty = the model's own terms */
    qn_oip_tensor *inputs;
    int64_t inputs_count;
    qn_oip_wanted *wanted; /* none = all outputs */
    int64_t wanted_count;
    bool binary; /* outputs that do not say otherwise: as binary (JSON), raw (gRPC) */
} qn_oip_request;

/* "FP32" -> dtype, "BYTES" -> *ret_strings. Errors: ERR_ARG names the input and the datatypes there are. */
QN_MUST_USE qn_status qn_oip_datatype(qn_str input, qn_str datatype, qn_dtype *ret,
                                      bool *ret_strings, qn_error *err);
const char *qn_oip_datatype_name(const qn_oip_tensor *tensor);
/* Checks a shape from outside and counts its elements. */
QN_MUST_USE qn_status qn_oip_shape(qn_str input, const int64_t *dims, int64_t rank, qn_shape *ret,
                                   int64_t *ret_count, qn_error *err);
/* Little-endian elements, or strings with 4-byte lengths, that must fill `bytes` exactly. */
QN_MUST_USE qn_status qn_oip_read_raw(qn_oip_tensor *tensor, qn_str bytes, qn_arena *arena,
                                      qn_error *err);

/* The body of POST .../infer. header_size: of Inference-Header-Content-Length, -1 = absent. */
QN_MUST_USE qn_status qn_oip_read_json(qn_str body, int64_t header_size,
                                       const qn_signature *signature, const qn_serve_limits *limits,
                                       qn_arena *arena, qn_oip_request *ret, qn_error *err);
/* A ModelInferRequest; model name and version are given back for the lookup. */
typedef struct Inference__ModelInferRequest qn_oip_message;
QN_MUST_USE qn_status qn_oip_read_message(const qn_oip_message *message,
                                          const qn_serve_limits *limits, qn_arena *arena,
                                          qn_oip_request *ret, qn_error *err);

/* The terms a request speaks in. Errors: ERR_ARG for a signature that does not exist. */
QN_MUST_USE qn_status qn_signature_choose(qn_str asked, const qn_signature *signature,
                                          bool *ret_tensors, qn_error *err);
/* Fills frame or inputs, and rows, of `infer` (served, arena and ignore_unknown are set). */
QN_MUST_USE qn_status qn_oip_bind(const qn_oip_request *request, bool ignore_unknown,
                                  const qn_serve_limits *limits, qn_infer *infer, qn_error *err);
/* The answer's tensors in the order asked for. */
QN_MUST_USE qn_status qn_oip_results(const qn_oip_request *request, const qn_infer *infer,
                                     qn_oip_tensor **ret, int64_t *ret_count, qn_error *err);

/* What the metadata says of raw columns and tensors. */
typedef struct {
    const char *name, *datatype;
    qn_shape shape; /* -1 = any */
} qn_oip_spec;
void qn_oip_column_spec(const qn_raw_input *column, qn_arena *arena, qn_oip_spec *ret);
/* Inputs and outputs of a signature as the protocol names them. NULL = memory. */
qn_oip_spec *qn_oip_inputs(const qn_signature *signature, bool tensors, qn_arena *arena,
                           int64_t *ret_count);
qn_oip_spec *qn_oip_outputs(const qn_signature *signature, bool tensors, qn_arena *arena,
                            int64_t *ret_count);
bool qn_signature_has_rows(const qn_signature *signature);

/* ---- nested JSON arrays as tensors (json_tensor.c) ---- */

/* The shape that the nesting gives. Errors: ERR_ARG for ragged or too deep arrays. */
QN_MUST_USE qn_status qn_json_tensor_shape(const qn_json *value, const char *name, qn_shape *ret,
                                           qn_error *err);
/* Elements in all. */
int64_t qn_json_tensor_count(const qn_json *value);
/* Every element, in order, converted to `dtype` with a range check. dst has room for `count`, which is
 * qn_json_tensor_count(value). */
QN_MUST_USE qn_status qn_json_tensor_fill(const qn_json *value, const char *name, qn_dtype dtype,
                                          void *dst, qn_error *err);
/* The same for strings; objects {"b64": ...} are decoded. */
QN_MUST_USE qn_status qn_json_tensor_texts(const qn_json *value, const char *name, qn_arena *arena,
                                           qn_str *dst, qn_error *err);
/* Any element a number that is not whole, or outside 0..255? */
bool qn_json_tensor_is_bytes(const qn_json *value);
/* Writes a tensor's elements nested by `shape` from dimension `from` on. */
void qn_json_tensor_write(qn_json_writer *w, qn_dtype dtype, const void *data,
                          const qn_shape *shape, int from);
/* Elements in one flat array. */
void qn_json_tensor_write_flat(qn_json_writer *w, qn_dtype dtype, const void *data, int64_t count);

#endif
