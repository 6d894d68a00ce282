/*
 * Attention, rotary positions, recurrence and CTC built of products, sums and masks, in every way their rows can be asked for.
 */
#include "decompose_testing.h"

/* q [2, 3, 4, 2], k and v [2, 5, 2, 2], a bias [3, 5]: two heads of keys serve four of queries. */
enum { ROWS = 2, QUERIES = 3, HEADS = 4, KEYS = 5, PAIRS = ROWS * HEADS * QUERIES * KEYS };

static const struct attention_way {
    int64_t window, lengths[ROWS], starts[ROWS]; /* lengths 0, 0: none; so starts */
    double softcap;
    bool causal, alibi, chosen; /* chosen: a mask of bools in place of the bias */
} attention_ways[] = {
    {0},
    {.causal = true},
    {.softcap = 0.5},
    {.window = 2},
    {.alibi = true},
    {.alibi = true, .causal = true, .window = 2, .softcap = 0.7, .starts = {2, 1}},
    {.lengths = {5, 2}},
    {.lengths = {3, 0}, .causal = true, .starts = {1, 3}},
    {.chosen = true, .window = 3},
    {.chosen = true, .alibi = true, .lengths = {4, 5}},
};

static bool may_see(const struct attention_way *way, int b, int i, int j)
{
    int64_t away = j - i - way->starts[b];
    bool counts = way->lengths[0] == 0 || j < way->lengths[b];
    bool near = way->window == 0 || (away < 0 ? -away : away) < way->window;
    return counts && near && !(way->causal && away > 0) && !(way->chosen && (i + j) % 3 == 1);
}

/* Which pairs are seen, what alibi adds to their scores, and 1 for a query that sees none. */
static void tell_pairs(const struct attention_way *way, double *seen, double *slope, double *blind)
{
    for (int at = 0; at < PAIRS; at++) {
        int j = at % KEYS, i = at / KEYS % QUERIES, h = at / KEYS / QUERIES % HEADS;
        int b = at / KEYS / QUERIES / HEADS;
        seen[at] = may_see(way, b, i, j);
        slope[at] = way->alibi ? -pow(4, -(h + 1)) * fabs((double)(j - i - way->starts[b])) : 0;
        blind[at / KEYS] = (j == 0 || blind[at / KEYS] > 0) && seen[at] == 0;
    }
}

static qn_value attention_fused(qn_graph *g, const qn_value *x, int option)
{
    const struct attention_way *way = &attention_ways[option];
    qn_attr attrs[] = {QN_ATTR_F("scale", 0.7), QN_ATTR_I("is_causal", way->causal),
                       QN_ATTR_F("softcap", way->softcap), QN_ATTR_I("window", way->window),
                       QN_ATTR_I("alibi", way->alibi)};
    qn_value inputs[] = {x[0], x[1], x[2], x[3], QN_NONE, QN_NONE};
    int count = 4;
    if (way->chosen) {
        uint8_t chosen[QUERIES * KEYS];
        for (int at = 0; at < QUERIES * KEYS; at++)
            chosen[at] = (at / KEYS + at % KEYS) % 3 != 1;
        inputs[3] = constant(g, QN_DTYPE_BOOL, chosen, QN_SHAPE(QUERIES, KEYS));
    }
    if (way->lengths[0] > 0) {
        inputs[4] = constant(g, QN_DTYPE_I64, way->lengths, QN_SHAPE(ROWS));
        count = 5;
    }
    if (way->starts[0] > 0) {
        inputs[5] = constant(g, QN_DTYPE_I64, way->starts, QN_SHAPE(ROWS));
        count = 6;
    }
    return qn_graph_node(g, "Attention", inputs, count, attrs, 5);
}

