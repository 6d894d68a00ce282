/*
 * Every layer of the table and every way of learning, from a recipe to a prediction: trained for two steps, written, read
 * back, asked, written as ONNX and asked again. What a layer computes is held to PyTorch and to its op's reference elsewhere.
 */
#include "testing.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "format/npy.h"
#include "model/folder.h"
#include "model/onnx_export.h"
#include "model/predictor.h"
#include "model/recipe.h"
#include "nn/layers.h"
#include "os/file.h"
#include "train/fit.h"

enum { ROWS = 16 };

/* A network over samples of one shape. What it ends in is added: flatten and a dense layer. */
typedef struct {
    qn_shape input; /* of a sample */
    const char *layers;
} layer_case;

#define SEQUENCE                                                                                   \
    {                                                                                              \
        2,                                                                                         \
        {                                                                                          \
            6, 4                                                                                   \
        }                                                                                          \
    }
#define IMAGE                                                                                      \
    {                                                                                              \
        3,                                                                                         \
        {                                                                                          \
            6, 6, 2                                                                                \
        }                                                                                          \
    }
#define VOLUME                                                                                     \
    {                                                                                              \
        4,                                                                                         \
        {                                                                                          \
            4, 4, 4, 2                                                                             \
        }                                                                                          \
    }
#define ROW                                                                                        \
    {                                                                                              \
        1,                                                                                         \
        {                                                                                          \
            6                                                                                      \
        }                                                                                          \
    }

/* Masks: the first three see each other, the rest what came before; and a ring in which each sees the next. */
#define PREFIX                                                                                     \
    "[[1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], [1, 1, 1, 0, 0, 0], [1, 1, 1, 1, 0, 0], [1, 1, 1, "  \
    "1, 1, 0], [1, 1, 1, 1, 1, 1]]"
#define NEIGHBOURS                                                                                 \
    "[[1, 1, 0, 0, 0, 0], [0, 1, 1, 0, 0, 0], [0, 0, 1, 1, 0, 0], [0, 0, 0, 1, 1, 0], [0, 0, 0, "  \
    "0, 1, 1], [1, 0, 0, 0, 0, 1]]"

