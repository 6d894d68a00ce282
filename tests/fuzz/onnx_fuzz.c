/*
 * ONNX: bytes are a model that imports into a graph, or an error; small limits keep what it may ask for small. Half of them are
 * imported for training, up to a value inside; what imports is written again.
 */
#include "model/onnx_export.h"
#include "model/onnx_import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void write_again(const qn_graph *graph, const qn_state *state)
{
    qn_buf bytes;
    qn_error err = {0};
    qn_buf_init(&bytes, 16 << 20);
    (void)!qn_onnx_export(&bytes, graph, state, "f", &err);
    qn_buf_deinit(&bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const char *const frozen[] = {"*.bias"};
    const qn_onnx_training training = {frozen, size & 4 ? 1 : 0};
    qn_arena arena;
    qn_onnx_model model;
    qn_error err = {0};
    qn_arena_init(&arena, 64 << 20);
    if (qn_onnx_read((qn_str){(const char *)data, size}, "f", NULL, &arena, &model, &err) ==
        QN_OK) {
        qn_onnx_import_options options = {.open_size = size & 1,
                                          .constants_max = 1 << 20,
                                          .training = size & 2 ? &training : NULL};
        if (size & 2 && model.nodes_count > 0 &&
            model.nodes[model.nodes_count / 2].outputs_count > 0)
            options.output = model.nodes[model.nodes_count / 2].outputs[0];
        qn_graph *graph;
        qn_state *state;
        if (qn_onnx_import(&model, &options, &graph, &state, &err) == QN_OK) {
            write_again(graph, state);
            qn_graph_destroy(graph);
            qn_state_destroy(state);
        }
        qn_onnx_close(&model);
    }
    qn_arena_deinit(&arena);
    return 0;
}
