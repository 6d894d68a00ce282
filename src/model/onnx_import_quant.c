/*
 * ONNX operators of narrow numbers: casts to and from 8-, 4- and 2-bit types, and quantised arithmetic, which is computed
 * in floats and rounded where ONNX rounds.
 */
#include <math.h>
#include <string.h>

#include "model/onnx_import_priv.h"

/* --- casts --- */

/* The format of a small float, NULL for any other type. */
static const char *format_of(int elem)
{
    switch (elem) {
    case QN_ONNX_FLOAT8E4M3FN:
        return "e4m3fn";
    case QN_ONNX_FLOAT8E4M3FNUZ:
        return "e4m3fnuz";
    case QN_ONNX_FLOAT8E5M2:
        return "e5m2";
    case QN_ONNX_FLOAT8E5M2FNUZ:
        return "e5m2fnuz";
    case QN_ONNX_FLOAT4E2M1:
        return "e2m1";
    case QN_ONNX_FLOAT8E8M0:
        return "e8m0";
    default:
        return NULL;
    }
}

/* Bits of an integer narrower than a byte; 0 = it is none. */
static int narrow_bits(int elem)
{
    bool four = elem == QN_ONNX_INT4 || elem == QN_ONNX_UINT4;
    bool two = elem == QN_ONNX_INT2 || elem == QN_ONNX_UINT2;
    return four ? 4 : two ? 2 : 0;
}

static qn_value decode(qn_onnx_call *call, qn_value x, int elem)
{
    const char *format = format_of(elem);
    qn_attr attr = QN_ATTR_S("format", format ? format : "");
    return format ? qn_onnx_emit(call, "UnpackFloat", &x, 1, &attr, 1) : x;
}

static qn_value encode(qn_onnx_call *call, qn_value x, int elem, int64_t saturate)
{
    qn_attr attrs[] = {QN_ATTR_S("format", format_of(elem)), QN_ATTR_I("saturate", saturate != 0),
                       QN_ATTR_S("round", qn_onnx_attr_s(call, "round_mode", "up"))};
    if (qn_onnx_type(call, x)->dtype != QN_DTYPE_F64)
        x = qn_onnx_cast(call, x, QN_DTYPE_F32);
    return qn_onnx_emit(call, "PackFloat", &x, 1, attrs, 3);
}

/* The low bits of a whole number, the highest of them being the sign of a signed type. */
static qn_value wrap(qn_onnx_call *call, qn_value x, int elem)
{
    int bits = narrow_bits(elem);
    bool is_signed = elem == QN_ONNX_INT4 || elem == QN_ONNX_INT2;
    x = qn_onnx_cast(call, x, QN_DTYPE_I64);
    qn_value mask = qn_onnx_scalar(call, QN_DTYPE_I64, (1 << bits) - 1);
    x = qn_onnx_emit2(call, "BitwiseAnd", x, mask);
    if (!is_signed)
        return qn_onnx_cast(call, x, QN_DTYPE_U8);
    qn_value sign = qn_onnx_scalar(call, QN_DTYPE_I64, 1 << (bits - 1));
    x = qn_onnx_emit2(call, "Sub", qn_onnx_emit2(call, "BitwiseXor", x, sign), sign);
    return qn_onnx_cast(call, x, QN_DTYPE_I8);
}

qn_value qn_onnx_convert(qn_onnx_call *call, qn_value x, int from, int to, int64_t saturate)
{
    qn_dtype dtype = QN_DTYPE_F32;
    if (call->status == QN_OK && !qn_onnx_elem_dtype(to, &dtype))
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "elements of type %d (%s)", to,
                     qn_onnx_elem_name(to));
    if (call->status != QN_OK || from == to)
        return x;
    x = decode(call, x, from);
    if (format_of(to))
        return encode(call, x, to, saturate);
    if (narrow_bits(to))
        return wrap(call, x, to);
    return qn_onnx_cast(call, x, dtype);
}

static void map_cast(qn_onnx_call *call)
{
    bool like = strcmp(call->node->op, "CastLike") == 0, last = qn_onnx_is_last(call, 0);
    int64_t to = like ? qn_onnx_in_elem(call, 1) : qn_onnx_attr_i(call, "to", 0);
    qn_value x = last ? qn_onnx_in_last(call, 0) : qn_onnx_in(call, 0);
    int64_t saturate = qn_onnx_attr_i(call, "saturate", 1);
    int elem = to > 0 && to < QN_ONNX_ELEM_COUNT ? (int)to : 0;
    if (qn_onnx_is_symbolic(call, x) && (elem == QN_ONNX_INT32 || elem == QN_ONNX_INT64)) {
        qn_onnx_out_elem(call, 0, x, elem); /* a size, whatever the file counts in */
        return;
    }
    x = qn_onnx_convert(call, x, qn_onnx_in_elem(call, 0), elem, saturate);
    if (last && qn_onnx_elem_of(qn_onnx_type(call, x)->dtype) == elem)
        qn_onnx_out_last(call, 0, x);
    else
        qn_onnx_out_elem(call, 0, last ? qn_onnx_to_first(call, x) : x, elem);
}