static const layer_case cases[] = {
    {ROW, "dense: {units: 3, activation: tanh, init: he_normal, bias: false}"},
    {ROW, "dense: {units: 3, reparametrize: weight_norm}"},
    {ROW, "dense: {units: 3, reparametrize: spectral_norm}"},
    {ROW, "batch_norm: {momentum: 0.8}}, {dropout: {rate: 0.2}"},
    {IMAGE, "flatten"},
    {ROW, "reshape: {shape: [3, -1]}"},
    {ROW, "embedding: {count: 8, size: 3}"},
    {ROW, "embedding: {count: 8, size: 3, mask_zero: true}}, {gru: {units: 3}"},
    {ROW, "one_hot: {count: 8}"},
    {ROW, "activation: {name: mish}"},
    {ROW, "activation: {name: leaky_relu, alpha: 0.2}"},
    {SEQUENCE, "where: {condition: [dense: {units: 4}, threshold], layers: [dense: {units: 4}]}"},
    {SEQUENCE, "where: {condition: [residual: {join: less, layers: [dense: {units: 4}]}], layers: "
               "[dense: {units: 1}], otherwise: [function: {name: square}]}"},
    {ROW,
     "residual: {layers: [dense: {units: 6}, activation: {name: softplus}, clip: {min: 1, max: "
     "9}], shortcut: [clip: {min: 1, max: 9}], join: divide}"},
    {ROW, "residual: {layers: [clip: {min: 1, max: 3}], join: power}"},
    {ROW,
     "residual: {layers: [dense: {units: 6}], shortcut: [clip: {min: 1, max: 9}], join: modulo}"},
    {ROW, "residual: {layers: [clip: {min: 3, max: 3}], join: equal}}, {function: {name: not}}, "
          "{residual: {layers: [function: {name: not}], join: or}}, {cast: {to: f32}"},
    {ROW, "residual: {layers: [clip: {min: 3, max: 3}], join: less_equal}}, {residual: {layers: "
          "[function: {name: not}], join: and}}, {cast: {to: f32}"},
    {ROW, "residual: {layers: [clip: {min: 3, max: 3}], join: greater}}, {residual: {layers: "
          "[function: {name: not}], join: xor}}, {cast: {to: f32}"},
    {ROW, "residual: {layers: [clip: {min: 3, max: 3}], join: greater_equal}}, {cast: {to: f32}"},
    {ROW, "function: {name: is_nan}}, {cast: {to: f32}"},
    {ROW, "function: {name: is_inf}}, {cast: {to: f32}"},
    {SEQUENCE, "prelu"},
    {SEQUENCE, "permute: {order: [2, 1]}"},
    {ROW, "repeat: {count: 3}"},
    {SEQUENCE, "unit_norm"},
    /* branches */
    {ROW, "residual: {layers: [dense: {units: 6}], activation: relu}"},
    {ROW, "residual: {layers: [dense: {units: 3}], shortcut: [dense: {units: 3}]}"},
    {ROW, "residual: {layers: [dense: {units: 6, activation: sigmoid}], join: multiply}"},
    {ROW, "residual: {layers: [dense: {units: 6}], join: subtract}"},
    {ROW, "residual: {layers: [dense: {units: 6}], join: maximum}"},
    {ROW, "residual: {layers: [dense: {units: 6}], join: minimum}"},
    {ROW, "residual: {layers: [dense: {units: 6}], join: average}"},
    {IMAGE, "residual: {layers: [conv2d: {filters: 3, kernel: 3, padding: same}], join: concat}"},
    {IMAGE, "residual: {join: multiply, layers: [global_avg_pool2d, dense: {units: 2}, "
            "reshape: {shape: [1, 1, 2]}]}"},
    /* convolution */
    {SEQUENCE, "conv1d: {filters: 3, kernel: 3, dilation: 2}"},
    {IMAGE, "conv2d: {filters: 4, kernel: [3, 2], stride: 2, groups: 2, padding: 1}"},
    {IMAGE, "conv2d: {filters: 4, kernel: 3, reparametrize: weight_norm}"},
    {VOLUME, "conv3d: {filters: 3, kernel: 2, reparametrize: spectral_norm}"},
    {SEQUENCE, "conv1d_transpose: {filters: 3, kernel: 3, stride: 2, output_padding: 1}"},
    {IMAGE, "conv2d_transpose: {filters: 4, kernel: 3, groups: 2, reparametrize: spectral_norm}"},
    {VOLUME, "conv3d_transpose: {filters: 3, kernel: 2, reparametrize: weight_norm}"},
    {SEQUENCE, "depthwise_conv1d: {kernel: 3, multiplier: 2}"},
    {IMAGE, "depthwise_conv2d: {kernel: 3, reparametrize: weight_norm}"},
    {VOLUME, "depthwise_conv3d: {kernel: 3}"},
    {SEQUENCE, "separable_conv1d: {filters: 3, kernel: 3}"},
    {IMAGE, "separable_conv2d: {filters: 3, kernel: 3, reparametrize: spectral_norm}"},
    {SEQUENCE, "zero_padding1d: {padding: [1, 2]}"},
    {IMAGE, "zero_padding2d: {padding: 1}"},
    {VOLUME, "zero_padding3d"},
    {SEQUENCE, "upsample1d: {mode: linear}"},
    {IMAGE, "upsample2d: {size: [2, 1]}"},
    {VOLUME, "upsample3d"},
    {SEQUENCE, "resize1d: {size: 4}"},
    {IMAGE, "resize2d: {size: [4, 9], mode: cubic}"},
    {VOLUME, "resize3d: {size: 3, mode: linear}"},
    /* pooling */
    {SEQUENCE, "max_pool1d"},
    {IMAGE, "max_pool2d: {size: 3, stride: 2, ceil: true}"},
    {VOLUME, "max_pool3d"},
    {VOLUME, "max_pool3d: {stride: 1, dilation: 3}"},
    {SEQUENCE, "avg_pool1d: {size: 3, padding: same}"},
    {IMAGE, "avg_pool2d: {size: 3, padding: 1, count_padding: true}"},
    {IMAGE, "avg_pool2d"},
    {VOLUME, "avg_pool3d"},
    {SEQUENCE, "max_unpool1d: {size: 3, layers: [dense: {units: 4, activation: tanh}]}"},
    {IMAGE,
     "conv2d: {filters: 3, kernel: 3, padding: same, activation: relu}}, {max_unpool2d: "
     "{layers: [conv2d: {filters: 3, kernel: 3, padding: same}, max_unpool2d: {size: [1, 2], "
     "layers: [batch_norm]}]}"},
    {IMAGE, "max_unpool2d: {size: [4, 3], layers: [dense: {units: 2}]}"},
    {VOLUME, "max_unpool3d: {layers: [conv3d: {filters: 2, kernel: 1}]}"},
    {SEQUENCE, "lp_pool1d: {p: 1}"},
    {IMAGE, "lp_pool2d"},
    {VOLUME, "lp_pool3d: {p: 3}"},
    {SEQUENCE, "global_max_pool1d"},
    {IMAGE, "global_max_pool2d"},
    {VOLUME, "global_max_pool3d"},
    {SEQUENCE, "global_avg_pool1d"},
    {IMAGE, "global_avg_pool2d"},
    {VOLUME, "global_avg_pool3d"},
    {SEQUENCE, "adaptive_max_pool1d: {size: 4}"},
    {IMAGE, "adaptive_max_pool2d: {size: [4, 2]}"},
    {VOLUME, "adaptive_max_pool3d: {size: 3}"},
    {SEQUENCE, "adaptive_avg_pool1d: {size: 4}"},
    {IMAGE, "adaptive_avg_pool2d: {size: 3}"},
    {VOLUME, "adaptive_avg_pool3d: {size: 2}"},
    /* norms */
    {SEQUENCE, "layer_norm"},
    {SEQUENCE, "rms_norm: {eps: 1e-6}"},
    {IMAGE, "group_norm: {groups: 2}"},
    {VOLUME, "instance_norm"},
    /* recurrent */
    {SEQUENCE, "rnn: {units: 3, activation: relu, reparametrize: spectral_norm}"},
    {SEQUENCE, "rnn: {units: 3, activation: softsign, reverse: true}"},
    {SEQUENCE, "lstm: {units: 3, bidirectional: true, return_sequences: true, reparametrize: "
               "weight_norm}"},
    {SEQUENCE, "lstm: {units: 3, activation: elu, recurrent_activation: hard_sigmoid}"},
    {SEQUENCE, "lstm: {units: 3, bidirectional: true, reparametrize: spectral_norm}"},
    {SEQUENCE, "gru: {units: 3, layers: 2, dropout: 0.1}"},
    {SEQUENCE, "gru: {units: 3, reset_first: true, activation: linear}"},
    {SEQUENCE, "lstm: {units: 3, initial: trained, bidirectional: true}"},
    {SEQUENCE, "gru: {units: 3, initial: trained, layers: 2}"},
    {SEQUENCE, "rnn: {units: 3, initial: [flatten, dense: {units: 3}]}"},
    {SEQUENCE, "gru: {units: 3, layers: 2, bidirectional: true, return_sequences: true, initial: "
               "[flatten, dense: {units: 12, activation: tanh}]}"},
    {SEQUENCE,
     "masking}, {lstm: {units: 3, layers: 2, dropout: 0.1, initial: [lstm: {units: 12}]}"},
    {SEQUENCE, "lstm: {units: 3, bidirectional: true, initial: [slice: {axis: 1, end: 1}, flatten, "
               "dense: {units: 12}]}"},
    {SEQUENCE, "masking}, {lstm: {units: 3}"},
    {SEQUENCE, "masking: {value: 2}}, {transformer: {heads: 2}}, {global_avg_pool1d: {}"},
    {SEQUENCE, "masking}, {multi_head_attention: {heads: 2}}, {global_max_pool1d: {}"},
    /* attention */
    {SEQUENCE, "positions: {kind: sinusoidal}"},
    {SEQUENCE, "positions: {kind: learned}"},
    {SEQUENCE, "multi_head_attention: {heads: 4, kv_heads: 2, causal: true, window: 3}"},
    {SEQUENCE, "multi_head_attention: {heads: 2, rotary: true, softcap: 5, bias: false}"},
    {SEQUENCE, "multi_head_attention: {heads: 2, alibi: true}"},
    {SEQUENCE, "multi_head_attention: {heads: 2, memory: [conv1d: {filters: 4, kernel: 3}]}"},
    {SEQUENCE, "multi_head_attention: {heads: 2, mask: " PREFIX "}"},
    {SEQUENCE, "multi_head_attention: {heads: 2, kv_heads: 1, rotary: true, mask: " NEIGHBOURS "}"},
    {SEQUENCE, "multi_head_attention: {heads: 2, memory: [conv1d: {filters: 4, kernel: 5}], mask: "
               "[[true, false], [true, true], [1, 0], [0, 1], [1, 1], [false, true]]}"},
    {SEQUENCE, "masking}, {multi_head_attention: {heads: 2, softcap: 5, mask: " NEIGHBOURS "}"},
    {SEQUENCE, "transformer: {heads: 2, blocks: 2, causal: true, mask: " PREFIX "}"},
    {SEQUENCE, "masking}, {transformer: {heads: 2, order: post, window: 3, mask: " NEIGHBOURS "}"},
    {SEQUENCE, "feed_forward: {units: 5, activation: swiglu}"},
    {SEQUENCE, "feed_forward: {activation: relu}"},
    {SEQUENCE, "transformer: {heads: 2, blocks: 2, order: post, dropout: 0.1}"},
    {SEQUENCE, "transformer: {heads: 2, norm: rms, activation: swiglu, softcap: 10}"},
    {SEQUENCE, "transformer_decoder: {heads: 2, memory: [dense: {units: 4}, transformer: {heads: "
               "2}]}"},
    /* moves */
    {SEQUENCE, "slice: {start: 1, end: -1, axis: 1}"},
    {SEQUENCE, "gather: {indices: [3, 0, 0]}"},
    {SEQUENCE, "scatter: {indices: [4, 0, 2, 2], size: 5}"},
    {VOLUME, "flatten}, {gather: {indices: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 127]}}, {scatter: "
             "{indices: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 20], size: 21}"},
    {SEQUENCE, "tile: {repeats: [1, 2]}"},
    {{2, {6, 1}}, "expand: {shape: [6, 3]}"},
    {SEQUENCE, "cumsum: {axis: 1, reverse: true}"},
    {SEQUENCE, "top_k: {count: 2}"},
    {SEQUENCE, "argmax}, {embedding: {count: 4, size: 2}"},
    /* elements */
    {SEQUENCE, "function: {name: sin}"},
    {SEQUENCE, "threshold: {above: 0.5, value: -1}"},
    {SEQUENCE, "cast: {to: f16}}, {cast: {to: f32}"},
    {SEQUENCE, "einsum: {equation: \"btc,cd->bdt\", weight: [4, 3], activation: relu}"},
};
enum { CASES = sizeof cases / sizeof cases[0] };

