/*
 * What every row promises beyond its samples: each sample is tried again with a size of 0, of 1, of a prime and of a
 * prime beyond two vectors, with inputs that are views of other memory, and with NaN, infinities, denormals and the
 * largest numbers among its values. What infer takes must run: kernel beside reference, f32 beside f64, gradients beside
 * differences. A row for which a kind of size cannot be made stands in a table below, with its reason.
 */
#include "row_bound.h"

enum { ELEMENTS_MAX = 2500, GRADIENT_MAX = 96, OUTPUTS_MAX = 10000, KINDS = 4, SIZES_MAX = 96 };

static const struct {
    const char *name;
    int64_t size;
} kinds[KINDS] = {{"no", 0}, {"one", 1}, {"a prime", 7}, {"a tail", 37}};

/* Where a size of a sample is looked for; what is found is replaced by the new size everywhere in that reach. */
enum { IN_INPUTS, IN_LISTS, IN_ALL, REACHES };

static bool replace(int64_t *at, int64_t old, int64_t size)
{
    bool found = *at == old;
    *at = found ? size : *at;
    return found;
}

static bool replace_in_attr(qn_attr *attr, int reach, int64_t old, int64_t size)
{
    bool found = false;
    if (attr->kind == QN_ATTR_INT && reach == IN_ALL)
        found = replace(&attr->i, old, size);
    for (int d = 0; attr->kind == QN_ATTR_INTS && reach >= IN_LISTS && d < attr->count; d++)
        found = replace(&attr->ints[d], old, size) || found;
    return found;
}

static bool small_enough(const qn_op_sample *sample)
{
    for (int i = 0; i < sample->inputs_count; i++)
        if (sample->inputs[i].shape.rank > 0 &&
            qn_shape_count(&sample->inputs[i].shape) > ELEMENTS_MAX)
            return false;
    return true;
}

/* `only`: an input of which alone, or QN_OP_INPUTS_MAX: all of them. */
static bool resized(const qn_op *op, const qn_op_sample *from, int64_t old, int64_t size, int reach,
                    int only, qn_op_sample *ret)
{
    bool found = false;
    *ret = *from;
    for (int i = 0; i < ret->inputs_count; i++)
        for (int d = 0; (only == QN_OP_INPUTS_MAX || only == i) && d < ret->inputs[i].shape.rank;
             d++)
            found = replace(&ret->inputs[i].shape.dims[d], old, size) || found;
    for (int k = 0; k < ret->attrs_count; k++)
        found = replace_in_attr(&ret->attrs[k], reach, old, size) || found;
    return found && small_enough(ret) && accepts(op, ret, QN_DTYPE_F64);
}

/* The widest agreement that infer takes: in all inputs, in lists beside them, in numbers beside them, in one input. */
static bool variant_of(const qn_op *op, const qn_op_sample *from, int64_t old, int64_t size,
                       qn_op_sample *ret)
{
    for (int reach = IN_INPUTS; reach < REACHES; reach++)
        if (resized(op, from, old, size, reach, QN_OP_INPUTS_MAX, ret))
            return true;
    for (int reach = IN_INPUTS; reach < REACHES; reach++)
        for (int only = 0; only < from->inputs_count; only++)
            if (resized(op, from, old, size, reach, only, ret))
                return true;
    return false;
}

/* The sizes that a sample names, each once. */
static int sizes_of(const qn_op_sample *sample, int64_t sizes[SIZES_MAX])
{
    int count = 0;
    for (int i = 0; i < sample->inputs_count; i++)
        for (int d = 0; d < sample->inputs[i].shape.rank && count < SIZES_MAX; d++)
            sizes[count++] = sample->inputs[i].shape.dims[d];
    for (int k = 0; k < sample->attrs_count; k++) {
        const qn_attr *attr = &sample->attrs[k];
        if (attr->kind == QN_ATTR_INT && count < SIZES_MAX)
            sizes[count++] = attr->i;
        for (int d = 0; attr->kind == QN_ATTR_INTS && d < attr->count && count < SIZES_MAX; d++)
            sizes[count++] = attr->ints[d];
    }
    int kept = 0;
    for (int i = 0; i < count; i++) {
        bool seen = sizes[i] < 0;
        for (int j = 0; j < kept; j++)
            seen = seen || sizes[j] == sizes[i];
        if (!seen)
            sizes[kept++] = sizes[i];
    }
    return kept;
}

