/*
 * Optimiser updates built of sums, products and roots: weights and every moment, at a scaled gradient.
 */
#include "decompose_testing.h"

/* Inputs: w, three moments and the gradient [3, 4]; lr, step, scale. */
enum { W, M0, M1, M2, GRAD, LR, STEP, SCALE };

static qn_value step_of(qn_graph *g, const qn_value *x)
{
    qn_attr to = QN_ATTR_S("to", "f64");
    return qn_graph_node(g, "Cast", &x[STEP], 1, &to, 1);
}

/* The gradient as a rule sees it: scaled, with a share of the weight. */
static qn_value slope_of(qn_graph *g, const qn_value *x, double decay)
{
    return two(g, "Add", two(g, "Mul", x[GRAD], x[SCALE]), scaled(g, x[W], decay));
}

/* share * old + (1 - share) * fresh */
static qn_value mixed(qn_graph *g, qn_value old, qn_value fresh, double share)
{
    return two(g, "Add", scaled(g, old, share), scaled(g, fresh, 1 - share));
}

static qn_value over_root(qn_graph *g, qn_value a, qn_value squares, double epsilon)
{
    return two(g, "Div", a, plus(g, one(g, "Sqrt", squares), epsilon));
}

/* w - lr * by */
static qn_value moved(qn_graph *g, qn_value w, qn_value by, qn_value lr)
{
    return two(g, "Sub", w, two(g, "Mul", by, lr));
}

/* 1 - beta^t */
static qn_value unbias(qn_graph *g, qn_value t, double beta)
{
    return one(g, "Neg", plus(g, two(g, "Pow", number(g, beta), t), -1));
}

/* All results of a node over inputs. */
static qn_value results_of(qn_graph *g, const char *op, const qn_value *inputs, int count,
                           const qn_attr *attrs, int attrs_count, int results)
{
    qn_value y[4], first = qn_graph_node(g, op, inputs, count, attrs, attrs_count);
    for (int i = 0; i < results; i++)
        y[i] = first + i;
    return first == QN_NONE ? first : joined(g, y, results);
}

#define ALL(...)                                                                                   \
    (const qn_value[]){__VA_ARGS__}, (int)(sizeof((qn_value[]){__VA_ARGS__}) / sizeof(qn_value))
#define DECAYED QN_ATTR_F("weight_decay", 0.1)

/* 0: Sgd; 1, 2: Momentum, Nesterov's; 3: Lion; 4: a running average. */
static qn_value plain_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {DECAYED, QN_ATTR_F("momentum", 0.8), QN_ATTR_I("nesterov", option == 2)};
    if (option == 0)
        return results_of(g, "SgdUpdate", ALL(x[W], x[GRAD], x[LR], x[SCALE]), attrs, 1, 1);
    if (option < 3)
        return results_of(g, "MomentumUpdate", ALL(x[W], x[M0], x[GRAD], x[LR], x[SCALE]), attrs, 3,
                          2);
    if (option == 3)
        return results_of(g, "LionUpdate", ALL(x[W], x[M0], x[GRAD], x[LR], x[STEP], x[SCALE]),
                          attrs, 1, 2);
    return results_of(g, "AverageUpdate", ALL(x[W], x[M0], x[LR]), NULL, 0, 1);
}
static qn_value plain_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_value slope = slope_of(g, x, option < 3 ? 0.1 : 0), w = x[W], m;
    if (option == 0)
        return joined(g, ALL(moved(g, w, slope, x[LR])));
    if (option == 3) {
        qn_value by = one(g, "Sign", mixed(g, x[M0], slope, 0.9));
        w = moved(g, w, two(g, "Add", by, scaled(g, w, 0.1)), x[LR]);
        return joined(g, ALL(w, mixed(g, x[M0], slope, 0.99)));
    }
    if (option == 4)
        return joined(g, ALL(two(g, "Add", w, two(g, "Mul", x[LR], two(g, "Sub", x[M0], w)))));
    m = two(g, "Add", scaled(g, x[M0], 0.8), slope);
    slope = option == 2 ? two(g, "Add", slope, scaled(g, m, 0.8)) : m;
    return joined(g, ALL(moved(g, w, slope, x[LR]), m));
}

