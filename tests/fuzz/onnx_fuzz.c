/* ONNX: bytes are a model that imports into a graph, or an error; small limits keep what it may ask for small. */
#include "model/onnx_import.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qn_arena arena;
    qn_onnx_model model;
    qn_error err = {0};
    qn_arena_init(&arena, 64 << 20);
    if (qn_onnx_read((qn_str){(const char *)data, size}, "f", NULL, &arena, &model, &err) ==
        QN_OK) {
        qn_onnx_import_options options = {.open_size = size & 1, .constants_max = 1 << 20};
        qn_graph *graph;
        qn_state *state;
        if (qn_onnx_import(&model, &options, &graph, &state, &err) == QN_OK) {
            qn_graph_destroy(graph);
            qn_state_destroy(state);
        }
        qn_onnx_close(&model);
    }
    qn_arena_deinit(&arena);
    return 0;
}