/* k or v as [2, 4, 5, 2]: each head of it for two of queries. */
static qn_value spread_heads(qn_graph *g, qn_value x)
{
    x = with_ints(g, "Transpose", x, "perm", 4, (int64_t[]){0, 2, 1, 3});
    x = reshaped(g, x, 5, (int64_t[]){ROWS, 2, 1, KEYS, 2});
    x = with_ints(g, "Expand", x, "shape", 5, (int64_t[]){ROWS, 2, 2, KEYS, 2});
    return reshaped(g, x, 4, (int64_t[]){ROWS, HEADS, KEYS, 2});
}

static qn_value attention_parts(qn_graph *g, const qn_value *x, int option)
{
    const struct attention_way *way = &attention_ways[option];
    const qn_shape pairs = QN_SHAPE(ROWS, HEADS, QUERIES, KEYS);
    const qn_shape lines = QN_SHAPE(ROWS, HEADS, QUERIES, 1);
    double seen[PAIRS], slope[PAIRS], blind[PAIRS / KEYS] = {0};
    tell_pairs(way, seen, slope, blind);
    qn_value q = with_ints(g, "Transpose", x[0], "perm", 4, (int64_t[]){0, 2, 1, 3});
    qn_value k = spread_heads(g, x[1]), v = spread_heads(g, x[2]);
    k = with_ints(g, "Transpose", k, "perm", 4, (int64_t[]){0, 1, 3, 2});
    qn_value s = scaled(g, two(g, "MatMul", q, k), 0.7);
    if (way->softcap > 0)
        s = scaled(g, one(g, "Tanh", scaled(g, s, 1 / way->softcap)), way->softcap);
    s = two(g, "Add", s, constant(g, QN_DTYPE_F64, slope, pairs));
    if (!way->chosen)
        s = two(g, "Add", s, x[3]);
    qn_value weight = two(g, "Mul", one(g, "Exp", s), constant(g, QN_DTYPE_F64, seen, pairs));
    qn_value sum = over_axis(g, "ReduceSum", weight, -1);
    sum = two(g, "Add", sum, constant(g, QN_DTYPE_F64, blind, lines));
    qn_value y = two(g, "MatMul", two(g, "Div", weight, sum), v);
    return with_ints(g, "Transpose", y, "perm", 4, (int64_t[]){0, 2, 1, 3});
}

/* x [2, 3, 2, 6]: halves or neighbours turn as pairs; option 2 turns 4 numbers of 6, from positions 5 and 1. */
static const int64_t rotary_starts[2] = {5, 1};
static qn_value rotary_fused(qn_graph *g, const qn_value *x, int option)
{
    qn_attr attrs[] = {QN_ATTR_F("base", 50), QN_ATTR_I("interleaved", option == 1),
                       QN_ATTR_I("rotary_dim", option == 2 ? 4 : 0)};
    qn_value inputs[] = {x[0], constant(g, QN_DTYPE_I64, rotary_starts, QN_SHAPE(2))};
    return qn_graph_node(g, "RotaryEmbedding", inputs, option == 2 ? 2 : 1, attrs, 3);
}
static qn_value rotary_parts(qn_graph *g, const qn_value *x, int option)
{
    int64_t turned = option == 2 ? 4 : 6, half = turned / 2;
    double cosine[18], sine[18];
    for (int64_t at = 0; at < 2 * 3 * half; at++) {
        double place = (double)(at / half % 3 + (option == 2 ? rotary_starts[at / half / 3] : 0));
        cosine[at] = cos(place * pow(50, -(double)(at % half) / (double)half));
        sine[at] = sin(place * pow(50, -(double)(at % half) / (double)half));
    }
    qn_value c = constant(g, QN_DTYPE_F64, cosine, QN_SHAPE(2, 3, 1, half));
    qn_value s = constant(g, QN_DTYPE_F64, sine, QN_SHAPE(2, 3, 1, half)), from = x[0];
    if (option == 1) { /* neighbours become halves, and back below */
        from = reshaped(g, from, 5, (int64_t[]){2, 3, 2, 3, 2});
        from = with_ints(g, "Transpose", from, "perm", 5, (int64_t[]){0, 1, 2, 4, 3});
        from = reshaped(g, from, 4, (int64_t[]){2, 3, 2, 6});
    }
    qn_value a = part_of(g, from, 3, 0, half), b = part_of(g, from, 3, half, half);
    qn_value y[] = {two(g, "Sub", two(g, "Mul", a, c), two(g, "Mul", b, s)),
                    two(g, "Add", two(g, "Mul", b, c), two(g, "Mul", a, s)),
                    option == 2 ? part_of(g, from, 3, turned, 2) : QN_NONE};
    qn_attr axis = QN_ATTR_I("axis", 3);
    qn_value all = qn_graph_node(g, "Concat", y, option == 2 ? 3 : 2, &axis, 1);
    if (option != 1)
        return all;
    all = reshaped(g, all, 5, (int64_t[]){2, 3, 2, 2, 3});
    all = with_ints(g, "Transpose", all, "perm", 5, (int64_t[]){0, 1, 2, 4, 3});
    return reshaped(g, all, 4, (int64_t[]){2, 3, 2, 6});
}

