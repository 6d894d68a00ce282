/*
 * Conversion of elements between any two types. Elements travel in blocks through one wide type:
 * double when either side is a float, int64 otherwise, so that there is one reader and one writer
 * per type instead of one loop per pair. Floats to integers truncate and saturate, NaN gives 0;
 * integers to narrower ones keep the low bits, as C does; anything but zero is true.
 */
#include <math.h>
#include <string.h>

#include "tensor/tensor.h"

enum { BLOCK = 256 };

static float bits_to_float(uint32_t bits)
{
    float value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

static uint32_t float_to_bits(float value)
{
    uint32_t bits;
    memcpy(&bits, &value, sizeof bits);
    return bits;
}

static double half_to_f64(uint16_t half)
{
    int exponent = (half >> 10) & 31, fraction = half & 1023;
    double magnitude;
    if (exponent == 31)
        magnitude = fraction ? (double)NAN : (double)INFINITY;
    else if (exponent == 0)
        magnitude = ldexp(fraction, -24);
    else
        magnitude = ldexp(fraction + 1024, exponent - 25);
    return half & 0x8000 ? -magnitude : magnitude;
}

/* Round to nearest, ties to even: scale so that the last kept bit is the unit and let rint decide.
 */
static uint16_t f64_to_half(double value)
{
    uint16_t sign = signbit(value) ? 0x8000 : 0;
    double magnitude = fabs(value);
    if (isnan(value))
        return sign | 0x7e00;
    if (magnitude >= 65520)
        return sign | 0x7c00;
    if (magnitude < ldexp(1, -14))
        return (uint16_t)(sign | (int)rint(ldexp(magnitude, 24)));
    int exponent;
    frexp(magnitude, &exponent); /* magnitude in [2^(exponent-1), 2^exponent) */
    int fraction = (int)rint(ldexp(magnitude, 11 - exponent));
    /* The leading 1 of `fraction` (and a carry out of it) counts into the exponent. */
    return (uint16_t)(sign | (((exponent + 13) << 10) + fraction));
}

static uint16_t f64_to_bf16(double value)
{
    uint32_t bits = float_to_bits((float)value);
    if (isnan(value))
        return (uint16_t)(bits >> 16 | 0x40);
    return (uint16_t)((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

static int64_t saturate(double value, double low, double high_plus_one, int64_t high)
{
    if (isnan(value))
        return 0;
    if (value >= high_plus_one)
        return high;
    return (int64_t)(value < low ? low : value);
}

static uint64_t saturate_u64(double value)
{
    if (!(value > 0))
        return 0;
    return value >= 18446744073709551616.0 ? UINT64_MAX : (uint64_t)value;
}

/* One case of a switch over the stored type: elements `stride` bytes apart, as numbers of type `number`. */
#define READ(number, tag, type, expression)                                                        \
    case tag:                                                                                      \
        for (int i = 0; i < count; i++) {                                                          \
            type x;                                                                                \
            memcpy(&x, src + i * stride, sizeof x);                                                \
            dst[i] = (number)(expression);                                                         \
        }                                                                                          \
        break
#define READ_INTEGERS(number)                                                                      \
    READ(number, QN_DTYPE_I64, int64_t, x);                                                        \
    READ(number, QN_DTYPE_I32, int32_t, x);                                                        \
    READ(number, QN_DTYPE_I16, int16_t, x);                                                        \
    READ(number, QN_DTYPE_I8, int8_t, x);                                                          \
    READ(number, QN_DTYPE_U64, uint64_t, x);                                                       \
    READ(number, QN_DTYPE_U32, uint32_t, x);                                                       \
    READ(number, QN_DTYPE_U16, uint16_t, x);                                                       \
    READ(number, QN_DTYPE_U8, uint8_t, x);                                                         \
    READ(number, QN_DTYPE_BOOL, uint8_t, x != 0)
/* The same the other way, to contiguous elements. */
#define WRITE(number, tag, type, expression)                                                       \
    case tag:                                                                                      \
        for (int i = 0; i < count; i++) {                                                          \
            number x = src[i];                                                                     \
            type y = (type)(expression);                                                           \
            memcpy(dst + (size_t)i * sizeof y, &y, sizeof y);                                      \
        }                                                                                          \
        break

void qn_dtype_read_f64(double *dst, const void *from, qn_dtype dtype, int64_t step, int count)
{
    const char *src = from;
    int64_t stride = step * (int64_t)qn_dtype_size(dtype);
    switch (dtype) {
        READ(double, QN_DTYPE_F32, float, x);
        READ(double, QN_DTYPE_F64, double, x);
        READ(double, QN_DTYPE_F16, uint16_t, half_to_f64(x));
        READ(double, QN_DTYPE_BF16, uint16_t, bits_to_float((uint32_t)x << 16));
        READ_INTEGERS(double);
    case QN_DTYPE_COUNT:
        QN_ASSERT(false && "not a dtype");
    }
}

void qn_dtype_read_i64(int64_t *dst, const void *from, qn_dtype dtype, int64_t step, int count)
{
    const char *src = from;
    int64_t stride = step * (int64_t)qn_dtype_size(dtype);
    switch (dtype) {
        READ_INTEGERS(int64_t);
    default:
        QN_ASSERT(false && "floats travel as f64");
    }
}

void qn_dtype_write_f64(void *to, qn_dtype dtype, const double *src, int count)
{
    char *dst = to;
    switch (dtype) {
        WRITE(double, QN_DTYPE_F32, float, x);
        WRITE(double, QN_DTYPE_F64, double, x);
        WRITE(double, QN_DTYPE_F16, uint16_t, f64_to_half(x));
        WRITE(double, QN_DTYPE_BF16, uint16_t, f64_to_bf16(x));
        WRITE(double, QN_DTYPE_I64, int64_t,
              saturate(x, -9223372036854775808.0, 9223372036854775808.0, INT64_MAX));
        WRITE(double, QN_DTYPE_I32, int32_t, saturate(x, INT32_MIN, INT32_MAX + 1.0, INT32_MAX));
        WRITE(double, QN_DTYPE_I16, int16_t, saturate(x, INT16_MIN, INT16_MAX, INT16_MAX));
        WRITE(double, QN_DTYPE_I8, int8_t, saturate(x, INT8_MIN, INT8_MAX, INT8_MAX));
        WRITE(double, QN_DTYPE_U64, uint64_t, saturate_u64(x));
        WRITE(double, QN_DTYPE_U32, uint32_t, saturate(x, 0, UINT32_MAX, UINT32_MAX));
        WRITE(double, QN_DTYPE_U16, uint16_t, saturate(x, 0, UINT16_MAX, UINT16_MAX));
        WRITE(double, QN_DTYPE_U8, uint8_t, saturate(x, 0, UINT8_MAX, UINT8_MAX));
        WRITE(double, QN_DTYPE_BOOL, uint8_t, x != 0);
    case QN_DTYPE_COUNT:
        break;
    }
}

void qn_dtype_write_i64(void *to, qn_dtype dtype, const int64_t *src, int count)
{
    char *dst = to;
    switch (dtype) {
        WRITE(int64_t, QN_DTYPE_I64, int64_t, x);
        WRITE(int64_t, QN_DTYPE_I32, int32_t, x);
        WRITE(int64_t, QN_DTYPE_I16, int16_t, x);
        WRITE(int64_t, QN_DTYPE_I8, int8_t, x);
        WRITE(int64_t, QN_DTYPE_U64, uint64_t, x);
        WRITE(int64_t, QN_DTYPE_U32, uint32_t, x);
        WRITE(int64_t, QN_DTYPE_U16, uint16_t, x);
        WRITE(int64_t, QN_DTYPE_U8, uint8_t, x);
        WRITE(int64_t, QN_DTYPE_BOOL, uint8_t, x != 0);
    default:
        QN_ASSERT(false && "floats travel as f64");
    }
}

/* `count` elements that lie `step` elements apart, to contiguous elements. */
static void convert_run(char *dst, qn_dtype dst_dtype, const char *src, qn_dtype src_dtype,
                        int64_t step, int64_t count)
{
    bool integers = !qn_dtype_is_float(dst_dtype) && !qn_dtype_is_float(src_dtype);
    size_t dst_size = qn_dtype_size(dst_dtype);
    int64_t stride = step * (int64_t)qn_dtype_size(src_dtype);
    for (int64_t at = 0; at < count; at += BLOCK) {
        int block = count - at < BLOCK ? (int)(count - at) : BLOCK;
        if (integers) {
            int64_t values[BLOCK];
            qn_dtype_read_i64(values, src + at * stride, src_dtype, step, block);
            qn_dtype_write_i64(dst + (size_t)at * dst_size, dst_dtype, values, block);
        } else {
            double values[BLOCK];
            qn_dtype_read_f64(values, src + at * stride, src_dtype, step, block);
            qn_dtype_write_f64(dst + (size_t)at * dst_size, dst_dtype, values, block);
        }
    }
}

void qn_tensor_convert(void *dst, qn_dtype dst_dtype, const qn_tensor *src)
{
    int64_t count = qn_shape_count(&src->shape), size = (int64_t)qn_dtype_size(src->dtype);
    if (count == 0)
        return;
    if (qn_tensor_contiguous(src)) {
        if (dst_dtype == src->dtype)
            memcpy(dst, src->data, qn_tensor_bytes(src));
        else
            convert_run(dst, dst_dtype, src->data, src->dtype, 1, count);
        return;
    }
    /* One run per innermost row; an odometer walks the outer dimensions. */
    int last = src->shape.rank - 1;
    int64_t row = src->shape.dims[last], index[QN_RANK_MAX] = {0};
    size_t row_bytes = (size_t)row * qn_dtype_size(dst_dtype);
    const char *at = src->data;
    char *out = dst;
    for (int64_t done = 0; done < count; done += row, out += row_bytes) {
        convert_run(out, dst_dtype, at, src->dtype, src->strides[last], row);
        for (int d = last - 1; d >= 0; d--) {
            at += src->strides[d] * size;
            if (++index[d] < src->shape.dims[d])
                break;
            at -= src->strides[d] * size * src->shape.dims[d];
            index[d] = 0;
        }
    }
}

double qn_tensor_f64_at(const qn_tensor *tensor, int64_t flat_index)
{
    int64_t offset = 0;
    for (int d = tensor->shape.rank - 1; d >= 0; d--) {
        offset += flat_index % tensor->shape.dims[d] * tensor->strides[d];
        flat_index /= tensor->shape.dims[d];
    }
    double value = 0;
    qn_dtype_read_f64(&value,
                      (const char *)tensor->data + offset * (int64_t)qn_dtype_size(tensor->dtype),
                      tensor->dtype, 0, 1);
    return value;
}