static char folder[64];
static qn_error err;

static int setup(void **state)
{
    (void)state;
    (void)snprintf(folder, sizeof folder, "/tmp/quern-layers-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int teardown(void **state)
{
    (void)state;
    (void)!qn_folder_remove(folder, NULL);
    return 0;
}

/* x: small whole numbers, zeros at the end of some rows; y: their sum, or what is below 0 in the first row. */
static void write_data(qn_shape sample, bool below)
{
    float x[ROWS * 256], y[ROWS];
    char path[96];
    int64_t count = qn_shape_count(&sample);
    qn_shape shape = {.rank = sample.rank + 1, .dims = {ROWS}};
    memcpy(shape.dims + 1, sample.dims, sizeof shape.dims - sizeof shape.dims[0]);
    assert_true(count <= 256);
    for (int64_t row = 0; row < ROWS; row++) {
        y[row] = (float)(row % 3) - (below ? 3.0F : 0.0F);
        for (int64_t i = 0; i < count; i++) {
            x[row * count + i] = i < count - row % 3 ? (float)((row * 7 + i * 5) % 8) : 0;
            y[row] += below ? 0 : 0.1F * x[row * count + i];
        }
    }
    const qn_named_tensor arrays[2] = {{"x", qn_tensor_of(x, QN_DTYPE_F32, shape)},
                                       {"y", qn_tensor_of(y, QN_DTYPE_F32, QN_SHAPE(ROWS))}};
    qn_buf file;
    qn_buf_init(&file, 0);
    assert_ok(qn_npz_write(&file, arrays, 2, &err), &err);
    (void)snprintf(path, sizeof path, "%s/data.npz", folder);
    assert_ok(qn_file_replace(path, file.data, file.size, &err), &err);
    qn_buf_deinit(&file);
}

/* ret_model: 128 bytes. */
static qn_status train_recipe(const char *sections, char *ret_model)
{
    qn_arena arena;
    qn_recipe recipe;
    qn_fit_result result;
    char text[2048], out[96];
    (void)snprintf(text, sizeof text, "quern: 1\nname: net\n%s", sections);
    (void)snprintf(out, sizeof out, "%s/net", folder);
    qn_arena_init(&arena, 0);
    qn_status status =
        qn_recipe_parse(qn_str_from(text), "test.yaml", NULL, 0, &arena, &recipe, &err);
    qn_fit_run_options options = {.out = out, .threads = 1};
    if (status == QN_OK)
        status = qn_fit_run(&recipe, &options, &arena, &result, &err);
    if (status == QN_OK)
        (void)snprintf(ret_model, 128, "%s", result.folder);
    qn_arena_deinit(&arena);
    return status;
}

/* Trains on what write_data wrote. */
static qn_status train(const char *sections, char *ret_model)
{
    char text[2000];
    (void)snprintf(text, sizeof text,
                   "data: {path: %s/data.npz, target: y}\nsplit: {parts: [0.75, 0.25, 0]}\n%s",
                   folder, sections);
    return train_recipe(text, ret_model);
}

/* The folder opens and answers with finite numbers, the same for one row as among others. */
static void ask(const char *model, qn_shape sample, const char *what)
{
    qn_predictor *predictor = NULL;
    qn_named_tensor many, one;
    qn_arena arena;
    float x[4 * 256];
    qn_arena_init(&arena, 0);
    if (qn_predictor_open(model, 0, NULL, &predictor, &err) != QN_OK)
        fail_msg("%s: %s", what, err.text);
    qn_shape shape = {.rank = sample.rank + 1, .dims = {4}};
    memcpy(shape.dims + 1, sample.dims, sizeof shape.dims - sizeof shape.dims[0]);
    for (int64_t i = 0; i < 4 * qn_shape_count(&sample); i++)
        x[i] = (float)(i * 3 % 8);
    const char *name = qn_predictor_signature(predictor)->inputs[0].name;
    qn_named_tensor input = {name, qn_tensor_of(x, QN_DTYPE_F32, shape)};
    if (qn_predictor_tensors(predictor, &input, 1, &arena, &many, &err) != QN_OK)
        fail_msg("%s: %s", what, err.text);
    shape.dims[0] = 1;
    input.tensor = qn_tensor_of(x, QN_DTYPE_F32, shape);
    assert_ok(qn_predictor_tensors(predictor, &input, 1, &arena, &one, &err), &err);
    const float *numbers = many.tensor.data;
    for (int64_t i = 0; i < qn_shape_count(&many.tensor.shape); i++)
        if (!isfinite(numbers[i]))
            fail_msg("%s answers %g", what, (double)numbers[i]);
    assert_memory_equal(one.tensor.data, numbers, qn_tensor_bytes(&one.tensor));
    qn_predictor_close(predictor);
    qn_arena_deinit(&arena);
}

/* Written as ONNX and read again, the model answers as before. */
static void write_again(const char *model, qn_shape sample, const char *what)
{
    qn_predictor *predictors[2] = {NULL, NULL};
    qn_named_tensor answers[2];
    qn_folder_model read = {0};
    qn_arena arena;
    qn_buf bytes;
    float x[3 * 256];
    char path[96];
    qn_arena_init(&arena, 0);
    qn_buf_init(&bytes, 0);
    (void)snprintf(path, sizeof path, "%s/net.onnx", folder);
    assert_ok(qn_folder_read(model, 0, &arena, &read, &err), &err);
    if (qn_onnx_export(&bytes, read.graph, read.state, "net", &err) != QN_OK)
        fail_msg("%s, as ONNX: %s", what, err.text);
    assert_ok(qn_file_replace(path, bytes.data, bytes.size, &err), &err);
    qn_shape shape = {.rank = sample.rank + 1, .dims = {3}};
    memcpy(shape.dims + 1, sample.dims, sizeof shape.dims - sizeof shape.dims[0]);
    for (int64_t i = 0; i < qn_shape_count(&shape); i++)
        x[i] = (float)(i * 3 % 8);
    for (int i = 0; i < 2; i++) {
        if (qn_predictor_open(i ? path : model, 0, NULL, &predictors[i], &err) != QN_OK)
            fail_msg("%s, as ONNX: %s", what, err.text);
        qn_named_tensor input = {qn_predictor_signature(predictors[i])->inputs[0].name,
                                 qn_tensor_of(x, QN_DTYPE_F32, shape)};
        assert_ok(qn_predictor_tensors(predictors[i], &input, 1, &arena, &answers[i], &err), &err);
    }
    for (int64_t i = 0; i < 3; i++)
        assert_near(((float *)answers[1].tensor.data)[i], ((float *)answers[0].tensor.data)[i],
                    1e-4);
    for (int i = 0; i < 2; i++)
        qn_predictor_close(predictors[i]);
    qn_folder_model_deinit(&read);
    qn_buf_deinit(&bytes);
    qn_arena_deinit(&arena);
}

static void list_case(const layer_case *c, char *dst, size_t size, const char *options)
{
    bool bare = !strchr(c->layers, ':');
    (void)snprintf(dst, size,
                   "model: {layers: [%s%s%s, flatten, dense: {units: 1}]}\n"
                   "train: {epochs: 1, batch: 6, loss: mse, %s}\n",
                   bare ? "" : "{", c->layers, bare ? "" : "}", options);
}

static void every_layer_trains_and_answers(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        char sections[1024], model[128];
        list_case(&cases[i], sections, sizeof sections, "seed: 3");
        write_data(cases[i].input, false);
        if (train(sections, model) != QN_OK)
            fail_msg("%s: %s", cases[i].layers, err.text);
        ask(model, cases[i].input, cases[i].layers);
        write_again(model, cases[i].input, cases[i].layers);
    }
}

/* The same under everything that goes through the whole of a network. */
static void every_layer_takes_every_way(void **state)
{
    (void)state;
    for (int i = 0; i < CASES; i++) {
        char sections[1024], model[128];
        list_case(&cases[i], sections, sizeof sections,
                  "precision: bf16, recompute: true, accumulate: 2, ema: 0.9");
        write_data(cases[i].input, false);
        if (train(sections, model) != QN_OK)
            fail_msg("%s: %s", cases[i].layers, err.text);
        ask(model, cases[i].input, cases[i].layers);
    }
}

static bool has_word(const char *text, const char *word)
{
    size_t size = strlen(word);
    for (const char *at = text; (at = strstr(at, word)); at++) {
        bool begins = at == text || !(isalnum((unsigned char)at[-1]) || at[-1] == '_');
        if (begins && !isalnum((unsigned char)at[size]) && at[size] != '_')
            return true;
    }
    return false;
}

static void every_layer_has_its_case(void **state)
{
    (void)state;
    const qn_nn_layer *layer;
    for (int row = 0; (layer = qn_nn_layer_at(row)); row++) {
        int i = 0;
        while (i < CASES && !has_word(cases[i].layers, layer->name))
            i++;
        if (i == CASES)
            fail_msg("no case trains the layer %s", layer->name);
    }
}

/* The train section alone, on a small network: learning, averages, groups, schedules. */
static const char *const ways[] = {
    "optimizer: sgd, momentum: 0.9, nesterov: true",
    "optimizer: adam",
    "optimizer: adagrad",
    "optimizer: rmsprop, options: {rho: 0.9, centered: true}",
    "optimizer: adadelta",
    "optimizer: nadam",
    "optimizer: lion",
    "optimizer: lamb",
    "optimizer: adafactor",
    "optimizer: muon",
    "optimizer: lbfgs",
    "optimizer: lbfgs, groups: [{match: layers.1, freeze: true}]",
    "ema: 0.9",
    "swa: 0.5",
    "recompute: true",
    "accumulate: 2, clip_value: 0.1",
    "precision: bf16",
    "groups: [{match: layers.1, lr: 0.01}, {match: \"*.bias\", weight_decay: 0}]",
    "groups: [{match: \"layers.1.*\", freeze: true}]",
    "schedule: constant",
    "schedule: linear, warmup: 0.5",
    "schedule: step, step_size: 1",
    "schedule: exponential, gamma: 0.9",
    "schedule: polynomial, power: 2",
    "schedule: inverse_sqrt, warmup: 0.5",
    "schedule: one_cycle",
    "schedule: restarts, step_size: 1",
    "schedule: plateau, patience: 1",
    "loss: mse",
    "loss: mae",
    "loss: huber",
    "loss: quantile, quantile: 0.9",
    "loss: poisson",
};

static void every_way_of_learning_trains_and_answers(void **state)
{
    (void)state;
    write_data((qn_shape)SEQUENCE, false);
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        char sections[1024], model[128];
        (void)snprintf(sections, sizeof sections,
                       "task: regression\nmodel: {layers: [flatten, dense: {units: 8, activation: "
                       "tanh}, dense: {units: "
                       "auto}]}\ntrain: {epochs: 2, batch: 6, %s}\n",
                       ways[i]);
        if (train(sections, model) != QN_OK)
            fail_msg("%s: %s", ways[i], err.text);
        ask(model, (qn_shape)SEQUENCE, ways[i]);
    }
}