/* One dimension of the first input, and of all that have its rank. */
static bool along_axis(const qn_op *op, const qn_op_sample *from, int axis, int64_t size,
                       qn_op_sample *ret)
{
    *ret = *from;
    for (int i = 0; i < ret->inputs_count; i++)
        if (ret->inputs[i].shape.rank == from->inputs[0].shape.rank)
            ret->inputs[i].shape.dims[axis] = size;
    return small_enough(ret) && accepts(op, ret, QN_DTYPE_F64);
}

typedef void (*check_fn)(const qn_op *op, const qn_op_sample *sample, int at);

/* Calls `check` for each variant of a row that has a size of the kind; how many there were. */
static int for_each_variant(const qn_op *op, int kind, check_fn check)
{
    int made = 0;
    for (int at = 0; at < op->samples_count; at++) {
        const qn_op_sample *from = &op->samples[at];
        qn_op_sample sample;
        int64_t sizes[SIZES_MAX];
        int count = sizes_of(from, sizes);
        for (int i = 0; i < count; i++)
            if (variant_of(op, from, sizes[i], kinds[kind].size, &sample)) {
                check(op, &sample, at);
                made++;
            }
        for (int axis = 0; from->inputs_count > 0 && axis < from->inputs[0].shape.rank; axis++)
            if (along_axis(op, from, axis, kinds[kind].size, &sample)) {
                check(op, &sample, at);
                made++;
            }
    }
    return made;
}

static const row_special no_special = {.input = -1};

static void run_pair(bench *a, bench *b)
{
    fill(a);
    fill(b);
    qn_plan_run(a->plan, 3);
    qn_plan_run(b->plan, 3);
}

/* Gates above 1, so that numbers leave f32 after many steps. */
static bool explodes(const qn_op *op, const qn_op_sample *sample, int at)
{
    return strcmp(op->name, "LSTM") == 0 && at == 6 && sample->inputs[0].shape.dims[0] > 8;
}

static void check_numbers(const qn_op *op, const qn_op_sample *sample, int at)
{
    if (explodes(op, sample, at))
        return;
    bench fast = open_bench(op, sample, QN_DTYPE_F32, false, false);
    bench ref = open_bench(op, sample, QN_DTYPE_F32, false, true);
    row_measure measure = measure_row(op, sample, no_special);
    run_pair(&fast, &ref);
    compare_measured(&fast, &measure, at, "the kernel");
    compare_measured(&ref, &measure, at, "f32");
    free_measure(&measure);
    close_bench(&fast);
    close_bench(&ref);
}

/* Kinds of sizes that a row cannot have, by their bits. */
static const struct {
    const char *op;
    unsigned kinds;
    const char *reason;
} lacks[] = {
    {"Range", 15, "its length follows from three numbers: number_test"},
    {"ClipScale", 15, "one number in, one out"},
    {"NAdamProduct", 15, "one number in, one out"},
    {"MelWeightMatrix", 1, "no bands are no spectrum: refused"},
};

static unsigned lacking(const qn_op *op)
{
    for (size_t i = 0; i < sizeof lacks / sizeof lacks[0]; i++)
        if (strcmp(lacks[i].op, op->name) == 0)
            return lacks[i].kinds;
    return 0;
}

static void every_row_takes_every_size(void **unused)
{
    (void)unused;
    const qn_op *op;
    for (int row = 0; (op = qn_op_at(row)); row++) {
        for (int at = 0; at < op->samples_count; at++)
            check_numbers(op, &op->samples[at], at);
        for (int kind = 0; kind < KINDS; kind++) {
            bool made = for_each_variant(op, kind, check_numbers) > 0;
            if (made == (lacking(op) >> kind & 1))
                fail_msg("%s has %s sample with a size of %lld", op->name, made ? "a" : "no",
                         (long long)kinds[kind].size);
        }
    }
}

