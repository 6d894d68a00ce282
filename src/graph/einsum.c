/*
 * Einstein sums by pairs: of two operands the indices fall into four groups, and one product of
 * matrices does them all.
 *
 *     in both and wanted later    batch    A [batch, only A, summed]  B [batch, summed, only B]
 *     in both and not wanted      summed   MatMul -> [batch, only A, only B]
 *     in one                      rows or columns
 *
 * An index that one operand alone has and nobody wants is summed before; one that stands twice in an
 * operand takes its diagonal before that. The dimensions of "..." have letters of their own, '0' to
 * '7', counted from the last.
 */
#include "graph/einsum.h"

#include <ctype.h>
#include <string.h>

#include "base/checked.h"

enum { INPUTS_MAX = 64 };

typedef struct {
    qn_value value;
    int rank;
    char letters[QN_RANK_MAX];
} operand;

typedef struct {
    qn_graph *graph;
    operand inputs[INPUTS_MAX];
    int inputs_count;
    operand result; /* no value: the letters wanted */
} einsum;

static const qn_shape *shape_of(const einsum *e, qn_value value)
{
    return &qn_graph_type(e->graph, value)->shape;
}

static int find_letter(const operand *o, char letter)
{
    for (int d = 0; d < o->rank; d++)
        if (o->letters[d] == letter)
            return d;
    return -1;
}

/* Parsing. */

static bool push_letter(operand *o, char letter)
{
    if (o->rank == QN_RANK_MAX)
        return false;
    o->letters[o->rank++] = letter;
    return true;
}

/* One term: letters, spaces and at most one "...", which stands for `dots` dimensions. */
static bool parse_term(const char *text, size_t size, int dots, operand *ret)
{
    bool seen = false;
    ret->rank = 0;
    for (size_t i = 0; i < size; i++) {
        if (text[i] == ' ')
            continue;
        if (text[i] == '.') {
            if (seen || size - i < 3 || memcmp(text + i, "...", 3) != 0)
                return false;
            seen = true;
            i += 2;
            for (int d = dots - 1; d >= 0; d--)
                if (!push_letter(ret, (char)('0' + d)))
                    return false;
        } else if (!isalpha((unsigned char)text[i]) || !push_letter(ret, text[i])) {
            return false;
        }
    }
    return true;
}

static int count_letters(const char *text, size_t size)
{
    int count = 0;
    for (size_t i = 0; i < size; i++)
        count += isalpha((unsigned char)text[i]) != 0;
    return count;
}

/* The inputs' terms. Returns how many dimensions "..." has at most; -1 = a term does not fit. */
static int parse_inputs(einsum *e, const char *text, size_t size)
{
    int most = 0, at = 0;
    for (size_t start = 0; start <= size; at++) {
        const char *comma = memchr(text + start, ',', size - start);
        size_t length = comma ? (size_t)(comma - text) - start : size - start;
        if (at == e->inputs_count)
            return -1;
        operand *input = &e->inputs[at];
        int rank = shape_of(e, input->value)->rank;
        int dots = rank - count_letters(text + start, length);
        bool has_dots = memchr(text + start, '.', length) != NULL;
        if (dots < 0 || (!has_dots && dots > 0) || !parse_term(text + start, length, dots, input) ||
            input->rank != rank)
            return -1;
        most = dots > most ? dots : most;
        start += length + 1;
    }
    return at == e->inputs_count ? most : -1;
}

/* Without "->": the dimensions of "...", then every letter that stands once, in order. */
static bool imply_result(einsum *e, int dots)
{
    for (int d = dots - 1; d >= 0; d--)
        if (!push_letter(&e->result, (char)('0' + d)))
            return false;
    for (int letter = 'A'; letter <= 'z'; letter++) {
        int count = 0;
        for (int i = 0; i < e->inputs_count; i++)
            for (int d = 0; d < e->inputs[i].rank; d++)
                count += e->inputs[i].letters[d] == letter;
        if (count == 1 && !push_letter(&e->result, (char)letter))
            return false;
    }
    return true;
}

/* Every letter of the result stands there once and in an input. */
static bool result_fits(const einsum *e)
{
    for (int d = 0; d < e->result.rank; d++) {
        bool found = false;
        for (int i = 0; i < e->inputs_count; i++)
            found = found || find_letter(&e->inputs[i], e->result.letters[d]) >= 0;
        if (!found || find_letter(&e->result, e->result.letters[d]) != d)
            return false;
    }
    return true;
}