/* Zeros at first, they learn. */
static void beginnings_are_trained(void **state)
{
    (void)state;
    char model[128];
    qn_folder_model read = {0};
    qn_arena arena;
    write_data((qn_shape)SEQUENCE, false);
    assert_ok(train("model: {layers: [lstm: {units: 3, initial: trained}, dense: {units: 1}]}\n"
                    "task: regression\ntrain: {epochs: 1, batch: 6}\n",
                    model),
              &err);
    qn_arena_init(&arena, 0);
    assert_ok(qn_folder_read(model, 0, &arena, &read, &err), &err);
    static const char *const names[] = {"layers.0.h0", "layers.0.c0"};
    for (int i = 0; i < 2; i++) {
        const qn_named_tensor *start = qn_state_find(read.state, names[i]);
        assert_non_null(start);
        assert_true(fabsf(((const float *)start->tensor.data)[0]) > 1e-6F);
    }
    qn_folder_model_deinit(&read);
    qn_arena_deinit(&arena);
}

/* What model.type stands for reads arrays and images, and says what it cannot read. */
static void kinds_of_sequences_train_and_answer(void **state)
{
    (void)state;
    static const char *const kinds[] = {"rnn", "lstm", "gru", "transformer"};
    static const qn_shape shapes[] = {SEQUENCE, IMAGE, ROW};
    for (size_t i = 0; i < 12; i++) {
        char sections[256], model[128];
        (void)snprintf(sections, sizeof sections,
                       "task: regression\nmodel: {type: %s}\ntrain: {epochs: 1, batch: 6}\n",
                       kinds[i % 4]);
        write_data(shapes[i / 4], false);
        if (train(sections, model) != QN_OK)
            fail_msg("%s: %s", kinds[i % 4], err.text);
        ask(model, shapes[i / 4], kinds[i % 4]);
    }
}