/* Rows that have kinks where a sample of another size may lie. */
static bool has_kinks(const qn_op *op)
{
    static const struct {
        const char *op, *reason;
    } rows[] = {
        {"GridSample", "a place may lie on the edge of a pixel"},
        {"ScatterElements", "indices that meet: ONNX leaves open which one counts"},
        {"ScatterND", "as ScatterElements"},
    };
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++)
        if (strcmp(rows[i].op, op->name) == 0)
            return true;
    return false;
}

static bool is_small(const qn_op_sample *sample)
{
    bool small = true;
    for (int i = 0; i < sample->inputs_count; i++)
        small = small && (sample->inputs[i].shape.rank <= 0 ||
                          qn_shape_count(&sample->inputs[i].shape) <= GRADIENT_MAX);
    return small;
}

/* By differences, of each number where there are few, else along random directions; not where a label lies outside its classes
 * and the loss is not finite. */
static void check_gradients(const qn_op *op, const qn_op_sample *sample, int at)
{
    bench probe = open_bench(op, sample, QN_DTYPE_F64, false, true);
    const qn_tensor *y = qn_plan_output(probe.plan, "y0");
    bool smooth = y->dtype == QN_DTYPE_F64 && qn_shape_count(&y->shape) <= OUTPUTS_MAX;
    close_bench(&probe);
    if (!smooth)
        return;
    bench b = open_bench(op, sample, QN_DTYPE_F64, true, true);
    fill(&b);
    bool finite = isfinite(loss_of(&b));
    for (int i = 0; finite && i < sample->inputs_count; i++)
        if (is_float_input(sample, i))
            (is_small(sample) ? check_gradient : check_directions)(&b, i, at);
    close_bench(&b);
}

static void gradients_hold_at_every_size(void **unused)
{
    (void)unused;
    const qn_op *op;
    for (int row = 0; (op = qn_op_at(row)); row++)
        for (int kind = 0; op->vjp && !has_kinks(op) && kind < KINDS; kind++)
            for_each_variant(op, kind, check_gradients);
}

/* Where a kernel and its reference may differ on what is not finite: with it in which inputs, and in which outputs (bits). */
enum { SPREADS = 1, PICKS = 2, ALL = 255 };
#define IN(i) (1U << (i))
static const struct {
    const char *op;
    unsigned inputs, outputs, ways;
    const char *reason;
} specials_of[] = {
    {"Conv", IN(1), ALL, SPREADS, "padding is zeros that are multiplied, as by im2col elsewhere"},
    {"ConvGradData", IN(1), ALL, SPREADS, "as Conv"},
    {"ConvTranspose", IN(1), ALL, SPREADS, "as Conv"},
    {"ConvReluPool", IN(1), ALL, SPREADS | PICKS, "as Conv; the first NaN is the largest"},
    {"ConvReluPoolGrad", IN(0) | IN(3) | IN(4), ALL, SPREADS,
     "as Conv, and places that were not taken have a slope of 0 that is multiplied"},
    {"RNNGrad", IN(2), ALL, SPREADS, "rows that have ended meet the weights with slopes of 0"},
    {"GRUGrad", IN(2), ALL, SPREADS, "as RNNGrad"},
    {"Attention", IN(0) | IN(1), ALL, SPREADS, "a mask of -inf is added to a score of inf or NaN"},
    {"Attention", IN(2), ALL, SPREADS,
     "in a block of keys, what a query does not see has a weight of 0 that is multiplied, as "
     "under a mask in PyTorch and ONNX Runtime"},
    {"AttentionGrad", IN(0) | IN(1) | IN(2), ALL, SPREADS, "as Attention"},
    {"CTCLoss", IN(0), IN(2), PICKS, "kept logarithms of paths that cannot be: any below -1e29"},
};