static bool parse(einsum *e, const char *equation)
{
    const char *arrow = strstr(equation, "->");
    size_t left = arrow ? (size_t)(arrow - equation) : strlen(equation);
    int dots = parse_inputs(e, equation, left);
    if (dots < 0)
        return false;
    bool read =
        arrow ? parse_term(arrow + 2, strlen(arrow + 2), dots, &e->result) : imply_result(e, dots);
    return read && result_fits(e);
}

/* Nodes. */

static qn_value with_ints(const einsum *e, const char *op, qn_value x, const char *name,
                          const int64_t *numbers, int count)
{
    qn_attr attrs[2] = {{.name = name, .kind = QN_ATTR_INTS, .count = count},
                        QN_ATTR_I("keepdims", 0)};
    memcpy(attrs[0].ints, numbers, (size_t)count * sizeof *numbers);
    return qn_graph_node(e->graph, op, &x, 1, attrs, strcmp(op, "ReduceSum") == 0 ? 2 : 1);
}

static qn_value reshape(const einsum *e, qn_value x, const int64_t *dims, int rank)
{
    int64_t numbers[QN_RANK_MAX];
    if (x == QN_NONE)
        return QN_NONE;
    if (rank > QN_RANK_MAX)
        return qn_graph_fail(e->graph, QN_ERR_ARG, "Einsum: %d dimensions, at most %d are allowed",
                             rank, QN_RANK_MAX);
    const qn_shape from = *shape_of(e, x);
    for (int d = 0; d < rank; d++) {
        bool same_place = d < from.rank && from.dims[d] == dims[d];
        numbers[d] = dims[d] >= 0 ? dims[d] : same_place ? 0 : -1;
    }
    return with_ints(e, "Reshape", x, "shape", numbers, rank);
}

/* Puts the dimensions in the order of `letters`. */
static void order(const einsum *e, operand *o, const char *letters, int count)
{
    int64_t perm[QN_RANK_MAX];
    bool moves = false;
    for (int d = 0; d < count; d++) {
        perm[d] = find_letter(o, letters[d]);
        moves = moves || perm[d] != d;
    }
    memcpy(o->letters, letters, (size_t)count);
    if (moves)
        o->value = with_ints(e, "Transpose", o->value, "perm", perm, count);
}

/* Dimensions a and b of one letter become one: last of all, then every (size + 1)-th element. */
static void take_diagonal(const einsum *e, operand *o, int a, int b)
{
    int64_t perm[QN_RANK_MAX], dims[QN_RANK_MAX], size = shape_of(e, o->value)->dims[a];
    char letters[QN_RANK_MAX], letter = o->letters[a];
    int kept = 0;
    for (int d = 0; d < o->rank; d++)
        if (d != a && d != b) {
            letters[kept] = o->letters[d];
            perm[kept++] = d;
        }
    perm[kept] = a;
    perm[kept + 1] = b;
    o->value = with_ints(e, "Transpose", o->value, "perm", perm, o->rank);
    if (o->value == QN_NONE)
        return;
    memcpy(dims, shape_of(e, o->value)->dims, sizeof dims);
    if (size < 0 || size > INT32_MAX || dims[kept + 1] != size) {
        qn_graph_fail(e->graph, QN_ERR_ARG, "Einsum: '%c' stands for %lld and for %lld", letter,
                      (long long)size, (long long)dims[kept + 1]);
        o->value = QN_NONE;
        return;
    }
    dims[kept] = size * size;
    o->value = reshape(e, o->value, dims, kept + 1);
    qn_attr slice[] = {
        {.name = "starts", .kind = QN_ATTR_INTS, .count = 1, .ints = {0}},
        {.name = "ends", .kind = QN_ATTR_INTS, .count = 1, .ints = {INT64_MAX}},
        {.name = "axes", .kind = QN_ATTR_INTS, .count = 1, .ints = {kept}},
        {.name = "steps", .kind = QN_ATTR_INTS, .count = 1, .ints = {size + 1}},
    };
    o->value = qn_graph_node(e->graph, "Slice", &o->value, 1, slice, 4);
    letters[kept] = letter;
    o->rank = kept + 1;
    memcpy(o->letters, letters, (size_t)o->rank);
}