/* A table with counts of 2 on average on the left, of 6 on the right. */
static void write_counts(char path[96])
{
    qn_buf file;
    qn_buf_init(&file, 0);
    qn_buf_text(&file, "side,y\n");
    for (int i = 0; i < 40; i++)
        qn_buf_printf(&file, "%s,%d\n", i % 2 ? "right" : "left", (i % 2 ? 4 : 0) + i / 2 % 5);
    (void)snprintf(path, 96, "%s/data.csv", folder);
    assert_ok(qn_file_replace(path, file.data, file.size, &err), &err);
    qn_buf_deinit(&file);
}

/* A linear model finds both rates. */
static void counts_have_rates(void **state)
{
    (void)state;
    char path[96], model[128], sections[256];
    qn_predictor *predictor = NULL;
    qn_predictions answers;
    qn_arena arena;
    qn_frame frame;
    write_counts(path);
    (void)snprintf(sections, sizeof sections,
                   "data: {path: %s, target: y}\ntask: regression\nsplit: {parts: [1, 0, 0]}\n"
                   "model: {type: linear}\ntrain: {loss: poisson, weight_decay: 0}\n",
                   path);
    assert_ok(train_recipe(sections, model), &err);
    qn_arena_init(&arena, 0);
    assert_ok(qn_predictor_open(model, 0, NULL, &predictor, &err), &err);
    assert_ok(qn_frame_init(&frame, &arena, 1, 2, &err), &err);
    qn_column *side = qn_frame_add(&frame, QN_STR("side"), QN_COLUMN_STRING, &arena);
    assert_non_null(side);
    side->strings[0] = QN_STR("left");
    side->strings[1] = QN_STR("right");
    assert_ok(qn_predictor_rows(predictor, &frame, false, &arena, &answers, &err), &err);
    assert_near(answers.number[0], 2, 0.01);
    assert_near(answers.number[1], 6, 0.01);
    qn_predictor_close(predictor);
    qn_arena_deinit(&arena);
}