/* x [4, 3, 2], weight and recurrent [2, 4 * 2, 2], bias [2, 16], h0 and c0 [2, 3, 2], peepholes [2, 6]: LSTM, GRU and
 * RNN, which take the first directions and rows of them; all results in one row. */
enum { STEPS = 4, BATCH = 3, UNITS = 2 };
static const struct recurrent_way {
    const char *op;
    int64_t gates;
    enum { ONWARD, BACKWARD, BOTH } direction;
    int64_t lengths[BATCH]; /* 0, 0, 0: none */
    bool states, peepholes, batch_first, coupled, reset_after, relu, own;
} recurrent_ways[] = {
    {"LSTM", 4, .direction = ONWARD},
    {"LSTM", 4, .direction = BACKWARD, .states = true},
    {"LSTM", 4, .direction = BOTH, .lengths = {4, 0, 2}, .states = true},
    {"LSTM", 4, .direction = BOTH, .lengths = {1, 4, 3}, .states = true, .batch_first = true},
    {"LSTM", 4, .direction = BOTH, .lengths = {3, 4, 2}, .states = true, .peepholes = true},
    {"LSTM", 4, .states = true, .peepholes = true, .coupled = true, .batch_first = true},
    {"LSTM", 4, .states = true, .own = true},
    {"GRU", 3, .direction = ONWARD},
    {"GRU", 3, .direction = ONWARD, .reset_after = true},
    {"GRU", 3, .direction = BOTH, .lengths = {4, 0, 2}, .states = true},
    {"GRU", 3, .direction = BOTH, .lengths = {2, 4, 3}, .states = true, .reset_after = true},
    {"GRU", 3, .direction = BACKWARD, .lengths = {3, 4, 1}, .batch_first = true},
    {"RNN", 1, .direction = ONWARD},
    {"RNN", 1, .direction = BOTH, .lengths = {4, 0, 2}, .states = true},
    {"RNN", 1, .direction = BACKWARD, .lengths = {4, 3, 2}, .relu = true, .batch_first = true},
};

static int64_t directions(const struct recurrent_way *way)
{
    return way->direction == BOTH ? 2 : 1;
}

/* The parts of the inputs that a way reads: directions and rows of gates. */
static void read_inputs(qn_graph *g, const qn_value *x, const struct recurrent_way *way,
                        qn_value *ret)
{
    int64_t rows = way->gates * UNITS;
    ret[0] = x[0];
    for (int i = 1; i < 7; i++)
        ret[i] = part_of(g, x[i], 0, 0, directions(way));
    ret[1] = part_of(g, ret[1], 1, 0, rows);
    ret[2] = part_of(g, ret[2], 1, 0, rows);
    ret[3] = part_of(g, ret[3], 1, 0, 2 * rows);
}