static unsigned ways_of(const qn_op *op, int input, int output)
{
    unsigned ways = 0;
    for (size_t i = 0; i < sizeof specials_of / sizeof specials_of[0]; i++)
        if (strcmp(specials_of[i].op, op->name) == 0 && specials_of[i].inputs >> input & 1 &&
            specials_of[i].outputs >> output & 1)
            ways |= specials_of[i].ways;
    return ways;
}

/* For the few numbers that cancel more than is usual. */
static bool within_rounding(const bench *fast, row_special special, int k, int64_t i, double got)
{
    row_measure m = measure_row(fast->op, fast->sample, special);
    double want = m.expected[k][i], allowed = allowed_of(fast->op, want, m.moved[k][i]);
    free_measure(&m);
    return fabs(got - want) <= allowed;
}

/* A result that is not finite stays so, and one that is stays within the bound. */
static void compare_specials(const bench *fast, const bench *ref, int at, row_special special)
{
    for (int k = 0; k < fast->op->outputs_count; k++) {
        unsigned ways = ways_of(fast->op, special.input, k);
        const qn_tensor *ya = qn_plan_output(fast->plan, numbered('y', k));
        const qn_tensor *yb = qn_plan_output(ref->plan, numbered('y', k));
        bool is_float = qn_dtype_is_float(ya->dtype);
        for (int64_t i = 0; i < qn_shape_count(&ya->shape); i++) {
            double va = qn_tensor_f64_at(ya, i), vb = qn_tensor_f64_at(yb, i);
            unsigned way = !isfinite(vb) ? 0 : isfinite(va) ? PICKS : SPREADS; /* none may lose */
            bool same = !isfinite(va) && !isfinite(vb);
            same = same || fabs(va - vb) <= (is_float ? 1e-5 * (1 + fabs(vb)) : 0);
            if (!same && !(ways & way) && !(is_float && within_rounding(fast, special, k, i, va)))
                fail_msg(
                    "%s sample %d: y%d[%d] is %.9g in the kernel, where x%d has %g, expected %.9g",
                    fast->op->name, at, k, (int)i, va, special.input, special.value, vb);
        }
    }
}

static void check_specials(const qn_op *op, const qn_op_sample *sample, int at)
{
    static const double specials[] = {NAN, INFINITY, -INFINITY, 1e-40, -1e-45, -0.0};
    bench fast = open_bench(op, sample, QN_DTYPE_F32, false, false);
    bench ref = open_bench(op, sample, QN_DTYPE_F32, false, true);
    for (int i = 0; i < sample->inputs_count; i++)
        for (size_t k = 0; is_float_input(sample, i) && k < sizeof specials / sizeof *specials;
             k++) {
            row_special special = {i, specials[k]};
            fill_with(&fast, special);
            fill_with(&ref, special);
            qn_plan_run(fast.plan, 3);
            qn_plan_run(ref.plan, 3);
            compare_specials(&fast, &ref, at, special);
        }
    close_bench(&fast);
    close_bench(&ref);
}

/* Whole numbers that name no row, label or place. */
static void check_indices(const qn_op *op, const qn_op_sample *sample, int at)
{
    static const double specials[] = {-1, 120, -2147483648.0, 2147483647.0};
    bench fast = open_bench(op, sample, QN_DTYPE_F32, false, false);
    bench ref = open_bench(op, sample, QN_DTYPE_F32, false, true);
    for (int i = 0; i < sample->inputs_count; i++) {
        bool whole = fast.present[i] && !qn_dtype_is_float(sample->inputs[i].dtype);
        for (size_t k = 0; whole && k < sizeof specials / sizeof *specials; k++) {
            char what[80];
            fill_with(&fast, (row_special){i, specials[k]});
            fill_with(&ref, (row_special){i, specials[k]});
            qn_plan_run(fast.plan, 3);
            qn_plan_run(ref.plan, 3);
            snprintf(what, sizeof what, "the kernel, where x%d has %g", i, specials[k]);
            compare_outputs(&fast, &ref, 1e-5, at, what);
        }
    }
    close_bench(&fast);
    close_bench(&ref);
}

