/*
 * Models for the server's tests, over made-up data, with the weights of their initialisation (the server does not
 * care how good they are):
 *   churn     raw columns age (number), city (category), active (boolean) -> stay / leave
 *   price     raw columns size, rooms -> a number
 *   picture   an image of 8x8 pixels -> one of three labels
 *   arrays    an array "x" of two floats, as from an NPZ -> a number
 *   plane     a model of tensors: "input" [B, 2] -> "output" [B, 1]; two versions
 *   heavy     a model of tensors too large for the loop thread: [B, 512] -> [B, 16]
 */
#ifndef QN_SERVE_MODELS_H
#define QN_SERVE_MODELS_H

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/rng.h"
#include "model/architecture.h"
#include "model/folder.h"
#include "os/file.h"
#include "quern/net.h"

/* Schema, transforms, graph and seeded weights of a frame, written as a model folder. */
static qn_status write_model(const char *folder, const char *name, const qn_frame *frame,
                             const char *target, qn_model_type type, qn_arena *arena, qn_error *err)
{
    char out[512];
    snprintf(out, sizeof(out), "%s/models/%s", folder, name);
    qn_schema schema;
    qn_transforms *transforms;
    qn_schema_options options = {.target = target};
    QN_TRY(qn_schema_infer(frame, NULL, frame->rows, &options, arena, &schema, err));
    QN_TRY(qn_transforms_fit(&schema, frame, NULL, frame->rows, NULL, arena, &transforms, err));
    int64_t sources_count;
    const qn_feature_tensor *sources = qn_transforms_outputs(transforms, &sources_count);
    qn_architecture architecture = {.type = type,
                                    .task = schema.task,
                                    .classes = schema.labels_count,
                                    .sources = sources,
                                    .sources_count = sources_count,
                                    .rows = frame->rows};
    qn_transforms_target_scale(transforms, &architecture.target_mean,
                               &architecture.target_deviation);
    qn_state *state;
    qn_network network;
    const char *path;
    int64_t version;
    qn_graph *graph = qn_graph_create();
    qn_status status = qn_architecture_build(&architecture, graph, true, arena, &network, err);
    if (status == QN_OK && (status = qn_state_create(&state, err)) == QN_OK) {
        qn_folder_content content = {.name = name,
                                     .graph = graph,
                                     .state = state,
                                     .transforms = transforms,
                                     .schema = &schema,
                                     .task = schema.task};
        status = qn_state_add_graph(state, graph, 1, err);
        if (status == QN_OK)
            status = qn_folder_write(out, &content, arena, &path, &version, err);
        qn_state_destroy(state);
    }
    qn_graph_destroy(graph);
    return status;
}

static qn_status make_churn(const char *folder, qn_arena *arena, qn_error *err)
{
    static const char *const cities[] = {"Oslo", "Bergen", "Troms\xc3\xb8"};
    enum { ROWS = 200 };
    qn_rng rng = {.seed = 7};
    qn_frame frame;
    QN_TRY(qn_frame_init(&frame, arena, 4, ROWS, err));
    double *age = qn_frame_numbers(&frame, QN_STR("age"), arena);
    qn_str *city = qn_frame_strings(&frame, QN_STR("city"), arena);
    qn_column *active = qn_frame_add(&frame, QN_STR("active"), QN_COLUMN_NUMBER, arena);
    qn_str *outcome = qn_frame_strings(&frame, QN_STR("outcome"), arena);
    active->boolean = true;
    for (uint64_t i = 0; i < ROWS; i++) {
        age[i] = 18 + (double)qn_rng_below(rng, 4 * i, 60);
        city[i] = qn_str_from(cities[qn_rng_below(rng, 4 * i + 1, 3)]);
        active->numbers[i] = (double)qn_rng_below(rng, 4 * i + 2, 2);
        outcome[i] = qn_rng_below(rng, 4 * i + 3, 3) ? QN_STR("stay") : QN_STR("leave");
    }
    return write_model(folder, "churn", &frame, "outcome", QN_MODEL_LOGISTIC, arena, err);
}

static qn_status make_price(const char *folder, qn_arena *arena, qn_error *err)
{
    enum { ROWS = 200 };
    qn_rng rng = {.seed = 8};
    qn_frame frame;
    QN_TRY(qn_frame_init(&frame, arena, 3, ROWS, err));
    double *size = qn_frame_numbers(&frame, QN_STR("size"), arena);
    double *rooms = qn_frame_numbers(&frame, QN_STR("rooms"), arena);
    double *price = qn_frame_numbers(&frame, QN_STR("price"), arena);
    for (uint64_t i = 0; i < ROWS; i++) {
        size[i] = 20 + 100 * qn_rng_uniform_f64(rng, 3 * i);
        rooms[i] = 1 + (double)qn_rng_below(rng, 3 * i + 1, 9);
        price[i] = size[i] * 3.5 + rooms[i] * 11 + qn_rng_normal(rng, 9000 + i);
    }
    return write_model(folder, "price", &frame, "price", QN_MODEL_LINEAR, arena, err);
}