/* 0: Adagrad; 1 to 3: RmsProp, with momentum, centred; 4: Adadelta. */
static qn_value square_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {DECAYED, QN_ATTR_F("lr_decay", 0.5)};
    if (option == 0)
        return results_of(g, "AdagradUpdate", ALL(x[W], x[M0], x[GRAD], x[LR], x[STEP], x[SCALE]),
                          attrs, 2, 2);
    attrs[1] = QN_ATTR_F("momentum", 0.7);
    if (option == 1)
        return results_of(g, "RmsPropUpdate", ALL(x[W], x[M0], x[GRAD], x[LR], x[STEP], x[SCALE]),
                          attrs, 1, 2);
    if (option == 3)
        return results_of(g, "RmsPropCenteredUpdate",
                          ALL(x[W], x[M0], x[M1], x[M2], x[GRAD], x[LR], x[STEP], x[SCALE]), attrs,
                          2, 4);
    return results_of(g, option == 2 ? "RmsPropMomentumUpdate" : "AdadeltaUpdate",
                      ALL(x[W], x[M0], x[M1], x[GRAD], x[LR], x[STEP], x[SCALE]), attrs,
                      option == 2 ? 2 : 1, 3);
}
static qn_value square_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_value slope = slope_of(g, x, 0.1), square = one(g, "Square", slope);
    if (option == 0) {
        qn_value sum = two(g, "Add", x[M0], square);
        qn_value fade = plus(g, scaled(g, plus(g, step_of(g, x), -1), 0.5), 1);
        qn_value by = two(g, "Div", over_root(g, slope, sum, 1e-10), fade);
        return joined(g, ALL(moved(g, x[W], by, x[LR]), sum));
    }
    qn_value mean = mixed(g, x[M0], square, option == 4 ? 0.9 : 0.99), spread = mean;
    if (option == 1)
        return joined(g, ALL(moved(g, x[W], over_root(g, slope, mean, 1e-8), x[LR]), mean));
    if (option == 4) {
        qn_value under = one(g, "Sqrt", plus(g, mean, 1e-6));
        qn_value by =
            two(g, "Mul", one(g, "Sqrt", plus(g, x[M1], 1e-6)), two(g, "Div", slope, under));
        return joined(
            g, ALL(moved(g, x[W], by, x[LR]), mean, mixed(g, x[M1], one(g, "Square", by), 0.9)));
    }
    qn_value centre = mixed(g, x[M2], slope, 0.99);
    if (option == 3) /* rounding may bring the difference below 0, and here it does lie there */
        spread = one(g, "Relu", two(g, "Sub", mean, one(g, "Square", centre)));
    qn_value speed = two(g, "Add", scaled(g, x[M1], 0.7), over_root(g, slope, spread, 1e-8));
    return joined(g, (qn_value[]){moved(g, x[W], speed, x[LR]), mean, speed, centre}, option + 1);
}

/* Adam and AdamW, NAdam and NAdamW, Lamb. x[M2] holds NAdam's product below 1, in its first element. */
static qn_value adam_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {DECAYED, QN_ATTR_I("decoupled", option % 2)};
    if (option < 2)
        return results_of(g, "AdamUpdate",
                          ALL(x[W], x[M0], x[M1], x[GRAD], x[LR], x[STEP], x[SCALE]), attrs, 2, 3);
    if (option < 4)
        return results_of(g, "NAdamUpdate",
                          ALL(x[W], x[M0], x[M1], x[GRAD], x[LR], x[STEP],
                              qn_graph_op2(g, "NAdamProduct", number(g, 0.8), x[STEP]), x[SCALE]),
                          attrs, 2, 3);
    return results_of(g, "LambUpdate", ALL(x[W], x[M0], x[M1], x[GRAD], x[LR], x[STEP], x[SCALE]),
                      attrs, 1, 3);
}

/* mu of a step */
static qn_value nadam_share(qn_graph *g, qn_value t)
{
    qn_value fade = two(g, "Pow", number(g, 0.96), scaled(g, t, 4e-3));
    return scaled(g, plus(g, scaled(g, fade, -0.5), 1), 0.9);
}

static qn_value nadam_step(qn_graph *g, qn_value t, qn_value slope, qn_value m)
{
    qn_value mu = nadam_share(g, t), next = nadam_share(g, plus(g, t, 1));
    qn_value product = scaled(g, mu, 0.8), rest = one(g, "Neg", plus(g, product, -1));
    qn_value now = two(g, "Div", one(g, "Neg", plus(g, mu, -1)), rest);
    qn_value later = one(g, "Neg", plus(g, two(g, "Mul", product, next), -1));
    return two(g, "Add", two(g, "Mul", slope, now), two(g, "Mul", m, two(g, "Div", next, later)));
}

static qn_value length_of(qn_graph *g, qn_value a)
{
    return one(g, "Sqrt", total(g, "ReduceSum", one(g, "Square", a)));
}

static qn_value adam_parts(qn_graph *g, const qn_value *x, int option)
{
    bool apart = option % 2 || option == 4;
    qn_value slope = slope_of(g, x, apart ? 0 : 0.1), t = step_of(g, x), w = x[W], by;
    if (option % 2)
        w = moved(g, w, scaled(g, w, 0.1), x[LR]);
    qn_value m = mixed(g, x[M0], slope, 0.9), v = mixed(g, x[M1], one(g, "Square", slope), 0.999);
    qn_value squares = two(g, "Div", v, unbias(g, t, 0.999));
    if (option < 2 || option == 4)
        by = two(g, "Div", m, unbias(g, t, 0.9));
    else
        by = nadam_step(g, t, slope, m);
    by = over_root(g, by, squares, option == 4 ? 1e-6 : 1e-8);
    if (option == 4) {
        by = two(g, "Add", by, scaled(g, w, 0.1));
        by = two(g, "Mul", by, two(g, "Div", length_of(g, w), length_of(g, by)));
    }
    return joined(g, ALL(moved(g, w, by, x[LR]), m, v));
}