static void map_bit_cast(qn_onnx_call *call)
{
    int64_t to = qn_onnx_attr_i(call, "to", 0);
    qn_dtype dtype = QN_DTYPE_F32;
    qn_value x = qn_onnx_in(call, 0);
    if (call->status == QN_OK &&
        (to < 1 || to >= QN_ONNX_ELEM_COUNT || !qn_onnx_elem_dtype((int)to, &dtype)))
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "elements of type %lld", (long long)to);
    bool truth = qn_onnx_type(call, x)->dtype == dtype;
    qn_attr attr = QN_ATTR_S("to", qn_dtype_name(dtype));
    qn_onnx_out_elem(call, 0,
                     truth                    ? x
                     : dtype == QN_DTYPE_BOOL ? qn_onnx_cast(call, x, dtype)
                                              : qn_onnx_emit(call, "BitCast", &x, 1, &attr, 1),
                     (int)to);
}

/* --- quantisation --- */

/* A scale or zero point laid beside x: a number, one for each entry of an axis, or one for each block of an axis. */
static qn_value lay_beside(qn_onnx_call *call, qn_value part, const qn_shape *x, int64_t axis,
                           int64_t block)
{
    qn_shape s = qn_onnx_type(call, part)->shape;
    if (call->status != QN_OK || s.rank == 0 || (s.rank == 1 && s.dims[0] == 1))
        return call->status == QN_OK && s.rank == 1 ? qn_onnx_reshape(call, part, &QN_SCALAR)
                                                    : part;
    int at = qn_onnx_axis(call, axis, x->rank, false);
    if (block == 0) {
        qn_shape line = {.rank = x->rank};
        for (int i = 0; i < x->rank; i++)
            line.dims[i] = i == at ? s.dims[0] : 1;
        return s.rank == 1 ? qn_onnx_reshape(call, part, &line) : part;
    }
    if (s.rank != x->rank || s.rank == QN_RANK_MAX || block < 1 || block > INT32_MAX)
        return qn_onnx_fail(call, QN_ERR_DATA, "scales in blocks of %lld do not fit",
                            (long long)block);
    qn_shape apart = {.rank = s.rank + 1}, wide, joined = s;
    for (int i = 0; i <= s.rank; i++)
        apart.dims[i] = i <= at ? s.dims[i] : i == at + 1 ? 1 : s.dims[i - 1];
    wide = apart;
    wide.dims[at + 1] = block;
    joined.dims[at] = s.dims[at] * block;
    qn_attr attr = qn_onnx_list("shape", wide.dims, wide.rank);
    part = qn_onnx_reshape(call, part, &apart);
    part = qn_onnx_emit(call, "Expand", &part, 1, &attr, 1);
    part = qn_onnx_reshape(call, part, &joined);
    return qn_onnx_slice(call, part, at, 0, x->dims[at]);
}

static bool range_of(int elem, double *low, double *high)
{
    int bits = narrow_bits(elem)                                 ? narrow_bits(elem)
               : elem == QN_ONNX_UINT8 || elem == QN_ONNX_INT8   ? 8
               : elem == QN_ONNX_UINT16 || elem == QN_ONNX_INT16 ? 16
               : elem == QN_ONNX_INT32                           ? 32
                                                                 : 0;
    bool is_signed = elem == QN_ONNX_INT2 || elem == QN_ONNX_INT4 || elem == QN_ONNX_INT8 ||
                     elem == QN_ONNX_INT16 || elem == QN_ONNX_INT32;
    *low = is_signed ? -ldexp(1, bits - 1) : 0;
    *high = ldexp(1, is_signed ? bits - 1 : bits) - 1;
    return bits > 0;
}

static qn_value as_float(qn_onnx_call *call, qn_value x, int elem)
{
    x = decode(call, x, elem);
    return qn_onnx_type(call, x)->dtype == QN_DTYPE_F64 ? x : qn_onnx_cast(call, x, QN_DTYPE_F32);
}