static qn_status make_picture(const char *folder, qn_arena *arena, qn_error *err)
{
    static const char *const labels[] = {"circle", "cross", "line"};
    enum { ROWS = 60, PIXELS = 64 };
    qn_rng rng = {.seed = 9};
    qn_frame frame;
    uint8_t *pixels = QN_NEW(arena, uint8_t, ROWS * PIXELS);
    qn_tensor array = qn_tensor_of(pixels, QN_DTYPE_U8, QN_SHAPE(ROWS, 8, 8));
    QN_TRY(qn_frame_init(&frame, arena, 2, ROWS, err));
    for (uint64_t i = 0; i < ROWS * PIXELS; i++)
        pixels[i] = (uint8_t)qn_rng_below(rng, i, 256);
    qn_frame_add_array(&frame, QN_STR("image"), &array);
    qn_str *label = qn_frame_strings(&frame, QN_STR("label"), arena);
    for (uint64_t i = 0; i < ROWS; i++)
        label[i] = qn_str_from(labels[i % 3]);
    return write_model(folder, "picture", &frame, "label", QN_MODEL_CNN, arena, err);
}

static qn_status make_arrays(const char *folder, qn_arena *arena, qn_error *err)
{
    enum { ROWS = 60 };
    qn_rng rng = {.seed = 10};
    qn_frame frame;
    float *x = QN_NEW(arena, float, ROWS * 2);
    qn_tensor array = qn_tensor_of(x, QN_DTYPE_F32, QN_SHAPE(ROWS, 2));
    QN_TRY(qn_frame_init(&frame, arena, 2, ROWS, err));
    for (uint64_t i = 0; i < ROWS * 2; i++)
        x[i] = (float)qn_rng_uniform_f64(rng, i);
    qn_frame_add_array(&frame, QN_STR("x"), &array);
    double *y = qn_frame_numbers(&frame, QN_STR("y"), arena);
    for (int i = 0; i < ROWS; i++)
        y[i] = (double)x[2 * i] + 2 * (double)x[2 * i + 1];
    return write_model(folder, "arrays", &frame, "y", QN_MODEL_LINEAR, arena, err);
}

/* `versions` times one dense net with `units` hidden units (0 = none), fitted for a moment. */
static qn_status make_net(const char *folder, const char *name, int64_t inputs, int64_t units,
                          int64_t outputs, int versions, qn_error *err)
{
    char out[512];
    snprintf(out, sizeof(out), "%s/models/%s", folder, name);
    float *x = calloc((size_t)(4 * inputs), sizeof(float)),
          *y = calloc((size_t)(4 * outputs), sizeof(float));
    for (int64_t i = 0; i < 4 * inputs; i++)
        x[i] = (float)(i % 7) / 7;
    qn_net *net = qn_net_create(QN_INPUT(inputs), err);
    if (units)
        qn_net_dense(net, units, QN_RELU);
    qn_net_dense(net, outputs, QN_LINEAR);
    qn_fit_options fit = {.threads = 1};
    qn_status status = qn_net_fit(net, (qn_view){x, QN_DTYPE_F32, 2, {4, inputs}},
                                  (qn_view){y, QN_DTYPE_F32, 2, {4, outputs}}, &fit, err);
    for (int version = 0; version < versions && status == QN_OK; version++)
        status = qn_net_save(net, out, err);
    qn_net_destroy(net);
    free(x);
    free(y);
    return status;
}

static qn_status make_models(const char *folder, qn_error *err)
{
    char models[512];
    snprintf(models, sizeof(models), "%s/models", folder);
    qn_arena arena;
    qn_arena_init(&arena, 0);
    qn_status status = qn_folder_make(models, err);
    if (status == QN_OK)
        status = make_churn(folder, &arena, err);
    if (status == QN_OK)
        status = make_price(folder, &arena, err);
    if (status == QN_OK)
        status = make_picture(folder, &arena, err);
    if (status == QN_OK)
        status = make_arrays(folder, &arena, err);
    if (status == QN_OK)
        status = make_net(folder, "plane", 2, 0, 1, 2, err);
    if (status == QN_OK)
        status = make_net(folder, "heavy", 512, 4096, 16, 1, err);
    qn_arena_deinit(&arena);
    return status;
}

#endif
