/*
 * Includes OP_BODY twice, for float and for double: T is the element type, FN(name) the function's
 * name with its suffix. Sums inside bodies run in double for both, so that the f32 form is the
 * rounded f64 one. No include guard: a family file includes it once for each body it has.
 */
#define T        float
#define FN(name) name##_f32
#include OP_BODY
#undef T
#undef FN
#define T        double
#define FN(name) name##_f64
#include OP_BODY
#undef T
#undef FN
#undef OP_BODY