/* round(x / scale) + zero, held in the range of `elem`; x is f32. */
static qn_value quantise(qn_onnx_call *call, qn_value x, qn_value scale, qn_value zero, int elem,
                         int64_t saturate)
{
    double low, high;
    x = qn_onnx_emit2(call, "Div", x, scale);
    if (format_of(elem)) { /* of 8-bit floats the zero point is always zero */
        bool added = zero != QN_NONE && elem == QN_ONNX_FLOAT4E2M1;
        return encode(call, added ? qn_onnx_emit2(call, "Add", x, zero) : x, elem, saturate);
    }
    if (!range_of(elem, &low, &high))
        return qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "quantised to %s", qn_onnx_elem_name(elem));
    x = qn_onnx_emit1(call, "Round", x);
    if (zero != QN_NONE)
        x = qn_onnx_emit2(call, "Add", x, zero);
    qn_attr attrs[] = {QN_ATTR_F("min", low), QN_ATTR_F("max", high)};
    x = qn_onnx_emit(call, "Clip", &x, 1, attrs, 2);
    qn_dtype dtype = QN_DTYPE_U8;
    (void)qn_onnx_elem_dtype(elem, &dtype);
    return qn_onnx_cast(call, x, dtype);
}

static void map_quantise(qn_onnx_call *call)
{
    int64_t axis = qn_onnx_attr_i(call, "axis", 1), block = qn_onnx_attr_i(call, "block_size", 0);
    int elem = (int)qn_onnx_attr_i(call, "output_dtype", 0);
    qn_value x = as_float(call, qn_onnx_in(call, 0), qn_onnx_in_elem(call, 0));
    qn_value scale = as_float(call, qn_onnx_in(call, 1), qn_onnx_in_elem(call, 1)), zero = QN_NONE;
    qn_shape shape = qn_onnx_type(call, x)->shape;
    if (qn_onnx_has(call, 2)) {
        elem = qn_onnx_in_elem(call, 2);
        zero = as_float(call, qn_onnx_in(call, 2), elem);
        zero = lay_beside(call, zero, &shape, axis, block);
    }
    elem = elem ? elem : QN_ONNX_UINT8;
    scale = lay_beside(call, scale, &shape, axis, block);
    qn_onnx_out_elem(
        call, 0, quantise(call, x, scale, zero, elem, qn_onnx_attr_i(call, "saturate", 1)), elem);
}

static void map_dequantise(qn_onnx_call *call)
{
    int64_t axis = qn_onnx_attr_i(call, "axis", 1), block = qn_onnx_attr_i(call, "block_size", 0);
    int64_t to = qn_onnx_attr_i(call, "output_dtype", 0);
    qn_value x = as_float(call, qn_onnx_in(call, 0), qn_onnx_in_elem(call, 0));
    qn_shape shape = qn_onnx_type(call, x)->shape;
    if (qn_onnx_has(call, 2)) {
        qn_value zero = as_float(call, qn_onnx_in(call, 2), qn_onnx_in_elem(call, 2));
        x = qn_onnx_emit2(call, "Sub", x, lay_beside(call, zero, &shape, axis, block));
    }
    qn_value scale = as_float(call, qn_onnx_in(call, 1), qn_onnx_in_elem(call, 1));
    x = qn_onnx_emit2(call, "Mul", x, lay_beside(call, scale, &shape, axis, block));
    int elem = to ? (int)to : qn_onnx_in_elem(call, 1);
    qn_onnx_out_elem(call, 0, qn_onnx_convert(call, x, QN_ONNX_FLOAT, elem, 1), elem);
}

/* The range of x with 0 in it, in 255 steps. */
static void map_dynamic(qn_onnx_call *call)
{
    qn_value x = qn_onnx_in(call, 0), zero = qn_onnx_scalar(call, QN_DTYPE_F32, 0);
    qn_attr keep = QN_ATTR_I("keepdims", 0);
    qn_value high =
        qn_onnx_emit2(call, "Max", qn_onnx_emit(call, "ReduceMax", &x, 1, &keep, 1), zero);
    qn_value low =
        qn_onnx_emit2(call, "Min", qn_onnx_emit(call, "ReduceMin", &x, 1, &keep, 1), zero);
    qn_value steps = qn_onnx_scalar(call, QN_DTYPE_F32, 255);
    qn_value scale = qn_onnx_emit2(call, "Div", qn_onnx_emit2(call, "Sub", high, low), steps);
    qn_value start = qn_onnx_emit1(call, "Neg", low);
    qn_value point = quantise(call, start, scale, QN_NONE, QN_ONNX_UINT8, 1);
    qn_onnx_out(
        call, 0,
        quantise(call, x, scale, qn_onnx_cast(call, point, QN_DTYPE_F32), QN_ONNX_UINT8, 1));
    qn_onnx_out(call, 1, scale);
    qn_onnx_out(call, 2, point);
}

/* A quantised input as what it stands for, in f64 so that integer products are exact; `scale` -1 = none. Zero points of a
 * vector belong to `axis`. */
