/*
 * The table of ONNX operators that are read, and the mapping that most of them need: the same operator here, since ops and
 * attributes are named after ONNX.
 */
#include <string.h>

#include "graph/op.h"
#include "model/onnx_import_priv.h"

static const qn_onnx_row *const tables[] = {qn_onnx_rows_math,
                                            qn_onnx_rows_shape,
                                            qn_onnx_rows_image,
                                            qn_onnx_rows_sequence,
                                            qn_onnx_rows_quant,
                                            qn_onnx_rows_loss,
                                            qn_onnx_rows_index,
                                            qn_onnx_rows_signal,
                                            qn_onnx_rows_deform,
                                            qn_onnx_rows_grams,
                                            qn_onnx_rows_body,
                                            qn_onnx_rows_dropout,
                                            NULL};

const qn_onnx_row *qn_onnx_row_find(const char *domain, const char *op, int64_t version)
{
    for (int t = 0; tables[t]; t++)
        for (const qn_onnx_row *row = tables[t]; row->op; row++)
            if (strcmp(row->op, op) == 0 && strcmp(row->domain ? row->domain : "", domain) == 0 &&
                version >= row->since && (row->until == 0 || version <= row->until))
                return row;
    return NULL;
}

bool qn_onnx_support_at(int index, qn_onnx_support *ret)
{
    for (int t = 0; tables[t]; t++)
        for (const qn_onnx_row *row = tables[t]; row->op; row++)
            if (index-- == 0) {
                *ret = (qn_onnx_support){row->domain ? row->domain : "", row->op, row->note,
                                         row->since, row->until};
                return true;
            }
    return false;
}

static bool is_listed(const char *words, const char *word)
{
    size_t length = strlen(word);
    for (const char *at = words; at && *at;) {
        size_t span = strcspn(at, " ");
        if (span == length && memcmp(at, word, length) == 0)
            return true;
        at += span + (at[span] == ' ');
    }
    return false;
}

static bool convert_attr(qn_onnx_call *call, const qn_onnx_attr *from, const qn_attr_spec *spec,
                         qn_attr *dst)
{
    *dst = (qn_attr){.name = spec->name};
    switch (from->kind) {
    case QN_ONNX_ATTR_INT:
        *dst = QN_ATTR_I(spec->name, from->i);
        return true;
    case QN_ONNX_ATTR_FLOAT:
        *dst = QN_ATTR_F(spec->name, (double)from->f);
        return true;
    case QN_ONNX_ATTR_STRING:
        *dst = QN_ATTR_S(spec->name, from->s);
        return true;
    case QN_ONNX_ATTR_INTS:
        dst->kind = QN_ATTR_INTS;
        dst->count = qn_onnx_attr_ints(call, from->name, dst->ints, QN_RANK_MAX);
        return call->status == QN_OK;
    default:
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "attribute '%.60s' is of a kind that is not read",
                     from->name);
        return false;
    }
}

/* The file's attributes as the row's; those of the row's list `ignored` are passed over. */
static int convert_attrs(qn_onnx_call *call, const qn_op *op, qn_attr *dst)
{
    int count = 0;
    for (int i = 0; i < call->node->attrs_count && call->status == QN_OK; i++) {
        const qn_onnx_attr *from = &call->node->attrs[i];
        if (is_listed(call->row->ignored, from->name) || strcmp(from->name, "consumed_inputs") == 0)
            continue;
        const qn_attr_spec *spec = op->attrs;
        while (spec && spec->name && strcmp(spec->name, from->name) != 0)
            spec++;
        if (!spec || !spec->name || count == QN_OP_ATTRS_MAX)
            qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "attribute '%.60s' is not read", from->name);
        else
            count += convert_attr(call, from, spec, &dst[count]);
    }
    return count;
}

enum { INPUTS_MAX = 1024 };

