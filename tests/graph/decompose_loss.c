/*
 * Losses built of logarithms, differences and means: the rows that give a loss and its gradient in one pass.
 */
#include "decompose_testing.h"

static qn_value entropy_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {QN_ATTR_F("label_smoothing", 0.2),
                       QN_ATTR_S("reduction", option ? "sum" : "mean")};
    return qn_graph_node(g, "SoftmaxCrossEntropy", (qn_value[]){x[0], x[1], x[2]}, 3, attrs, 2);
}
static qn_value entropy_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {QN_ATTR_I("depth", 3), QN_ATTR_S("dtype", "f64")};
    qn_value hot = qn_graph_node(g, "OneHot", &x[1], 1, attrs, 2);
    qn_value own = over_axis(g, "ReduceSum", two(g, "Mul", hot, x[2]), -1); /* w[t] */
    qn_value share = two(g, "Add", scaled(g, two(g, "Mul", hot, own), 0.8),
                         scaled(g, x[2], 0.2 / 3)); /* of every class */
    qn_value logs = one(g, "LogSoftmax", x[0]);
    qn_value sum = one(g, "Neg", total(g, "ReduceSum", two(g, "Mul", share, logs)));
    return option ? sum : two(g, "Div", sum, total(g, "ReduceSum", own));
}

static qn_value loss_fused(qn_graph *g, const qn_value *x, int option)
{
    static const char *const ops[] = {"MeanSquaredError", "MeanAbsoluteError", "Huber",
                                      "BceWithLogits"};
    qn_attr attr = option == 2 ? QN_ATTR_F("delta", 0.4) : QN_ATTR_F("pos_weight", 3);
    return qn_graph_node(g, ops[option], x, 3, &attr, option >= 2);
}
static qn_value loss_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_value d = two(g, "Sub", x[0], x[1]), size = one(g, "Abs", d), each = size;
    if (option == 0)
        each = one(g, "Square", d);
    if (option == 2) {
        qn_value near = two(g, "Min", size, number(g, 0.4));
        each = two(g, "Mul", near, two(g, "Sub", size, scaled(g, near, 0.5)));
    }
    if (option == 3) {
        qn_value yes = one(g, "Log", one(g, "Sigmoid", x[0]));
        qn_value no = one(g, "Log", one(g, "Sigmoid", one(g, "Neg", x[0])));
        qn_value rest = plus(g, one(g, "Neg", x[1]), 1);
        each = two(g, "Add", scaled(g, two(g, "Mul", x[1], yes), 3), two(g, "Mul", rest, no));
        each = one(g, "Neg", each);
    }
    return total(g, "ReduceMean", two(g, "Mul", each, x[2]));
}

/* p, t of any sign and log-probabilities: Poisson, quantile, hinge, squared hinge, divergence (t above 0). */
static qn_value more_loss_fused(qn_graph *g, const qn_value *x, int option)
{
    static const char *const ops[] = {"PoissonNLLLoss", "QuantileLoss", "HingeLoss",
                                      "SquaredHingeLoss", "KLDivergence"};
    qn_attr attrs[] = {QN_ATTR_S("reduction", option == 4 ? "batchmean" : "sum"),
                       option == 1 ? QN_ATTR_F("quantile", 0.3) : QN_ATTR_F("margin", 0.4)};
    qn_value inputs[] = {x[0], option == 4 ? one(g, "Exp", x[1]) : x[1], x[2]};
    return qn_graph_node(g, ops[option], inputs, 3, attrs, option >= 1 && option <= 3 ? 2 : 1);
}
static qn_value more_loss_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_value p = x[0], t = x[1], each = QN_NONE;
    if (option == 0)
        each = two(g, "Sub", one(g, "Exp", p), two(g, "Mul", t, p));
    if (option == 1) {
        qn_value gap = two(g, "Sub", t, p);
        each = two(g, "Max", scaled(g, gap, 0.3), scaled(g, gap, -0.7));
    }
    if (option == 2 || option == 3)
        each = one(g, "Relu", plus(g, one(g, "Neg", two(g, "Mul", one(g, "Sign", t), p)), 0.4));
    if (option == 3)
        each = one(g, "Square", each);
    if (option == 4) /* t log t - t p, where log t is x[1] */
        each = scaled(g, two(g, "Mul", one(g, "Exp", t), two(g, "Sub", t, p)), 1.0 / 5);
    return total(g, "ReduceSum", two(g, "Mul", each, x[2]));
}