static qn_value turned(qn_graph *g, qn_value a, int rank)
{
    const int64_t perm[2][4] = {{1, 0, 2}, {2, 0, 1, 3}};
    return with_ints(g, "Transpose", a, "perm", rank, perm[rank - 3]);
}

static qn_value recurrent_fused(qn_graph *g, const qn_value *x, int option)
{
    static const char *const words[] = {"forward", "reverse", "bidirectional"};
    const struct recurrent_way *way = &recurrent_ways[option];
    qn_value from[7], inputs[8];
    bool lstm = way->gates == 4;
    qn_attr attrs[5] = {QN_ATTR_S("direction", words[way->direction]),
                        QN_ATTR_I("layout", way->batch_first)};
    int count = 2;
    read_inputs(g, x, way, from);
    for (int i = 0; i < 4; i++)
        inputs[i] = from[i];
    inputs[4] =
        way->lengths[2] ? constant(g, QN_DTYPE_I64, way->lengths, QN_SHAPE(BATCH)) : QN_NONE;
    inputs[5] = way->states ? from[4] : QN_NONE;
    inputs[6] = way->states && lstm ? from[5] : QN_NONE;
    inputs[7] = way->peepholes ? from[6] : QN_NONE;
    for (int i = 0; i < 7 && way->batch_first; i++)
        if ((i == 0 || i == 5 || i == 6) && inputs[i] != QN_NONE)
            inputs[i] = turned(g, inputs[i], 3);
    if (way->gates == 3)
        attrs[count++] = QN_ATTR_I("linear_before_reset", way->reset_after);
    if (way->gates == 1 && way->relu)
        attrs[count++] = QN_ATTR_S("activation", "relu");
    if (way->coupled)
        attrs[count++] = QN_ATTR_I("input_forget", 1);
    if (way->own) {
        attrs[count++] = QN_ATTR_S("activations", "hard_sigmoid scaled_tanh:1.7:0.7 softsign");
        attrs[count++] = QN_ATTR_F("clip", 0.9);
    }
    int last = 8;
    while (inputs[last - 1] == QN_NONE)
        last--;
    qn_value y = qn_graph_node(g, way->op, inputs, last, attrs, count);
    if (y == QN_NONE)
        return y;
    qn_value results[] = {y, y + 1, y + 2};
    if (way->batch_first) { /* [B, T, D, H] and [B, D, H] */
        results[0] = with_ints(g, "Transpose", y, "perm", 4, (int64_t[]){1, 2, 0, 3});
        results[1] = turned(g, results[1], 3);
        results[2] = lstm ? turned(g, results[2], 3) : QN_NONE;
    }
    return joined(g, results, lstm ? 3 : 2);
}

/* One direction of a way: its matrices [rows, ...], biases and peepholes [rows]. */
typedef struct {
    const struct recurrent_way *way;
    qn_value weight, recurrent, bias, peepholes;
} cell;

/* v w' + b of one gate. */
static qn_value gate_of(qn_graph *g, const cell *c, qn_value v, qn_value matrix, int64_t gate,
                        int64_t bias)
{
    qn_attr flip = QN_ATTR_I("transB", 1);
    qn_value factors[] = {v, part_of(g, matrix, 0, gate * UNITS, UNITS)};
    return two(g, "Add", qn_graph_node(g, "MatMul", factors, 2, &flip, 1),
               part_of(g, c->bias, 0, bias * UNITS, UNITS));
}

/* What a gate's activation sees of a state of c. */
static qn_value peeped(qn_graph *g, const cell *c, qn_value sum, qn_value state, int64_t row)
{
    qn_value own = part_of(g, c->peepholes, 0, row * UNITS, UNITS);
    return c->way->peepholes ? two(g, "Add", sum, two(g, "Mul", own, state)) : sum;
}