/* A table has no order to read. */
static void a_table_is_no_sequence(void **state)
{
    (void)state;
    char path[96], model[128], sections[256];
    write_counts(path);
    (void)snprintf(sections, sizeof sections, "data: {path: %s, target: y}\nmodel: {type: lstm}\n",
                   path);
    assert_int_equal(train_recipe(sections, model), QN_ERR_ARG);
    assert_text(&err, "model.type lstm reads sequences");
}

/* What a stranger may ask for, and what he is told. */
static void mistakes_are_named(void **state)
{
    (void)state;
    static const struct {
        const char *sections, *text;
    } rows[] = {
        {"model: {layers: [flatten, dense: {units: 1}]}\ntrain: {loss: poisson}\n",
         "poisson is for counts; 'y' is -3 in row 1"},
        {"model: {layers: [lstm: {units: 3}]}\n",
         "the last layer gives 3 numbers, but regression predicts 1"},
        {"model: {layers: [conv1d: {filters: 3, kernel: 7}, flatten, dense: {units: 1}]}\n",
         "model.layers[0] conv1d has a window of 7, which does not fit input of length 6"},
        {"model: {layers: [transformer: {heads: 3}, flatten, dense: {units: 1}]}\n",
         "model.layers[0] transformer has 3 heads, which do not divide 4 numbers"},
        {"model: {layers: [lstmm: {units: 3}]}\n", "unknown layer 'lstmm'; did you mean 'lstm'?"},
        {"model: {layers: [lstm: {unit: 3}]}\n", "did you mean 'units'?"},
        {"model: {layers: [lstm: {units: -3}, dense: {units: 1}]}\n",
         "model.layers[0] lstm: 'units' is -3, expected an integer from 1"},
        {"model: {layers: [dense: {units: 1}]}\n", "the last layer gives [6, 1]; one row of"},
        {"model: {layers: [flatten, dense: {units: 1}, cast: {to: f64}]}\n",
         "the last layer gives f64; end with cast: {to: f32}"},
        {"model: {layers: [multi_head_attention: {heads: 2, mask: [[1, 0], [1, 1]]}]}\n",
         "model.layers[0] multi_head_attention has a mask of [2, 2], expected [6, 6]"},
        {"model: {layers: [multi_head_attention: {heads: 2, mask: [[1, 0], [1]]}]}\n",
         "has a mask whose row 1 has 1 numbers, row 0 has 2"},
        {"model: {layers: [transformer: {heads: 2, mask: [[2, 0], [1, 1]]}]}\n",
         "model.layers[0] transformer has a mask of [2, 2], expected [6, 6]"},
        {"model: {layers: [slice: {axis: 1, end: 2}, transformer: {heads: 2, mask: [[1, 2], [1, "
         "1]]}]}\n",
         "model.layers[1] transformer has a mask whose row 0 is not of 0 and 1"},
        {"model: {layers: [slice: {axis: 1, end: 2}, transformer: {heads: 2, mask: [[1, 1], [0, "
         "0]]}]}\n",
         "model.layers[1] transformer has a mask whose row 1 allows nothing"},
        {"model: {layers: [slice: {axis: 1, end: 2}, transformer: {heads: 2, causal: true, mask: "
         "[[0, 1], [1, 1]]}]}\n",
         "has a mask whose row 0 allows nothing that causal and window leave"},
        {"model: {layers: [transformer: {heads: 2, mask: [1, 1]}]}\n",
         "mask takes rows of 0 and 1"},
        {"model: {layers: [transformer: {heads: 2, mask: all}]}\n",
         "'mask' is \"all\", expected rows of 0 and 1, such as [[1, 0], [1, 1]] or none"},
        {"model: {layers: [lstm: {units: 3, initial: [flatten, dense: {units: 3}]}]}\n",
         "model.layers[0] lstm begins from [3], expected [6]: h, then c, of 3 numbers"},
        {"model: {layers: [gru: {units: 3, bidirectional: true, layers: 2, initial: [dense: "
         "{units: "
         "3}]}]}\n",
         "model.layers[0] gru begins from [6, 3], expected [12]: h of 3 numbers for each of 2 "
         "layers in 2 directions"},
        {"model: {layers: [lstm: {units: 3, initial: learned}]}\n",
         "'initial' is \"learned\", expected a list of layers or one of zeros trained"},
        {"model: {layers: [max_unpool1d: {layers: [dense: {units: 3}]}]}\n",
         "model.layers[0] max_unpool1d brings back [3, 3] where [3, 4] was pooled"},
        {"model: {layers: [max_unpool1d: {size: 7, layers: [dense: {units: 3}]}]}\n",
         "model.layers[0] max_unpool1d has a window of 7, which does not fit input of length 6"},
        {"model: {layers: [activation: {name: relu, alpha: 0.1}]}\n",
         "model.layers[0] activation relu has no alpha; leaky_relu"},
        {"model: {layers: [clip: {min: 1, max: 0}]}\n",
         "model.layers[0] clip has min 1 above max 0"},
        {"model: {layers: [gather: {indices: [1, 9]}]}\n",
         "model.layers[0] gather has index 9, expected 0 to 3"},
        {"model: {layers: [where: {condition: [dense: {units: 3}]}]}\n",
         "has a condition of [6, 3] to choose from [6, 4] and [6, 4]: sizes differ"},
        {"model: {type: gru, hidden: [8]}\n", "model.hidden is for mlp; model.type is gru"},
        {"model: {type: lstm}\ntrain: {groups: [{match: layer.0, freeze: true}]}\n",
         "no trained weight matches the group 'layer.0'; the first is 'layers.0.weight'"},
        {"model: {layers: [flatten, dense: {units: 1}]}\ntrain: {optimizer: lbfgs, swa: 0.5}\n",
         "lbfgs goes straight to the minimum and has no steps to average"},
        {"model: {type: cnn}\n", "model.type cnn needs an image"},
        {"model: {type: lstm}\ntrain: {groups: [{match: \"*\", freeze: true}]}\n",
         "all of it is frozen"},
    };
    write_data((qn_shape)SEQUENCE, true);
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char model[128], sections[512];
        (void)snprintf(sections, sizeof sections, "task: regression\n%s", rows[i].sections);
        assert_int_not_equal(train(sections, model), QN_OK);
        assert_text(&err, rows[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_layer_has_its_case),
        cmocka_unit_test(every_layer_trains_and_answers),
        cmocka_unit_test(every_layer_takes_every_way),
        cmocka_unit_test(beginnings_are_trained),
        cmocka_unit_test(kinds_of_sequences_train_and_answer),
        cmocka_unit_test(counts_have_rates),
        cmocka_unit_test(a_table_is_no_sequence),
        cmocka_unit_test(mistakes_are_named),
        cmocka_unit_test(every_way_of_learning_trains_and_answers),
    };
    return cmocka_run_group_tests(tests, setup, teardown);
}
