/*
 * Models of token sequences as ONNX files: each kind is saved, written, read again, and scores the same tokens as its folder.
 */
#include "testing.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "model/folder.h"
#include "model/onnx_export.h"
#include "model/predictor.h"
#include "os/file.h"
#include "quern/quern.h"

enum { ROWS = 3, CONTEXT = 10, SOURCE = 6, VOCAB = 7 };

static qn_error err;

static const qn_seq_options kinds[] = {
    {.vocab = VOCAB, .context = CONTEXT, .width = 8, .layers = 2, .heads = 2},
    {.vocab = VOCAB,
     .context = CONTEXT,
     .width = 9,
     .layers = 1,
     .heads = 3,
     .positions = QN_POSITIONS_SINUSOIDAL,
     .post_norm = true,
     .activation = QN_RELU},
    {.vocab = VOCAB,
     .context = CONTEXT,
     .width = 16,
     .layers = 1,
     .heads = 4,
     .kv_heads = 2,
     .positions = QN_POSITIONS_ROTARY,
     .softcap = 5,
     .swiglu = true,
     .rms_norm = true,
     .no_bias = true,
     .tied = true},
    {.vocab = VOCAB,
     .context = CONTEXT,
     .width = 6,
     .layers = 1,
     .heads = 3,
     .window = 4,
     .positions = QN_POSITIONS_ALIBI},
    {.vocab = VOCAB,
     .context = CONTEXT,
     .width = 8,
     .layers = 1,
     .heads = 2,
     .source_vocab = VOCAB,
     .source_context = SOURCE},
    {.kind = QN_SEQ_LSTM, .vocab = VOCAB, .context = CONTEXT, .width = 6, .layers = 2},
    {.kind = QN_SEQ_GRU, .vocab = VOCAB, .context = CONTEXT, .width = 6, .layers = 1},
    {.kind = QN_SEQ_RNN, .vocab = VOCAB, .context = CONTEXT, .width = 6, .layers = 1},
};

static void save_both(const qn_seq_options *options, const char *folder, const char *file)
{
    qn_arena arena;
    qn_folder_model model = {0};
    qn_buf bytes;
    qn_arena_init(&arena, 0);
    qn_buf_init(&bytes, 0);
    qn_seq *seq = qn_seq_create(options, &err);
    assert_non_null(seq);
    assert_ok(qn_seq_save(seq, folder, &err), &err);
    qn_seq_destroy(seq);
    assert_ok(qn_folder_read(folder, 0, &arena, &model, &err), &err);
    assert_ok(qn_onnx_export(&bytes, model.graph, model.state, "seq", &err), &err);
    assert_ok(qn_file_replace(file, bytes.data, bytes.size, &err), &err);
    qn_folder_model_deinit(&model);
    qn_buf_deinit(&bytes);
    qn_arena_deinit(&arena);
}

/* Tokens that every run has alike; a source's lengths within its context. */
static qn_named_tensor make_input(const qn_tensor_spec *spec, qn_arena *arena)
{
    qn_shape shape = spec->shape;
    shape.dims[0] = ROWS;
    int64_t count = qn_shape_count(&shape), *numbers = QN_NEW(arena, int64_t, count);
    assert_int_equal(spec->dtype, QN_DTYPE_I64);
    for (int64_t i = 0; i < count; i++)
        numbers[i] = shape.rank == 1 ? SOURCE - i : (i * 5 + i / 3) % VOCAB;
    return (qn_named_tensor){spec->name, qn_tensor_of(numbers, QN_DTYPE_I64, shape)};
}

static const float *score(const char *path, qn_arena *arena, int64_t *ret_count)
{
    enum { INPUTS = 4 };
    qn_predictor *predictor;
    qn_named_tensor inputs[INPUTS], output;
    assert_ok(qn_predictor_open(path, 0, NULL, &predictor, &err), &err);
    const qn_signature *signature = qn_predictor_signature(predictor);
    assert_true(signature->inputs_count <= INPUTS && signature->outputs_count == 1);
    for (int i = 0; i < signature->inputs_count; i++)
        inputs[i] = make_input(&signature->inputs[i], arena);
    if (qn_predictor_tensors(predictor, inputs, signature->inputs_count, arena, &output, &err) !=
        QN_OK)
        fail_msg("%s: %s", path, err.text);
    *ret_count = qn_shape_count(&output.tensor.shape);
    qn_predictor_close(predictor);
    return output.tensor.data;
}

static void sequence_models_are_written_as_onnx(void **unused)
{
    (void)unused;
    for (size_t kind = 0; kind < sizeof kinds / sizeof *kinds; kind++) {
        char folder[] = "/tmp/quern-seq-XXXXXX", file[64];
        qn_arena arena;
        int64_t count, again;
        qn_arena_init(&arena, 0);
        assert_non_null(mkdtemp(folder));
        (void)snprintf(file, sizeof file, "%s/seq.onnx", folder);
        save_both(&kinds[kind], folder, file);
        const float *one = score(folder, &arena, &count), *two = score(file, &arena, &again);
        assert_int_equal(count, ROWS * CONTEXT * VOCAB);
        assert_int_equal(again, count);
        for (int64_t i = 0; i < count; i++)
            if (!(fabsf(one[i] - two[i]) < 1e-4F))
                fail_msg("kind %zu: score %lld is %g, expected %g", kind, (long long)i,
                         (double)two[i], (double)one[i]);
        assert_ok(qn_folder_remove(folder, &err), &err);
        qn_arena_deinit(&arena);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(sequence_models_are_written_as_onnx)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