/* Sigmoid (role 0) and tanh (1: into the cell, 2: out of it), or the activations of a way of its own. */
static qn_value activated(qn_graph *g, const cell *c, qn_value v, int role)
{
    qn_attr limits[] = {QN_ATTR_F("min", -0.9), QN_ATTR_F("max", 0.9)};
    if (!c->way->own)
        return one(g, c->way->relu ? "Relu" : role ? "Tanh" : "Sigmoid", v);
    v = qn_graph_node(g, "Clip", &v, 1, limits, 2);
    if (role == 1)
        return scaled(g, one(g, "Tanh", scaled(g, v, 0.7)), 1.7);
    return one(g, role ? "Softsign" : "HardSigmoid", v);
}

static qn_value lstm_step(qn_graph *g, const cell *c, const qn_value *sum, qn_value *state)
{
    qn_value in = activated(g, c, peeped(g, c, sum[0], *state, 0), 0);
    qn_value kept = activated(g, c, peeped(g, c, sum[2], *state, 2), 0);
    if (c->way->coupled)
        kept = plus(g, one(g, "Neg", in), 1);
    qn_value fresh = two(g, "Mul", in, activated(g, c, sum[3], 1));
    *state = two(g, "Add", two(g, "Mul", kept, *state), fresh);
    qn_value out = activated(g, c, peeped(g, c, sum[1], *state, 1), 0);
    return two(g, "Mul", out, activated(g, c, *state, 2));
}

static qn_value gru_step(qn_graph *g, const cell *c, const qn_value *own, const qn_value *sum,
                         qn_value past, qn_value h)
{
    qn_value z = activated(g, c, sum[0], 0), r = activated(g, c, sum[1], 0);
    qn_value state = c->way->reset_after ? two(g, "Mul", r, past)
                                         : gate_of(g, c, two(g, "Mul", r, h), c->recurrent, 2, 5);
    qn_value fresh = activated(g, c, two(g, "Add", own[2], state), 1);
    return two(g, "Add", fresh, two(g, "Mul", z, two(g, "Sub", h, fresh)));
}

/* The next h, and c of LSTM. */
static qn_value cell_step(qn_graph *g, const cell *c, qn_value x, qn_value h, qn_value *state)
{
    qn_value own[4], past[4], sum[4];
    for (int64_t i = 0; i < c->way->gates; i++) {
        own[i] = gate_of(g, c, x, c->weight, i, i);
        past[i] = gate_of(g, c, h, c->recurrent, i, c->way->gates + i);
        sum[i] = two(g, "Add", own[i], past[i]);
    }
    if (c->way->gates == 4)
        return lstm_step(g, c, sum, state);
    if (c->way->gates == 3)
        return gru_step(g, c, own, sum, past[2], h);
    return activated(g, c, sum[0], 1);
}

/* b where a row's length is past t, a where it is not. */
static qn_value where_lives(qn_graph *g, const struct recurrent_way *way, int64_t t, qn_value a,
                            qn_value b)
{
    double lives[BATCH];
    for (int i = 0; i < BATCH; i++)
        lives[i] = way->lengths[2] == 0 || t < way->lengths[i];
    qn_value mask = constant(g, QN_DTYPE_F64, lives, QN_SHAPE(BATCH, 1));
    return two(g, "Add", b, two(g, "Mul", mask, two(g, "Sub", a, b)));
}

/* One direction through time: its y [T, 1, B, H], h and c [1, B, H]. A direction that goes back meets a row's own last
 * step first, because steps beyond it change nothing. */