static qn_value restore(qn_onnx_call *call, qn_value x, int scale, int zero, int64_t axis)
{
    qn_shape shape = qn_onnx_type(call, x)->shape;
    x = qn_onnx_cast(call, x, QN_DTYPE_F64);
    if (zero >= 0 && qn_onnx_has(call, zero)) {
        qn_value point = qn_onnx_cast(call, qn_onnx_in(call, zero), QN_DTYPE_F64);
        if (qn_onnx_type(call, point)->shape.rank < 2)
            point = lay_beside(call, point, &shape, axis, 0);
        x = qn_onnx_emit2(call, "Sub", x, point);
    }
    if (scale < 0)
        return x;
    qn_value factor = qn_onnx_cast(call, qn_onnx_in(call, scale), QN_DTYPE_F64);
    if (qn_onnx_type(call, factor)->shape.rank < 2)
        factor = lay_beside(call, factor, &shape, axis, 0);
    return qn_onnx_emit2(call, "Mul", x, factor);
}

/* y_scale and y_zero_point at `scale` and behind it. */
static void out_quantised(qn_onnx_call *call, qn_value y, int scale)
{
    int elem = qn_onnx_in_elem(call, scale + 1);
    qn_value factor = qn_onnx_cast(call, qn_onnx_in(call, scale), QN_DTYPE_F64);
    qn_value zero = qn_onnx_cast(call, qn_onnx_in(call, scale + 1), QN_DTYPE_F64);
    qn_onnx_out_elem(call, 0, quantise(call, y, factor, zero, elem, 1), elem);
}

static void map_qlinear_matmul(qn_onnx_call *call)
{
    qn_value a = restore(call, qn_onnx_in(call, 0), 1, 2, -2);
    qn_value b = restore(call, qn_onnx_in(call, 3), 4, 5, -1);
    out_quantised(call, qn_onnx_emit2(call, "MatMul", a, b), 6);
}

static void map_matmul_integer(qn_onnx_call *call)
{
    qn_value a = restore(call, qn_onnx_in(call, 0), -1, 2, -2);
    qn_value b = restore(call, qn_onnx_in(call, 1), -1, 3, -1);
    qn_onnx_out(call, 0, qn_onnx_cast(call, qn_onnx_emit2(call, "MatMul", a, b), QN_DTYPE_I32));
}

static qn_value convolve(qn_onnx_call *call, qn_value x, qn_value weight, qn_value bias)
{
    qn_attr attrs[6];
    int count = qn_onnx_window_attrs(call, attrs);
    qn_value inputs[] = {qn_onnx_to_last(call, x), qn_onnx_weights_last(call, weight), bias};
    qn_value y = qn_onnx_emit(call, "Conv", inputs, bias == QN_NONE ? 2 : 3, attrs, count);
    return qn_onnx_to_first(call, y);
}

static void map_conv_integer(qn_onnx_call *call)
{
    qn_value x = restore(call, qn_onnx_in(call, 0), -1, 2, 1);
    qn_value weight = restore(call, qn_onnx_in(call, 1), -1, 3, 0);
    qn_onnx_out(call, 0, qn_onnx_cast(call, convolve(call, x, weight, QN_NONE), QN_DTYPE_I32));
}

/* The bias is in steps of x_scale * w_scale. */
static void map_qlinear_conv(qn_onnx_call *call)
{
    qn_value x = restore(call, qn_onnx_in(call, 0), 1, 2, 1), bias = QN_NONE;
    qn_value weight = restore(call, qn_onnx_in(call, 3), 4, 5, 0);
    if (qn_onnx_has(call, 8)) {
        bias = qn_onnx_cast(call, qn_onnx_in(call, 8), QN_DTYPE_F64);
        for (int scale = 1; scale <= 4; scale += 3)
            bias = qn_onnx_emit2(call, "Mul", bias,
                                 qn_onnx_cast(call, qn_onnx_in(call, scale), QN_DTYPE_F64));
    }
    out_quantised(call, convolve(call, x, weight, bias), 6);
}

const qn_onnx_row qn_onnx_rows_quant[] = {
    QN_ONNX_ROW("Cast", 6, map_cast),
    QN_ONNX_ROW("CastLike", 15, map_cast),
    QN_ONNX_ROW("BitCast", 26, map_bit_cast),
    QN_ONNX_ROW("QuantizeLinear", 10, map_quantise),
    QN_ONNX_ROW("DequantizeLinear", 10, map_dequantise),
    QN_ONNX_ROW("DynamicQuantizeLinear", 11, map_dynamic),
    QN_ONNX_ROW("QLinearMatMul", 10, map_qlinear_matmul),
    QN_ONNX_ROW("MatMulInteger", 10, map_matmul_integer),
    QN_ONNX_ROW("ConvInteger", 10, map_conv_integer),
    QN_ONNX_ROW("QLinearConv", 10, map_qlinear_conv),
    {0},
};
