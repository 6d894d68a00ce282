/*
 * References of elementwise rows over every element type. Values travel in blocks through one wide
 * type, as in conversions: double where any float takes part, else int64, and uint64 where u64
 * takes part. A row is then one loop per wide type and not one per element type, and its f32 form
 * is the rounded f64 one. For rows of f32 and f64 alone with their own loops: typed.h.
 */
#ifndef QN_GRAPH_OP_NUMBER_H
#define QN_GRAPH_OP_NUMBER_H

#include "graph/op.h"

enum { QN_OP_BLOCK = 256, QN_OP_MAP_INPUTS = 3 };

/* y[i] of x[input][i]; p is the row's attributes as numbers. NULL: the row does not take the type,
 * which its infer must refuse. Without `u64` the row's int64 loop serves: wrapping and bitwise
 * results are the same. */
typedef struct {
    void (*f64)(double *y, const double *const *x, int count, const double *p);
    void (*i64)(int64_t *y, const int64_t *const *x, int count, const double *p);
    void (*u64)(uint64_t *y, const uint64_t *const *x, int count, const double *p);
} qn_op_loops;

/* Output 0 from up to QN_OP_MAP_INPUTS inputs under broadcasting. */
void qn_op_map(const qn_op_run *run, const qn_op_loops *loops, const double *p);
/* f(f(x0, x1), x2)... of any number of inputs, where `loops` takes two. */
void qn_op_fold(const qn_op_run *run, const qn_op_loops *loops, const double *p);

/* One element, for references that walk lines or indices. */
double qn_op_get(const qn_tensor *tensor, int64_t at);
int64_t qn_op_get_i64(const qn_tensor *tensor, int64_t at); /* of an integer type */
void qn_op_put(const qn_tensor *tensor, int64_t at, double value);
void qn_op_put_i64(const qn_tensor *tensor, int64_t at, int64_t value);
void qn_op_put_from(const qn_tensor *dst, int64_t at, const qn_tensor *src, int64_t from);
/* -1, 0 or 1 as a is below, equal to or above b; NaN equals itself and is above everything. */
int qn_op_compare(const qn_tensor *a, int64_t a_at, const qn_tensor *b, int64_t b_at);

/* LOOP(f64, double, name, y of a, b, c): static loop name_f64. An expression reads what it needs. */
#define OP_LOOP1(suffix, T, name, expression)                                                      \
    static void name##_##suffix(T *y, const T *const *x, int count, const double *p)               \
    {                                                                                              \
        (void)p;                                                                                   \
        for (int i = 0; i < count; i++) {                                                          \
            T a = x[0][i];                                                                         \
            y[i] = (T)(expression);                                                                \
        }                                                                                          \
    }
#define OP_LOOP2(suffix, T, name, expression)                                                      \
    static void name##_##suffix(T *y, const T *const *x, int count, const double *p)               \
    {                                                                                              \
        (void)p;                                                                                   \
        for (int i = 0; i < count; i++) {                                                          \
            T a = x[0][i], b = x[1][i];                                                            \
            (void)a;                                                                               \
            (void)b;                                                                               \
            y[i] = (T)(expression);                                                                \
        }                                                                                          \
    }

#endif