static void walk(qn_graph *g, const cell *c, const qn_value *x, bool back, int64_t d, qn_value *ret)
{
    const struct recurrent_way *way = c->way;
    const int64_t first[] = {0}, front[] = {0, 1};
    qn_value each[STEPS], h = part_of(g, x[4], 0, d, 1), state = part_of(g, x[5], 0, d, 1);
    h = scaled(g, with_ints(g, "Squeeze", h, "axes", 1, first), way->states);
    state = scaled(g, with_ints(g, "Squeeze", state, "axes", 1, first), way->states);
    qn_value nothing = scaled(g, h, 0);
    for (int s = 0; s < STEPS; s++) {
        int64_t t = back ? STEPS - 1 - s : s;
        qn_value step = with_ints(g, "Squeeze", part_of(g, x[0], 0, t, 1), "axes", 1, first);
        qn_value next = state, fresh = cell_step(g, c, step, h, &next);
        h = where_lives(g, way, t, fresh, h);
        state = where_lives(g, way, t, next, state);
        each[t] =
            with_ints(g, "Unsqueeze", where_lives(g, way, t, fresh, nothing), "axes", 2, front);
    }
    qn_attr axis = QN_ATTR_I("axis", 0);
    ret[0] = qn_graph_node(g, "Concat", each, STEPS, &axis, 1);
    ret[1] = with_ints(g, "Unsqueeze", h, "axes", 1, first);
    ret[2] = with_ints(g, "Unsqueeze", state, "axes", 1, first);
}

static qn_value recurrent_parts(qn_graph *g, const qn_value *x, int option)
{
    const struct recurrent_way *way = &recurrent_ways[option];
    qn_value from[7], each[2][3], results[3];
    read_inputs(g, x, way, from);
    for (int64_t d = 0; d < directions(way); d++) {
        cell c = {.way = way};
        qn_value *const matrices[] = {&c.weight, &c.recurrent, &c.bias};
        for (int i = 0; i < 3; i++)
            *matrices[i] = with_ints(g, "Squeeze", part_of(g, from[1 + i], 0, d, 1), "axes", 1,
                                     (int64_t[]){0});
        c.peepholes =
            with_ints(g, "Squeeze", part_of(g, from[6], 0, d, 1), "axes", 1, (int64_t[]){0});
        walk(g, &c, from, way->direction == BACKWARD || d == 1, d, each[d]);
    }
    for (int i = 0; i < 3; i++) {
        qn_attr axis = QN_ATTR_I("axis", i == 0);
        results[i] = each[0][i];
        if (way->direction == BOTH)
            results[i] =
                qn_graph_node(g, "Concat", (qn_value[]){each[0][i], each[1][i]}, 2, &axis, 1);
    }
    return joined(g, results, way->gates == 4 ? 3 : 2);
}

/* Logits [3, 4, 3]; the loss is told by its definition: the sum over all 81 ways to choose a class in each of 4 frames that
 * spell a row's labels. */
enum { SPELLINGS = 3, FRAMES = 4, CLASSES = 3, CHOICES = 81, LABELS = 2 };
static const struct ctc_way {
    int64_t labels[SPELLINGS][LABELS], blank, frames[SPELLINGS], counts[SPELLINGS];
    bool sum;
} ctc_ways[] = {
    {{{1, 2}, {1, 1}, {2, -1}}, 0, {4, 4, 4}, {2, 2, 1}, false},
    {{{0, 2}, {2, 2}, {0, 0}}, 1, {4, 3, 4}, {2, 2, 0}, true},
    {{{0, 1}, {1, 1}, {1, 0}}, 2, {2, 2, 3}, {2, 2, 1}, false}, /* row 1 has too few frames */
};

static qn_value ctc_fused(qn_graph *g, const qn_value *x, int option)
{
    const struct ctc_way *way = &ctc_ways[option];
    qn_attr attrs[] = {QN_ATTR_I("blank", way->blank), QN_ATTR_I("zero_infinity", 1),
                       QN_ATTR_S("reduction", way->sum ? "sum" : "mean")};
    qn_value inputs[] = {x[0], constant(g, QN_DTYPE_I64, way->labels, QN_SHAPE(SPELLINGS, LABELS)),
                         constant(g, QN_DTYPE_I64, way->frames, QN_SHAPE(SPELLINGS)),
                         constant(g, QN_DTYPE_I64, way->counts, QN_SHAPE(SPELLINGS))};
    return qn_graph_node(g, "CTCLoss", inputs, option == 0 ? 2 : 4, attrs, 3);
}