static void take_diagonals(const einsum *e, operand *o)
{
    for (int d = 0; d < o->rank && o->value != QN_NONE; d++)
        for (int k = d + 1; k < o->rank; k++)
            if (o->letters[k] == o->letters[d]) {
                take_diagonal(e, o, d, k);
                d = -1; /* the letters have moved */
                break;
            }
}

/* Whether the result or an operand from `next` on has the letter. */
static bool is_wanted(const einsum *e, char letter, int next)
{
    bool wanted = find_letter(&e->result, letter) >= 0;
    for (int i = next; i < e->inputs_count; i++)
        wanted = wanted || find_letter(&e->inputs[i], letter) >= 0;
    return wanted;
}

/* Sums over what neither `other` has nor anybody wants. */
static void sum_alone(const einsum *e, operand *o, const operand *other, int next)
{
    int64_t axes[QN_RANK_MAX];
    int count = 0, kept = 0;
    for (int d = 0; d < o->rank; d++) {
        char letter = o->letters[d];
        if ((other && find_letter(other, letter) >= 0) || is_wanted(e, letter, next))
            o->letters[kept++] = letter;
        else
            axes[count++] = d;
    }
    o->rank = kept;
    if (count > 0)
        o->value = with_ints(e, "ReduceSum", o->value, "axes", axes, count);
}

/* Dimensions of 1 under "..." grow to the other operand's before they are summed. */
static void broadcast_summed(const einsum *e, operand *o, const operand *other, const char *summed,
                             int count)
{
    if (o->value == QN_NONE || other->value == QN_NONE)
        return;
    qn_shape shape = *shape_of(e, o->value);
    for (int i = 0; i < count; i++) {
        int64_t *own = &shape.dims[find_letter(o, summed[i])];
        int64_t size = shape_of(e, other->value)->dims[find_letter(other, summed[i])];
        *own = *own == 1 ? size : *own;
    }
    if (qn_shape_equal(&shape, shape_of(e, o->value)))
        return;
    qn_attr attr = {.name = "shape", .kind = QN_ATTR_INTS, .count = shape.rank};
    memcpy(attr.ints, shape.dims, sizeof attr.ints);
    o->value = qn_graph_node(e->graph, "Expand", &o->value, 1, &attr, 1);
}

/* The groups of letters of a pair, side by side in `letters`. */
typedef struct {
    char batch[QN_RANK_MAX], summed[QN_RANK_MAX], rows[QN_RANK_MAX], cols[QN_RANK_MAX];
    int batch_count, summed_count, rows_count, cols_count;
} pair_groups;

static pair_groups group(const einsum *e, const operand *a, const operand *b, int next)
{
    pair_groups g = {0};
    for (int d = 0; d < a->rank; d++) {
        char letter = a->letters[d];
        if (find_letter(b, letter) < 0)
            g.rows[g.rows_count++] = letter;
        else if (is_wanted(e, letter, next))
            g.batch[g.batch_count++] = letter;
        else
            g.summed[g.summed_count++] = letter;
    }
    for (int d = 0; d < b->rank; d++)
        if (find_letter(a, b->letters[d]) < 0)
            g.cols[g.cols_count++] = b->letters[d];
    return g;
}

/* Rows of `a` (or columns) whose size is open cannot be merged with others: they become batch
 * dimensions, of size 1 in the other operand. */
static void keep_open(const einsum *e, pair_groups *g, char *letters, int *count, const operand *a,
                      operand *b)
{
    int kept = 0;
    for (int i = 0; i < *count; i++) {
        char letter = letters[i];
        bool open = a->value != QN_NONE && shape_of(e, a->value)->dims[find_letter(a, letter)] < 0;
        if (!open || b->rank == QN_RANK_MAX) {
            letters[kept++] = letter;
            continue;
        }
        g->batch[g->batch_count++] = letter;
        memmove(b->letters + 1, b->letters, (size_t)b->rank++);
        b->letters[0] = letter;
        b->value = with_ints(e, "Unsqueeze", b->value, "axes", (const int64_t[]){0}, 1);
    }
    *count = kept;
}

/* The product of dimensions [from, from + count). */
static int64_t merged(const qn_shape *shape, int from, int count)
{
    int64_t product = 1;
    if (count == 1)
        return shape->dims[from];
    for (int d = from; d < from + count; d++)
        if (shape->dims[d] < 0 || !qn_mul_i64(product, shape->dims[d], &product))
            return INT64_MAX; /* no shape: the error is Reshape's */
    return product;
}