/* w and gradient [2, 3, 4], rows [2, 3, 1], columns [2, 1, 4], a vector of moments like w, lr, step, scale. Matrices, then a
 * vector; option 1 and 3 clip what they add. */
enum { ROW = 1, COL = 2, WHOLE = 3 };
/* A rate of 1 to 3 lies above 1 / sqrt(step), one of a hundredth below it. */
static qn_value rate_of(qn_graph *g, const qn_value *x, int option)
{
    return scaled(g, x[LR], option < 2 ? 1 : 0.01);
}

static qn_value factor_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_value lr = rate_of(g, x, option);
    qn_attr attrs[] = {DECAYED, QN_ATTR_F("d", option % 2 ? 0.3 : 1e6),
                       QN_ATTR_F("epsilon1", 1e-3)};
    if (option < 2)
        return results_of(g, "AdafactorUpdate",
                          ALL(x[W], x[ROW], x[COL], x[GRAD], lr, x[STEP], x[SCALE]), attrs, 3, 3);
    const int64_t flat[] = {-1};
    return results_of(g, "AdafactorVectorUpdate",
                      ALL(reshaped(g, x[W], 1, flat), reshaped(g, x[WHOLE], 1, flat),
                          reshaped(g, x[GRAD], 1, flat), lr, x[STEP], x[SCALE]),
                      attrs, 3, 2);
}

static qn_value rms_of(qn_graph *g, qn_value a)
{
    return one(g, "Sqrt", total(g, "ReduceMean", one(g, "Square", a)));
}

static qn_value factor_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_value slope = slope_of(g, x, 0), square = one(g, "Square", slope), t = step_of(g, x);
    qn_value share = two(g, "Pow", t, number(g, -0.8)), kept[3], v, w = x[W];
    qn_value lr = rate_of(g, x, option);
    for (int i = ROW; i <= WHOLE; i++) {
        qn_value fresh = i == WHOLE ? square : over_axis(g, "ReduceMean", square, i == ROW ? 2 : 1);
        kept[i - ROW] = two(g, "Add", x[i], two(g, "Mul", share, two(g, "Sub", fresh, x[i])));
    }
    v = kept[2];
    if (option < 2)
        v = two(g, "Div", two(g, "Mul", kept[0], kept[1]), over_axis(g, "ReduceMean", kept[0], 1));
    qn_value by = two(g, "Div", slope, one(g, "Sqrt", two(g, "Max", v, number(g, 1e-6))));
    qn_value clip = scaled(g, rms_of(g, by), option % 2 ? 1 / 0.3 : 1e-6);
    by = two(g, "Div", by, two(g, "Max", clip, number(g, 1)));
    qn_value rate = two(g, "Min", lr, one(g, "Reciprocal", one(g, "Sqrt", t)));
    rate = two(g, "Mul", rate, two(g, "Max", rms_of(g, w), number(g, 1e-3)));
    qn_value fresh = moved(g, moved(g, w, scaled(g, w, 0.1), lr), by, rate);
    if (option < 2)
        return joined(g, ALL(fresh, kept[0], kept[1]));
    return joined(g, ALL(fresh, kept[2]));
}

static qn_value clip_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr limit = QN_ATTR_F("max_norm", option ? 1000 : 0.5);
    qn_value norm = qn_graph_node(g, "GlobalNorm", x, 2, NULL, 0);
    return qn_graph_node(g, "ClipScale", &norm, 1, &limit, 1);
}
static qn_value clip_parts(qn_graph *g, const qn_value *x, int option)
{
    qn_value sum = two(g, "Add", total(g, "ReduceSum", one(g, "Square", x[0])),
                       total(g, "ReduceSum", one(g, "Square", x[1])));
    qn_value norm = plus(g, one(g, "Sqrt", sum), 1e-6);
    qn_value scale = scaled(g, one(g, "Reciprocal", norm), option ? 1000 : 0.5);
    return two(g, "Min", scale, number(g, 1));
}

#define P F64(2, 3, 4)
#define S F64(0, 0)
#define Q F64(3, 2, 3, 4)
#define UPDATE(text, stem, count)                                                                  \
    {                                                                                              \
        (text), stem##_fused, stem##_parts, 8, {P, P, P, P, P, S, I64(0, 0), S}, 1, 3, 0, (count)  \
    }
const fusion decompose_updates[] = {
    UPDATE("updates by the gradient", plain, 5),
    UPDATE("updates by squares", square, 5),
    UPDATE("updates of Adam's kind", adam, 5),
    {"Adafactor",
     factor_fused,
     factor_parts,
     8,
     {Q, F64(3, 2, 3, 1), F64(3, 2, 1, 4), Q, Q, S, I64(0, 0), S},
     1,
     3,
     0,
     4},
    {"clipping", clip_fused, clip_parts, 2, {F64(2, 3, 4), F64(1, 5)}, -1, 1, 0, 2},
    {0},
};