static void map_plain(qn_onnx_call *call, const qn_op *op, const qn_attr *attrs, int attrs_count)
{
    qn_value inputs[INPUTS_MAX], outputs[QN_OP_OUTPUTS_MAX];
    int count = call->node->inputs_count;
    for (int i = 0; i < count; i++)
        inputs[i] = qn_onnx_has(call, i) ? qn_onnx_in(call, i) : QN_NONE;
    qn_onnx_emit_many(call, op->name, inputs, count, attrs, attrs_count, outputs,
                      op->outputs_count);
    for (int i = 0; i < op->outputs_count; i++)
        qn_onnx_out(call, i, outputs[i]);
}

/* An input of a channels-last node: as it is, or a constant or scalar brought to that layout. False: the node is computed
 * in the file's layout. */
static bool can_be_last(qn_onnx_call *call, int input, int rank)
{
    const qn_onnx_value *value = qn_onnx_find(call->importer, call->node->inputs[input]);
    if (!value)
        return false;
    if (value->last != QN_NONE && qn_onnx_type(call, value->last)->shape.rank == rank)
        return true;
    qn_tensor tensor;
    return value->plain != QN_NONE && qn_graph_const_read(call->graph, value->plain, &tensor) &&
           tensor.shape.rank <= rank;
}

static qn_value as_last(qn_onnx_call *call, int input, int rank)
{
    const qn_onnx_value *value = qn_onnx_find(call->importer, call->node->inputs[input]);
    if (value->last != QN_NONE)
        return value->last;
    qn_shape shape = qn_onnx_type(call, value->plain)->shape, full = {.rank = rank};
    if (shape.rank == 0)
        return value->plain;
    for (int i = 0; i < rank; i++)
        full.dims[i] = i < rank - shape.rank ? 1 : shape.dims[i - (rank - shape.rank)];
    return qn_onnx_to_last(call, qn_onnx_reshape(call, value->plain, &full));
}

/* Rank of the channels-last tensors among the inputs when all can be so; 0 otherwise. */
static int find_last_rank(qn_onnx_call *call)
{
    int rank = 0;
    for (int i = 0; i < call->node->inputs_count && rank == 0; i++)
        if (qn_onnx_has(call, i) && qn_onnx_is_last(call, i))
            rank = qn_onnx_type(call, qn_onnx_in_last(call, i))->shape.rank;
    for (int i = 0; i < call->node->inputs_count && rank > 0; i++)
        if (!qn_onnx_has(call, i) || !can_be_last(call, i, rank))
            rank = 0;
    return rank;
}

static const qn_op *find_op(qn_onnx_call *call)
{
    const char *name = call->row->target ? call->row->target : call->node->op;
    const qn_op *op = qn_op_find(name);
    if (!op)
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "operator %s is not read", name);
    if (call->node->inputs_count > INPUTS_MAX) {
        qn_onnx_fail(call, QN_ERR_UNSUPPORTED, "%d inputs, at most %d are read",
                     call->node->inputs_count, (int)INPUTS_MAX);
        op = NULL;
    }
    return op;
}

void qn_onnx_map_same(qn_onnx_call *call)
{
    qn_attr attrs[QN_OP_ATTRS_MAX];
    const qn_op *op = find_op(call);
    if (op) {
        int count = convert_attrs(call, op, attrs);
        map_plain(call, op, attrs, count);
    }
}

void qn_onnx_map_elementwise(qn_onnx_call *call)
{
    qn_attr attrs[QN_OP_ATTRS_MAX];
    qn_value inputs[INPUTS_MAX];
    const qn_op *op = find_op(call);
    int count = op ? convert_attrs(call, op, attrs) : 0;
    int rank = op ? find_last_rank(call) : 0;
    if (op && rank == 0)
        map_plain(call, op, attrs, count);
    if (rank == 0 || call->status != QN_OK)
        return;
    for (int i = 0; i < call->node->inputs_count; i++)
        inputs[i] = as_last(call, i, rank);
    qn_onnx_out_last(call, 0,
                     qn_onnx_emit(call, op->name, inputs, call->node->inputs_count, attrs, count));
}