/* The operand as [batch..., first, second], matrices of two merged groups. */
static qn_value as_matrices(const einsum *e, operand *o, const pair_groups *g, const char *first,
                            int first_count, const char *second, int second_count)
{
    char letters[QN_RANK_MAX];
    int64_t dims[QN_RANK_MAX + 2];
    memcpy(letters, g->batch, (size_t)g->batch_count);
    memcpy(letters + g->batch_count, first, (size_t)first_count);
    memcpy(letters + g->batch_count + first_count, second, (size_t)second_count);
    order(e, o, letters, o->rank);
    if (o->value == QN_NONE)
        return QN_NONE;
    const qn_shape shape = *shape_of(e, o->value);
    memcpy(dims, shape.dims, sizeof shape.dims);
    dims[g->batch_count] = merged(&shape, g->batch_count, first_count);
    dims[g->batch_count + 1] = merged(&shape, g->batch_count + first_count, second_count);
    return reshape(e, o->value, dims, g->batch_count + 2);
}

/* a becomes the sum over the pair. */
static void contract(const einsum *e, operand *a, operand *b, int next)
{
    sum_alone(e, a, b, next);
    sum_alone(e, b, a, next);
    pair_groups g = group(e, a, b, next);
    keep_open(e, &g, g.rows, &g.rows_count, a, b);
    keep_open(e, &g, g.cols, &g.cols_count, b, a);
    broadcast_summed(e, a, b, g.summed, g.summed_count);
    broadcast_summed(e, b, a, g.summed, g.summed_count);
    qn_value left = as_matrices(e, a, &g, g.rows, g.rows_count, g.summed, g.summed_count);
    qn_value right = as_matrices(e, b, &g, g.summed, g.summed_count, g.cols, g.cols_count);
    qn_value product = qn_graph_op2(e->graph, "MatMul", left, right);
    int64_t dims[3 * QN_RANK_MAX];
    int rank = 0;
    if (product == QN_NONE) {
        a->value = QN_NONE;
        return;
    }
    for (int d = 0; d < g.batch_count; d++)
        dims[rank++] = shape_of(e, product)->dims[d];
    for (int d = 0; d < g.rows_count; d++)
        dims[rank++] = shape_of(e, a->value)->dims[g.batch_count + d];
    for (int d = 0; d < g.cols_count; d++)
        dims[rank++] = shape_of(e, b->value)->dims[g.batch_count + g.summed_count + d];
    a->value = reshape(e, product, dims, rank);
    if (a->value == QN_NONE)
        return;
    a->rank = rank;
    memcpy(a->letters, g.batch, (size_t)g.batch_count);
    memcpy(a->letters + g.batch_count, g.rows, (size_t)g.rows_count);
    memcpy(a->letters + g.batch_count + g.rows_count, g.cols, (size_t)g.cols_count);
}

qn_value qn_graph_einsum(qn_graph *graph, const char *equation, const qn_value *inputs,
                         int inputs_count)
{
    einsum e = {.graph = graph, .inputs_count = inputs_count};
    if (qn_graph_check(graph, NULL) != QN_OK)
        return QN_NONE;
    if (inputs_count < 1 || inputs_count > INPUTS_MAX)
        return qn_graph_fail(graph, QN_ERR_ARG, "Einsum takes 1 to %d inputs, not %d", INPUTS_MAX,
                             inputs_count);
    for (int i = 0; i < inputs_count; i++)
        e.inputs[i].value = inputs[i];
    if (!parse(&e, equation))
        return qn_graph_fail(graph, QN_ERR_ARG, "Einsum: '%s' does not fit the inputs", equation);
    for (int i = 0; i < inputs_count; i++)
        take_diagonals(&e, &e.inputs[i]);
    operand *so_far = &e.inputs[0];
    for (int i = 1; i < inputs_count && so_far->value != QN_NONE; i++)
        contract(&e, so_far, &e.inputs[i], i + 1);
    if (so_far->value == QN_NONE)
        return QN_NONE;
    sum_alone(&e, so_far, NULL, inputs_count);
    order(&e, so_far, e.result.letters, e.result.rank);
    return so_far->value;
}