static void whole_numbers_out_of_range_touch_nothing_else(void **unused)
{
    (void)unused;
    const qn_op *op;
    for (int row = 0; (op = qn_op_at(row)); row++)
        for (int at = 0; at < op->samples_count; at++)
            check_indices(op, &op->samples[at], at);
}

static void special_values_go_through_kernels_as_through_refs(void **unused)
{
    (void)unused;
    const qn_op *op;
    for (int row = 0; (op = qn_op_at(row)); row++) {
        for (int at = 0; at < op->samples_count; at++)
            check_specials(op, &op->samples[at], at);
        for_each_variant(op, 3, check_specials);
    }
}

/* The row over transposed inputs: plans may fold such a node into the call behind it. */
static bench open_viewed(const qn_op *op, const qn_op_sample *sample)
{
    bench b = {.graph = qn_graph_create(), .op = op, .sample = sample};
    qn_value inputs[QN_OP_INPUTS_MAX];
    for (int i = 0; i < sample->inputs_count; i++) {
        qn_type type = retyped(sample->inputs[i], QN_DTYPE_F32);
        int rank = type.shape.rank;
        qn_shape turned = {.rank = rank};
        qn_attr perm = {.name = "perm", .kind = QN_ATTR_INTS, .count = rank};
        for (int d = 0; d < rank; d++) {
            perm.ints[d] = rank - 1 - d;
            turned.dims[d] = type.shape.dims[rank - 1 - d];
        }
        inputs[i] =
            rank < 0 ? QN_NONE : qn_graph_input(b.graph, numbered('x', i), type.dtype, turned);
        if (rank > 1)
            inputs[i] = qn_graph_node(b.graph, "Transpose", &inputs[i], 1, &perm, 1);
    }
    qn_value y = qn_graph_node(b.graph, op->name, inputs, sample->inputs_count, sample->attrs,
                               sample->attrs_count);
    for (int k = 0; k < op->outputs_count; k++)
        qn_graph_output(b.graph, numbered('y', k), y + k);
    make_plan(&b, false);
    return b;
}

/* Element `flat` of a tensor, in the order of the tensor with its dimensions reversed. */
static int64_t turned_place(const qn_shape *shape, int64_t flat)
{
    int64_t place = 0, stride[QN_RANK_MAX] = {1};
    for (int d = 1; d < shape->rank; d++)
        stride[d] = stride[d - 1] * shape->dims[d - 1];
    for (int d = shape->rank - 1; d >= 0; d--) {
        place += flat % shape->dims[d] * stride[d];
        flat /= shape->dims[d];
    }
    return place;
}

static void check_views(const qn_op *op, const qn_op_sample *sample, int at)
{
    bench plain = open_bench(op, sample, QN_DTYPE_F32, false, true);
    bench viewed = open_viewed(op, sample);
    fill(&plain);
    for (int i = 0; i < sample->inputs_count; i++) {
        const qn_tensor *from = qn_plan_input(plain.plan, numbered('x', i));
        const qn_tensor *to = qn_plan_input(viewed.plan, numbered('x', i));
        for (int64_t k = 0; from && k < qn_shape_count(&from->shape); k++)
            set_at(to, turned_place(&from->shape, k), qn_tensor_f64_at(from, k));
    }
    qn_plan_run(viewed.plan, 3);
    row_measure measure = measure_row(op, sample, no_special);
    if (!explodes(op, sample, at))
        compare_measured(&viewed, &measure, at, "a kernel behind views");
    free_measure(&measure);
    close_bench(&plain);
    close_bench(&viewed);
}

static void views_are_read_as_what_they_show(void **unused)
{
    (void)unused;
    const qn_op *op;
    for (int row = 0; (op = qn_op_at(row)); row++) {
        for (int at = 0; at < op->samples_count; at++)
            check_views(op, &op->samples[at], at);
        for_each_variant(op, 3, check_views);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_row_takes_every_size),
        cmocka_unit_test(gradients_hold_at_every_size),
        cmocka_unit_test(views_are_read_as_what_they_show),
        cmocka_unit_test(whole_numbers_out_of_range_touch_nothing_else),
        cmocka_unit_test(special_values_go_through_kernels_as_through_refs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
