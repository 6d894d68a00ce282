/*
 * Reverse-mode differentiation as a graph pass.
 *
 * For the loss L and a node y = f(x), the gradient of L to x is the gradient to y times the Jacobian of f:
 * the row's `vjp` builds nodes for exactly that product. Walking the nodes backwards from L, every use of a
 * value has been visited before the node that made it, so the sum over its uses (Add nodes, in a fixed
 * order) is complete by then. Only nodes on a path from a `wrt` value to L are visited; what a vjp builds
 * beyond need is dead code, which planning removes.
 */
#include "base/alloc.h"
#include "graph/recompute.h"

typedef struct {
    qn_graph *graph;
    qn_value *grads; /* of the values that exist at the start */
    bool *wanted;    /* a `wrt` value, or made from one */
    int values_count;
    qn_recompute *again; /* NULL = every value is kept */
} grad_walk;

static void mark_wanted(grad_walk *walk, const qn_value *wrt, int wrt_count)
{
    for (int i = 0; i < wrt_count; i++)
        walk->wanted[wrt[i]] = true;
    for (int i = 0; i < walk->graph->nodes_count; i++) {
        const qn_node *node = &walk->graph->nodes[i];
        bool any = false;
        for (int k = 0; k < node->inputs_count; k++)
            any = any || (node->inputs[k] != QN_NONE && walk->wanted[node->inputs[k]]);
        for (int k = 0; any && k < node->op->outputs_count; k++)
            walk->wanted[node->first + k] = true;
    }
}

/* Rows of one that were scattered are added to the other as they are: a table tied to other weights is large. */
static qn_value add_grads(qn_graph *graph, qn_value sum, qn_value grad)
{
    const qn_value_info *info = &graph->values[grad];
    const qn_node *node = info->kind == QN_VALUE_NODE ? &graph->nodes[info->node] : NULL;
    if (!node || strcmp(node->op->name, "ScatterAddRows") != 0)
        return qn_graph_op2(graph, "Add", sum, grad);
    qn_attr axis = node->attrs[1];
    qn_value inputs[] = {sum, node->inputs[0], node->inputs[1]};
    return qn_graph_node(graph, "AddRows", inputs, 3, &axis, 1);
}

static void add_grad(grad_walk *walk, const qn_node *node, int input, qn_value grad)
{
    qn_graph *graph = walk->graph;
    qn_value value = node->inputs[input];
    if (grad == QN_NONE || value == QN_NONE || !walk->wanted[value] || graph->error.code != QN_OK)
        return;
    const qn_type *type = &graph->values[value].type, *got = &graph->values[grad].type;
    if (type->dtype != got->dtype || !qn_shape_equal(&type->shape, &got->shape)) {
        char want_text[128], got_text[128];
        qn_graph_fail(graph, QN_ERR_INTERNAL, "gradient of %s to its input %d is %s %s, not %s %s",
                      node->op->name, input, qn_dtype_name(got->dtype),
                      qn_shape_text(&got->shape, got_text), qn_dtype_name(type->dtype),
                      qn_shape_text(&type->shape, want_text));
        return;
    }
    qn_value *sum = &walk->grads[value];
    *sum = *sum == QN_NONE ? grad : add_grads(graph, *sum, grad);
}

/* `index` is the node's own; `node` is a copy: building moves the graph's tables. */
static void visit(grad_walk *walk, int index, qn_node node)
{
    qn_graph *graph = walk->graph;
    bool flows = false;
    for (int k = 0; k < node.op->outputs_count; k++)
        flows = flows || walk->grads[node.first + k] != QN_NONE;
    if (!flows || !walk->wanted[node.first] || node.op->flags & QN_OP_NO_GRADIENT)
        return;
    if (!node.op->vjp) {
        qn_graph_fail(graph, QN_ERR_UNSUPPORTED, "%s has no gradient", node.op->name);
        return;
    }
    qn_recompute_enter(walk->again, graph, index);
    qn_value outputs[QN_OP_OUTPUTS_MAX], grads[QN_OP_OUTPUTS_MAX];
    for (int k = 0; k < node.op->outputs_count; k++) {
        outputs[k] = qn_recompute_value(walk->again, node.first + k);
        grads[k] = walk->grads[node.first + k];
    }
    qn_value *input_grads = qn_alloc((size_t)(node.inputs_count + 1) * 2 * sizeof *input_grads);
    qn_value *inputs = input_grads ? input_grads + node.inputs_count + 1 : NULL;
    qn_node_types types;
    if (!input_grads || !qn_node_types_init(&types, graph, &node)) {
        qn_free(input_grads);
        qn_graph_fail_memory(graph);
        return;
    }
    for (int k = 0; k < node.inputs_count; k++) {
        input_grads[k] = QN_NONE;
        inputs[k] = qn_recompute_value(walk->again, node.inputs[k]);
    }
    graph->scope = node.scope;
    node.op->vjp(&(qn_op_vjp){graph, &types.types, inputs, outputs, grads}, input_grads);
    for (int k = 0; k < node.inputs_count; k++)
        add_grad(walk, &node, k, input_grads[k]);
    qn_node_types_deinit(&types);
    qn_free(input_grads);
}

