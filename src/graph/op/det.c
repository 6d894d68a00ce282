/*
 * Det: determinants of square matrices, by elimination with the largest pivot of each column. The
 * gradient of det A is det A times the inverse's transpose: the matrix of cofactors.
 */
#include "graph/op/common.h"
#include "graph/op/number.h"

#include <math.h>
#include <string.h>

/* Elimination works on the stack: 32 KiB each. */
enum { DET_SIZE_MAX = 64 };
typedef double square[DET_SIZE_MAX][DET_SIZE_MAX];

static qn_status check_square(const qn_op_types *types, int input, qn_error *err)
{
    const qn_shape *shape = &types->inputs[input].shape;
    char text[128];
    QN_TRY(qn_op_want_kind(types, input, OP_KIND_FLOAT, err));
    if (shape->rank < 2 || shape->dims[shape->rank - 1] != shape->dims[shape->rank - 2] ||
        shape->dims[shape->rank - 1] < 0 || shape->dims[shape->rank - 1] > DET_SIZE_MAX)
        QN_FAIL(err, QN_ERR_ARG, "input %d is %s, expected square matrices of up to %d", input,
                qn_shape_text(shape, text), DET_SIZE_MAX);
    return QN_OK;
}

static void read_square(square dst, const qn_tensor *src, int64_t at, int n)
{
    for (int i = 0; i < n; i++)
        for (int j = 0; j < n; j++)
            dst[i][j] = qn_op_get(src, at + (int64_t)i * n + j);
}

static void swap_rows(square a, int i, int j, int n)
{
    for (int k = 0; k < n && i != j; k++) {
        double kept = a[i][k];
        a[i][k] = a[j][k];
        a[j][k] = kept;
    }
}

/* Takes column c out of every other row; `beside` goes through the same steps. Returns the pivot, with
 * the sign of the exchange; 0 = there is none. */
static double eliminate(square a, square beside, int c, int n)
{
    int best = c;
    for (int i = c + 1; i < n; i++)
        best = fabs(a[i][c]) > fabs(a[best][c]) ? i : best;
    double pivot = a[best][c];
    if (!(fabs(pivot) > 0))
        return pivot;
    swap_rows(a, best, c, n);
    swap_rows(beside, best, c, n);
    for (int i = 0; i < n; i++) {
        double factor = a[i][c] / pivot;
        for (int k = 0; k < n && i != c; k++) {
            a[i][k] -= factor * a[c][k];
            beside[i][k] -= factor * beside[c][k];
        }
    }
    return best == c ? pivot : -pivot;
}

/* The determinant of a; what began as the identity ends as the rows of the inverse times their pivots. */
static double reduce(square a, square beside, int n)
{
    double det = 1;
    memset(beside, 0, sizeof(square));
    for (int i = 0; i < n; i++)
        beside[i][i] = 1;
    for (int c = 0; c < n && fabs(det) > 0; c++)
        det *= eliminate(a, beside, c, n);
    return det;
}

static qn_status det_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(check_square(types, 0, err));
    ret_outputs[0] = types->inputs[0];
    ret_outputs[0].shape.rank -= 2;
    return QN_OK;
}

static void det_ref(const qn_op_run *run)
{
    const qn_tensor *x = &run->inputs[0];
    int n = (int)x->shape.dims[x->shape.rank - 1];
    square a, beside;
    for (int64_t i = 0; i < qn_shape_count(&run->outputs[0].shape); i++) {
        read_square(a, x, i * n * n, n);
        qn_op_put(&run->outputs[0], i, reduce(a, beside, n));
    }
}

static void det_vjp(const qn_op_vjp *in, qn_value *ret)
{
    ret[0] = qn_graph_op2(in->graph, "DetGrad", in->grads[0], in->inputs[0]);
}

static qn_status det_grad_infer(const qn_op_types *types, qn_type *ret_outputs, qn_error *err)
{
    QN_TRY(check_square(types, 1, err));
    qn_shape batch = types->inputs[1].shape;
    batch.rank -= 2;
    QN_TRY(qn_op_want_dtype(types, 0, types->inputs[1].dtype, err));
    QN_TRY(qn_op_want_shape(types, 0, &batch, err));
    ret_outputs[0] = types->inputs[1];
    return QN_OK;
}

/* A matrix without inverse gives no gradient. */
static void det_grad_ref(const qn_op_run *run)
{
    const qn_tensor *dy = &run->inputs[0], *x = &run->inputs[1], *dx = &run->outputs[0];
    int n = (int)x->shape.dims[x->shape.rank - 1];
    square a, beside;
    for (int64_t m = 0; m < qn_shape_count(&dy->shape); m++) {
        read_square(a, x, m * n * n, n);
        double det = reduce(a, beside, n), up = qn_op_get(dy, m);
        for (int i = 0; i < n; i++)
            for (int j = 0; j < n; j++) {
                double inverse = fabs(det) > 0 ? beside[j][i] / a[j][j] : 0;
                qn_op_put(dx, (m * n + i) * n + j, up * det * inverse);
            }
    }
}

static const qn_op_sample det_samples[] = {
    {.inputs_count = 1, .inputs = {OP_F64(3, 4, 4)}, .low = -2, .high = 2},
    {.inputs_count = 1, .inputs = {OP_F64(1, 1)}, .low = -2, .high = 2},
};
static const qn_op_sample det_grad_samples[] = {
    {.inputs_count = 2, .inputs = {OP_F64(2), OP_F64(2, 3, 3)}, .low = -2, .high = 2},
};

const qn_op qn_ops_det[] = {
    {.name = "Det",
     .inputs_min = 1,
     .inputs_max = 1,
     .outputs_count = 1,
     .infer = det_infer,
     .vjp = det_vjp,
     .ref = det_ref,
     OP_SAMPLES(det_samples)},
    {.name = "DetGrad",
     .inputs_min = 2,
     .inputs_max = 2,
     .outputs_count = 1,
     .flags = QN_OP_NO_GRADIENT,
     .infer = det_grad_infer,
     .ref = det_grad_ref,
     OP_SAMPLES(det_grad_samples)},
    {0},
};