/* x and y [4, 3], a third [4, 3] and sides of both signs: pairs by their cosine, triplets by distances. */
static const double sides[4] = {1, -1, -1, 1};
static qn_value embedding_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {QN_ATTR_F("margin", option < 2 ? 0.1 : 0.6),
                       QN_ATTR_S("reduction", option % 2 ? "sum" : "mean")};
    qn_value pair[] = {x[0], x[1], constant(g, QN_DTYPE_F64, sides, QN_SHAPE(4))};
    if (option < 2)
        return qn_graph_node(g, "CosineEmbeddingLoss", pair, 3, attrs, 2);
    return qn_graph_node(g, "TripletMarginLoss", x, 3, attrs, 2);
}
static qn_value rows_product(qn_graph *g, qn_value a, qn_value b)
{
    return over_axis(g, "ReduceSum", two(g, "Mul", a, b), 1);
}
static qn_value distance_of(qn_graph *g, qn_value a, qn_value b)
{
    qn_value gap = plus(g, two(g, "Sub", a, b), 1e-6);
    return one(g, "Sqrt", rows_product(g, gap, gap));
}
static qn_value embedding_parts(qn_graph *g, const qn_value *x, int option)
{
    const char *op = option % 2 ? "ReduceSum" : "ReduceMean";
    if (option >= 2) {
        qn_value gap = two(g, "Sub", distance_of(g, x[0], x[1]), distance_of(g, x[0], x[2]));
        return total(g, op, one(g, "Relu", plus(g, gap, 0.6)));
    }
    double same[4], other[4];
    for (int i = 0; i < 4; i++) {
        same[i] = sides[i] > 0;
        other[i] = sides[i] < 0;
    }
    qn_value squares = two(g, "Mul", plus(g, rows_product(g, x[0], x[0]), 1e-12),
                           plus(g, rows_product(g, x[1], x[1]), 1e-12));
    qn_value cosine = two(g, "Div", rows_product(g, x[0], x[1]), one(g, "Sqrt", squares));
    qn_value apart = one(g, "Relu", plus(g, cosine, -0.1));
    qn_value near = plus(g, one(g, "Neg", cosine), 1);
    near = two(g, "Mul", near, constant(g, QN_DTYPE_F64, same, QN_SHAPE(4, 1)));
    apart = two(g, "Mul", apart, constant(g, QN_DTYPE_F64, other, QN_SHAPE(4, 1)));
    return total(g, op, two(g, "Add", near, apart));
}

/* Log-probabilities [5, 3], labels below 3 of which 1 counts nothing in option 1, weights of classes. */
static qn_value likelihood_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {QN_ATTR_I("ignore_index", option ? 1 : -100),
                       QN_ATTR_S("reduction", option == 2 ? "sum" : "mean")};
    return qn_graph_node(g, "NegativeLogLikelihoodLoss", x, 3, attrs, 2);
}
static qn_value likelihood_parts(qn_graph *g, const qn_value *x, int option)
{
    static const double all[3] = {1, 1, 1}, some[3] = {1, 0, 1};
    qn_attr attrs[] = {QN_ATTR_I("depth", 3), QN_ATTR_S("dtype", "f64")};
    qn_value hot = qn_graph_node(g, "OneHot", &x[1], 1, attrs, 2);
    qn_value counts = constant(g, QN_DTYPE_F64, option ? some : all, QN_SHAPE(3));
    qn_value share = two(g, "Mul", two(g, "Mul", hot, x[2]), counts);
    qn_value sum = one(g, "Neg", total(g, "ReduceSum", two(g, "Mul", share, x[0])));
    return option == 2 ? sum : two(g, "Div", sum, total(g, "ReduceSum", share));
}

#define C3 F64(1, 3)
#define M  F64(2, 5, 3)
#define V  F64(2, 4, 3)
const fusion decompose_losses[] = {
    {"SoftmaxCrossEntropy", entropy_fused, entropy_parts, 3, {M, I64(1, 5), C3}, 0.1, 3, 1, 2},
    {"losses", loss_fused, loss_parts, 3, {M, M, M}, 0, 1, 1, 4},
    {"more losses", more_loss_fused, more_loss_parts, 3, {M, M, M}, -1, 1, 1, 5},
    {"losses of embeddings", embedding_fused, embedding_parts, 3, {V, V, V}, -1, 1, 3, 4},
    {"likelihood", likelihood_fused, likelihood_parts, 3, {M, I64(1, 5), C3}, 0.1, 3, 1, 3},
    {0},
};