static void check_request(qn_graph *graph, qn_value loss, const qn_value *wrt, int wrt_count)
{
    bool valid = loss >= 0 && loss < graph->values_count;
    for (int i = 0; i < wrt_count; i++)
        valid = valid && wrt[i] >= 0 && wrt[i] < graph->values_count;
    if (!valid) {
        qn_graph_fail(graph, QN_ERR_ARG, "gradients are asked for a value the graph does not have");
        return;
    }
    const qn_type *type = &graph->values[loss].type;
    char text[128];
    if (!qn_dtype_is_float(type->dtype) || qn_shape_count(&type->shape) != 1)
        qn_graph_fail(graph, QN_ERR_ARG, "a loss is one floating-point number, not %s %s",
                      qn_dtype_name(type->dtype), qn_shape_text(&type->shape, text));
    for (int i = 0; i < wrt_count; i++)
        if (!qn_dtype_is_float(graph->values[wrt[i]].type.dtype))
            qn_graph_fail(graph, QN_ERR_ARG, "no gradient exists to a value of %s",
                          qn_dtype_name(graph->values[wrt[i]].type.dtype));
}

/* The gradient of the loss to itself. */
static qn_value seed_one(qn_graph *graph, const qn_type *type)
{
    double one = 1;
    qn_tensor seed = {.dtype = QN_DTYPE_F64, .shape = type->shape, .data = &one};
    double element = 0; /* wide enough for every float type */
    qn_tensor_convert(&element, type->dtype, &seed);
    seed = qn_tensor_of(&element, type->dtype, type->shape);
    return qn_graph_const(graph, &seed);
}

static qn_status differentiate(qn_graph *graph, qn_value loss, const qn_value *wrt, int wrt_count,
                               qn_recompute *again, qn_value *ret_grads, qn_error *err)
{
    if (graph->error.code == QN_OK)
        check_request(graph, loss, wrt, wrt_count);
    QN_TRY(qn_graph_check(graph, err));
    int count = graph->values_count;
    grad_walk walk = {.graph = graph, .values_count = count, .again = again};
    walk.grads = qn_alloc((size_t)count * sizeof *walk.grads);
    walk.wanted = qn_alloc_zero(count, sizeof *walk.wanted);
    const char *scope = graph->scope;
    if (walk.grads && walk.wanted) {
        for (int i = 0; i < count; i++)
            walk.grads[i] = QN_NONE;
        mark_wanted(&walk, wrt, wrt_count);
        qn_type loss_type = graph->values[loss].type;
        walk.grads[loss] = seed_one(graph, &loss_type);
        for (int i = graph->nodes_count - 1; i >= 0 && graph->error.code == QN_OK; i--)
            visit(&walk, i, graph->nodes[i]);
        for (int i = 0; i < wrt_count && graph->error.code == QN_OK; i++)
            ret_grads[i] = walk.grads[wrt[i]] != QN_NONE ? walk.grads[wrt[i]]
                                                         : qn_graph_op1(graph, "ZerosLike", wrt[i]);
    } else {
        qn_graph_fail_memory(graph);
    }
    graph->scope = scope;
    qn_free(walk.grads);
    qn_free(walk.wanted);
    return qn_graph_check(graph, err);
}

qn_status qn_graph_grad(qn_graph *graph, qn_value loss, const qn_value *wrt, int wrt_count,
                        qn_value *ret_grads, qn_error *err)
{
    return differentiate(graph, loss, wrt, wrt_count, NULL, ret_grads, err);
}

qn_status qn_graph_grad_recompute(qn_graph *graph, qn_value loss, const qn_value *wrt,
                                  int wrt_count, qn_value *ret_grads, qn_error *err)
{
    qn_recompute again;
    QN_TRY(qn_graph_check(graph, err));
    if (!qn_recompute_init(&again, graph))
        qn_graph_fail_memory(graph);
    qn_status status = qn_graph_check(graph, err);
    if (status == QN_OK)
        status = differentiate(graph, loss, wrt, wrt_count, &again, ret_grads, err);
    qn_recompute_deinit(&again);
    return status;
}
