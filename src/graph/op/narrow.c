/*
 * Floats of 8 and 4 bits, stored in bytes: turned to and from f32. They are for storage alone, so no other row takes them.
 *
 * A format has E exponent bits, M mantissa bits and a bias; its value is (-1)^s 2^(e - bias) 1.m, and 2^(1 - bias) 0.m for
 * e = 0. e4m3fn and e5m2 are of the Open Compute Project (Micikevicius et al., 2022), the fnuz ones have one NaN in place
 * of the negative zero (Noune et al., 2022), e2m1 and e8m0 are of OCP's microscaling formats; e8m0 is a power of two.
 */
#include "graph/op/common.h"

#include <math.h>
#include <string.h>

typedef struct {
    const char *name;
    int exponent, mantissa, bias;
    int largest, nan, infinity; /* codes; -1 = has none */
    bool fnuz;
} narrow_format;

static const narrow_format formats[] = {
    {"e4m3fn", 4, 3, 7, 0x7e, 0x7f, -1, false},  {"e4m3fnuz", 4, 3, 8, 0x7f, 0x80, -1, true},
    {"e5m2", 5, 2, 15, 0x7b, 0x7e, 0x7c, false}, {"e5m2fnuz", 5, 2, 16, 0x7f, 0x80, -1, true},
    {"e2m1", 2, 1, 1, 0x07, -1, -1, false},      {"e8m0", 8, 0, 127, 0xfe, 0xff, -1, false},
};
#define FORMATS "e4m3fn e4m3fnuz e5m2 e5m2fnuz e2m1 e8m0"

static const narrow_format *format_of(const qn_op_types *types)
{
    const char *name = qn_op_attr_s(types, "format");
    const narrow_format *format = formats;
    while (strcmp(format->name, name) != 0)
        format++;
    return format;
}

static bool is_scale(const narrow_format *f)
{
    return f->mantissa == 0;
}

static double decode(const narrow_format *f, int code)
{
    int sign = code >> (f->exponent + f->mantissa) & 1;
    int body = code & ((1 << (f->exponent + f->mantissa)) - 1);
    if (is_scale(f))
        return code == f->nan ? (double)NAN : ldexp(1, code - f->bias);
    if (code == f->nan ||
        (!f->fnuz && f->nan >= 0 && body > (f->infinity >= 0 ? f->infinity : f->largest)))
        return (double)NAN;
    if (body == f->infinity)
        return sign ? -HUGE_VAL : HUGE_VAL;
    int e = body >> f->mantissa, m = body & ((1 << f->mantissa) - 1);
    double value = e == 0 ? ldexp(m, 1 - f->bias - f->mantissa)
                          : ldexp(m + (1 << f->mantissa), e - f->bias - f->mantissa);
    return sign ? -value : value;
}

/* A magnitude as a code without sign, rounded to even; above the largest it goes on counting. */
static int code_of(const narrow_format *f, double x)
{
    int e = 0;
    if (x == 0)
        return 0;       /* which has no exponent */
    (void)frexp(x, &e); /* x = fraction in [1/2, 1) times 2^e */
    e = e - 1 < 1 - f->bias ? 1 - f->bias : e - 1;
    double steps = nearbyint(ldexp(x, f->mantissa - e));
    /* Counting from the first number of this exponent carries into the next one by itself. */
    return ((e + f->bias - 1) << f->mantissa) + (int)steps;
}

/* A power of two by rounding up, down, or to the nearer one. */
static int scale_code(double x, const char *round, bool saturate)
{
    int e = 0;
    if (!(x > 0) && x != 0)
        return 0xff;
    if (isinf(x))
        return saturate ? 0xfe : 0xff;
    double fraction = frexp(x, &e) * 2; /* in [1, 2) */
    bool up =
        strcmp(round, "up") == 0 ? fraction > 1 : strcmp(round, "nearest") == 0 && fraction >= 1.5;
    int code = x == 0 ? 0 : e - 1 + 127 + up;
    if (code > 0xfe)
        return saturate ? 0xfe : 0xff;
    return code < 0 ? 0 : code;
}