/* Whether choice `code`, a digit per frame, spells the labels once repetitions are joined and blanks dropped. */
static bool spells(int code, const struct ctc_way *way, int row)
{
    int64_t found = 0, before = -1;
    bool same = true;
    for (int64_t t = 0; t < way->frames[row]; t++, code /= CLASSES) {
        int64_t class = code % CLASSES;
        if (class != way->blank && class != before) {
            same = same && found < way->counts[row] && way->labels[row][found] == class;
            found++;
        }
        before = class;
    }
    return same && found == way->counts[row] && code == 0; /* frames beyond the row's choose 0 */
}

/* The probabilities of all choices of a row: [81], frame 0 the fastest digit; frames that do not count choose 0. */
static qn_value choices_of(qn_graph *g, qn_value row, int64_t frames)
{
    static const double first[CLASSES] = {1, 0, 0};
    qn_value all = QN_NONE;
    for (int64_t t = 0; t < FRAMES; t++) {
        qn_value own =
            reshaped(g, one(g, "Softmax", part_of(g, row, 0, t, 1)), 2, (int64_t[]){CLASSES, 1});
        if (t >= frames)
            own = constant(g, QN_DTYPE_F64, first, QN_SHAPE(CLASSES, 1));
        all = t == 0 ? own : reshaped(g, two(g, "Mul", own, all), 2, (int64_t[]){1, -1});
        all = reshaped(g, all, 2, (int64_t[]){1, -1});
    }
    return all;
}

static qn_value ctc_parts(qn_graph *g, const qn_value *x, int option)
{
    const struct ctc_way *way = &ctc_ways[option];
    qn_value loss = number(g, 0);
    for (int r = 0; r < SPELLINGS; r++) {
        double right[CHOICES], any = 0, share = 1;
        for (int code = 0; code < CHOICES; code++) {
            right[code] = spells(code, way, r);
            any += right[code];
        }
        if (any < 1)
            continue;
        if (!way->sum)
            share = 1.0 / SPELLINGS / (double)(way->counts[r] > 1 ? way->counts[r] : 1);
        qn_value row =
            with_ints(g, "Squeeze", part_of(g, x[0], 0, r, 1), "axes", 1, (int64_t[]){0});
        qn_value each = two(g, "Mul", choices_of(g, row, way->frames[r]),
                            constant(g, QN_DTYPE_F64, right, QN_SHAPE(1, CHOICES)));
        loss = two(g, "Sub", loss, scaled(g, one(g, "Log", total(g, "ReduceSum", each)), share));
    }
    return loss;
}

#define COUNT(list) ((int)(sizeof(list) / sizeof(list)[0]))
#define STATES      F64(3, 2, 3, 2)
const fusion decompose_sequences[] = {
    {"Attention",
     attention_fused,
     attention_parts,
     4,
     {F64(4, 2, 3, 4, 2), F64(4, 2, 5, 2, 2), F64(4, 2, 5, 2, 2), F64(2, 3, 5)},
     -1,
     1,
     3,
     COUNT(attention_ways)},
    {"RotaryEmbedding", rotary_fused, rotary_parts, 1, {F64(4, 2, 3, 2, 6)}, -1, 1, 1, 3},
    {"recurrent networks",
     recurrent_fused,
     recurrent_parts,
     7,
     {F64(3, 4, 3, 2), F64(3, 2, 8, 2), F64(3, 2, 8, 2), F64(2, 2, 16), STATES, STATES,
      F64(2, 2, 6)},
     -1,
     1,
     7,
     COUNT(recurrent_ways)},
    {"CTCLoss", ctc_fused, ctc_parts, 1, {F64(3, 3, 4, 3)}, -1, 2, 1, COUNT(ctc_ways)},
    {0},
};