/* A NaN that the format cannot hold becomes the negative zero, as in the ml_dtypes package. */
static int encode(const narrow_format *f, double x, bool saturate)
{
    int sign = signbit(x) ? 1 << (f->exponent + f->mantissa) : 0;
    if (isnan(x))
        return f->nan < 0 ? 1 << (f->exponent + f->mantissa) : f->fnuz ? f->nan : f->nan | sign;
    int code = isinf(x) ? f->largest + 1 : code_of(f, fabs(x));
    if (code > f->largest && !saturate && f->nan >= 0)
        code = f->infinity >= 0 ? f->infinity : f->nan;
    else if (code > f->largest)
        code = f->largest;
    if (f->fnuz && (code == 0 || code == f->nan))
        return code; /* neither has a sign */
    return code | sign;
}

static qn_status pack_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_float(types, 0, err));
    ret_outputs[0] = (qn_type){QN_DTYPE_U8, types->inputs[0].shape};
    return QN_OK;
}

static void pack_ref(const qn_op_run *run)
{
    const narrow_format *format = format_of(run->types);
    bool saturate = qn_op_attr_i(run->types, "saturate") != 0;
    const char *round = qn_op_attr_s(run->types, "round");
    uint8_t *to = run->outputs[0].data;
    int64_t count = qn_shape_count(&run->inputs[0].shape);
    for (int64_t i = 0; i < count; i++) {
        double x = qn_tensor_f64_at(&run->inputs[0], i);
        to[i] = (uint8_t)(is_scale(format) ? scale_code(x, round, saturate)
                                           : encode(format, x, saturate));
    }
}

static qn_status unpack_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(qn_op_want_dtype(types, 0, QN_DTYPE_U8, err));
    ret_outputs[0] = (qn_type){QN_DTYPE_F32, types->inputs[0].shape};
    return QN_OK;
}

static void unpack_ref(const qn_op_run *run)
{
    const narrow_format *format = format_of(run->types);
    const uint8_t *from = run->inputs[0].data;
    float *to = run->outputs[0].data;
    int64_t count = qn_shape_count(&run->inputs[0].shape);
    for (int64_t i = 0; i < count; i++)
        to[i] = (float)decode(format, from[i]);
}

static const qn_attr_spec pack_attrs[] = {
    {.name = "format", .kind = QN_ATTR_STRING, .choices = FORMATS},
    {.name = "saturate", .kind = QN_ATTR_INT, .high = 1, .value = 1},
    {.name = "round", .kind = QN_ATTR_STRING, .choices = "up nearest down"},
    {0},
};
static const qn_attr_spec unpack_attrs[] = {
    {.name = "format", .kind = QN_ATTR_STRING, .choices = FORMATS},
    {0},
};
static const qn_op_sample pack_samples[] = {
    {.inputs_count = 1, .inputs = {OP_F64(3, 7)}, .low = -500, .high = 500},
    {.inputs_count = 1,
     .inputs = {OP_F64(40)},
     .low = -8,
     .high = 8,
     .attrs_count = 2,
     .attrs = {OP_AS("format", "e2m1"), OP_AI("saturate", 0)}},
};
static const qn_op_sample unpack_samples[] = {
    {.inputs_count = 1, .inputs = {OP_U8(100)}, .low = 0, .high = 120},
    {.inputs_count = 1,
     .inputs = {OP_U8(100)},
     .low = 0,
     .high = 123,
     .attrs_count = 1,
     .attrs = {OP_AS("format", "e5m2")}},
};

#define ROW(op_name, stem)                                                                         \
    {                                                                                              \
        .name = (op_name), .inputs_min = 1, .inputs_max = 1, .outputs_count = 1,                   \
        .flags = QN_OP_NO_GRADIENT, .attrs = stem##_attrs, .infer = stem##_infer,                  \
        .ref = stem##_ref, OP_SAMPLES(stem##_samples)                                              \
    }
const qn_op qn_ops_narrow[] = {
    ROW("PackFloat", pack),
    ROW("UnpackFloat", unpack),
    {0},
};
