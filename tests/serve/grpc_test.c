/*
 * gRPC answers over real connections: what works, bad frames and messages with the status and words they get, streams,
 * deadlines, cancellation, the queue under overload, the drain.
 */
#include "testing.h"

#include <errno.h>
#include <poll.h>

#include "os/clock.h"

#include "grpc_client.h"
#include "inference.pb-c.h"

#define INFER  "/inference.GRPCInferenceService/ModelInfer"
#define STREAM "/inference.GRPCInferenceService/ModelStreamInfer"

typedef struct {
    const char *model, *version, *input, *datatype;
    int64_t shape[9];
    size_t rank;
    int raw_bytes; /* -1 = none */
    int floats;    /* typed contents; -1 = none */
} infer_row;

/* A framed ModelInferRequest; returns its size. */
static size_t frame_request(char *dst, const infer_row *row)
{
    static float values[4096];
    Inference__ModelInferRequest request;
    Inference__ModelInferRequest__InferInputTensor input, *inputs[1] = {&input};
    Inference__InferTensorContents contents;
    inference__model_infer_request__init(&request);
    inference__model_infer_request__infer_input_tensor__init(&input);
    inference__infer_tensor_contents__init(&contents);
    request.model_name = (char *)(uintptr_t)row->model;
    request.model_version = (char *)(uintptr_t)row->version;
    input.name = (char *)(uintptr_t)row->input;
    input.datatype = (char *)(uintptr_t)row->datatype;
    input.shape = (int64_t *)(uintptr_t)row->shape;
    input.n_shape = row->rank;
    ProtobufCBinaryData raw = {(size_t)(row->raw_bytes < 0 ? 0 : row->raw_bytes),
                               (uint8_t *)values};
    request.raw_input_contents = &raw;
    request.n_raw_input_contents = row->raw_bytes >= 0;
    contents.fp32_contents = values;
    contents.n_fp32_contents = (size_t)(row->floats < 0 ? 0 : row->floats);
    if (row->floats >= 0)
        input.contents = &contents;
    request.inputs = inputs;
    request.n_inputs = row->input[0] != '\0';
    size_t size = inference__model_infer_request__pack(&request, (uint8_t *)dst + 5);
    dst[0] = dst[1] = dst[2] = 0;
    dst[3] = (char)(size >> 8);
    dst[4] = (char)size;
    return size + 5;
}

static const struct {
    infer_row row;
    int status;
    const char *words;
} rows[] = {
    {{"plane", "", "input", "FP32", {1, 2}, 2, 8, -1}, 0, ""},
    {{"plane", "1", "input", "FP32", {2, 2}, 2, -1, 4}, 0, ""},
    {{"absent", "", "input", "FP32", {1, 2}, 2, 8, -1}, 5, "no model 'absent'"},
    {{"plane", "7", "input", "FP32", {1, 2}, 2, 8, -1}, 5, "no version '7'"},
    {{"plane", "", "", "FP32", {1, 2}, 2, -1, -1}, 3, "at least one"},
    {{"plane", "", "odd", "FP32", {1, 2}, 2, 8, -1}, 3, "input"},
    {{"plane", "", "input", "F32", {1, 2}, 2, 8, -1}, 3, "datatype 'F32'"},
    {{"plane", "", "input", "FP32", {1, 2}, 2, 12, -1}, 3, "12 bytes came"},
    {{"plane", "", "input", "FP32", {1, 3}, 2, 12, -1}, 3, "[1, 3]"},
    {{"plane", "", "input", "FP32", {-1, 2}, 2, 8, -1}, 3, "-1"},
    {{"plane", "", "input", "FP32", {INT64_MAX, 2}, 2, 8, -1}, 8, "too many elements"},
    {{"plane", "", "input", "FP32", {1 << 30, 2}, 2, 8, -1}, 3, "8 bytes came"},
    {{"plane", "", "input", "FP32", {1, 1, 1, 1, 1, 1, 1, 1, 2}, 9, 8, -1}, 3, "9 dimensions"},
    {{"plane", "", "input", "FP32", {0}, 0, 4, -1}, 3, "0 dimensions"},
    {{"plane", "", "input", "FP32", {1, 2}, 2, 8, 2}, 3, "raw_input_contents"},
    {{"plane", "", "input", "FP32", {1, 2}, 2, -1, 3}, 3, "3 elements"},
    {{"plane", "", "input", "FP32", {1, 2}, 2, -1, -1}, 3, "0 elements"},
    {{"plane", "", "input", "BYTES", {1, 2}, 2, 8, -1}, 3, "expected numbers"},
    {{"plane", "", "input", "BYTES", {1 << 28, 2}, 2, 8, -1}, 3, "fewer than"},
    {{"churn", "", "age", "FP64", {1}, 1, 8, -1}, 0, ""},
    {{"churn", "", "agee", "FP64", {1}, 1, 8, -1}, 3, "agee"},
    {{"churn", "", "age", "FP64", {1, 2}, 2, 16, -1}, 3, "expected [N] or [N, 1]"},
    {{"churn", "", "city", "BYTES", {1}, 1, 3, -1}, 3, "fewer than"},
    {{"churn", "", "city", "BYTES", {1}, 1, 8, -1}, 3, "follow"},
};

static void infer_requests_are_judged_by_table(void **state)
{
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char frame[4096];
        call one = {.path = INFER, .body = frame, .body_size = frame_request(frame, &rows[i].row)};
        call_once(*state, &one);
        if (one.grpc_status != rows[i].status || !strstr(one.message, rows[i].words))
            fail_msg("row %zu: status %d, %s", i, one.grpc_status, one.message);
        assert_int_equal(one.reply_size > 0, rows[i].status == 0);
    }
}

static void malformed_calls_are_refused(void **state)
{
    static const struct {
        const char *path, *content_type, *body;
        size_t size;
        int http, grpc;
    } bad[] = {
        {INFER, NULL, "", 0, 200, 3},
        {INFER, NULL, "\0\0\0", 3, 200, 3},
        {INFER, NULL, "\0\0\0\0\5ab", 7, 200, 3},
        {INFER, NULL, "\1\0\0\0\2ab", 7, 200, 12},
        {INFER, NULL, "\0\377\377\377\377ab", 7, 200, 8},
        {INFER, NULL, "\0\0\0\0\2ab\0\0\0\0\0", 12, 200, 3},
        {INFER, NULL, "\0\0\0\0\2\377\377", 7, 200, 3},
        {"/inference.GRPCInferenceService/Odd", NULL, "\0\0\0\0\0", 5, 200, 12},
        {"/odd.Service/Odd", NULL, "\0\0\0\0\0", 5, 200, 12},
        {"/v2/health/live", NULL, "\0\0\0\0\0", 5, 200, 12},
        {INFER, "application/json", "{}", 2, 405, -1},
        {INFER, "application/grpc-web", "\0\0\0\0\0", 5, 405, -1},
        {STREAM, NULL, "\0\0\0\0\5ab", 7, 200, 3},
    };
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        call one = {.path = bad[i].path,
                    .content_type = bad[i].content_type,
                    .body = bad[i].body,
                    .body_size = bad[i].size};
        call_once(*state, &one);
        if (one.http_status != bad[i].http || one.grpc_status != bad[i].grpc)
            fail_msg("row %zu: http %d grpc %d %s", i, one.http_status, one.grpc_status,
                     one.message);
    }
    call host = {.path = INFER, .authority = "evil.example", .body = "\0\0\0\0\0", .body_size = 5};
    call_once(*state, &host);
    assert_int_equal(host.grpc_status, 7);
    call timeout = {.path = INFER, .timeout = "soon", .body = "\0\0\0\0\0", .body_size = 5};
    call_once(*state, &timeout);
    assert_int_equal(timeout.grpc_status, 3);
}

/* A message of two bytes per element unpacks into far more: refused by the bound, not by running out of memory. */
static void protobuf_bomb_is_bounded(void **state)
{
    size_t size = 3 << 20;
    char *body = malloc(size + 5);
    body[0] = 0;
    body[1] = (char)(size >> 24);
    body[2] = (char)(size >> 16);
    body[3] = (char)(size >> 8);
    body[4] = (char)size;
    for (size_t i = 0; i < size; i += 2) {
        body[5 + i] = 5 << 3 | 2; /* inputs, empty */
        body[6 + i] = 0;
    }
    int64_t before = qn_rss_peak_bytes();
    call one = {.path = INFER, .body = body, .body_size = size + 5};
    call_once(*state, &one);
    assert_int_equal(one.grpc_status, 3);
    assert_true(qn_rss_peak_bytes() - before < 100 << 20);
    free(body);
}

static void stream_answers_in_order_and_ends(void **state)
{
    char frames[4096];
    size_t size = 0;
    for (int i = 0; i < 3; i++) {
        infer_row row = {i == 1 ? "absent" : "plane", "", "input", "FP32", {1, 2}, 2, 8, -1};
        size += frame_request(frames + size, &row);
    }
    call one = {.path = STREAM, .body = frames, .body_size = size};
    call_once(*state, &one);
    assert_int_equal(one.grpc_status, 0);
    int messages = 0;
    for (size_t at = 0; at + 5 <= one.reply_size; messages++) {
        size_t length =
            (size_t)((unsigned char)one.reply[at + 3] << 8 | (unsigned char)one.reply[at + 4]);
        Inference__ModelStreamInferResponse *answer =
            inference__model_stream_infer_response__unpack(NULL, length,
                                                           (const uint8_t *)one.reply + at + 5);
        assert_non_null(answer);
        assert_int_equal(answer->infer_response == NULL, messages == 1);
        inference__model_stream_infer_response__free_unpacked(answer, NULL);
        at += 5 + length;
    }
    assert_int_equal(messages, 3);
}

static void open_stream_meets_its_deadline(void **state)
{
    call one = {.path = STREAM, .timeout = "200m", .body = "", .open = true};
    call_once(*state, &one);
    assert_int_equal(one.grpc_status, 4);
}

/* Many calls to the large model at once: each is answered or refused as overloaded, none is lost. */
static void crowd_is_answered(void **state)
{
    enum { CALLS = 100 };
    char frame[4096];
    infer_row row = {"heavy", "", "input", "FP32", {1, 512}, 2, 2048, -1};
    size_t size = frame_request(frame, &row);
    call *calls = calloc(CALLS, sizeof(*calls));
    client c;
    client_open(&c, *state);
    for (int i = 0; i < CALLS; i++) {
        calls[i] = (call){.path = INFER, .body = frame, .body_size = size};
        client_start(&c, &calls[i]);
    }
    for (int i = 0; i < CALLS; i++) {
        client_run(&c, &calls[i], 10000);
        assert_int_equal(calls[i].grpc_status, 0);
        assert_int_equal(calls[i].reply_size, calls[0].reply_size);
        assert_memory_equal(calls[i].reply, calls[0].reply, calls[0].reply_size);
    }
    client_shut(&c);
    free(calls);
}

/* With a short queue a crowd is partly refused, at once and with the right status; the rest is answered. */
static void overload_is_refused_at_once(void **state)
{
    enum { CALLS = 100 };
    fixture f = *(fixture *)*state;
    char frame[4096], models[128];
    qn_error err = {0};
    snprintf(models, sizeof(models), "%s/models", f.folder);
    qn_serve_options options = {.repo = models, .queue_max = 2};
    assert_ok(qn_serve_create(&options, &f.serve, &err), &err);
    f.port = (int)strtol(strrchr(qn_serve_url(f.serve), ':') + 1, NULL, 10);
    pthread_create(&f.thread, NULL, run_fixture, &f);
    infer_row row = {"heavy", "", "input", "FP32", {1, 512}, 2, 2048, -1};
    size_t size = frame_request(frame, &row);
    call *calls = calloc(CALLS, sizeof(*calls));
    client c;
    client_open(&c, &f);
    int answered = 0, refused = 0;
    for (int i = 0; i < CALLS; i++) {
        calls[i] = (call){.path = INFER, .body = frame, .body_size = size};
        client_start(&c, &calls[i]);
    }
    for (int i = 0; i < CALLS; i++) {
        client_run(&c, &calls[i], 10000);
        answered += calls[i].grpc_status == 0;
        refused += calls[i].grpc_status == 14 && strstr(calls[i].message, "overloaded") != NULL;
    }
    assert_true(answered > 0);
    assert_true(refused > 0);
    assert_int_equal(answered + refused, CALLS);
    client_shut(&c);
    free(calls);
    qn_serve_stop(f.serve);
    pthread_join(f.thread, NULL);
    qn_serve_destroy(f.serve);
}

/* A client that leaves with calls in the queue hurts nobody else. */
static void leaving_client_is_forgotten(void **state)
{
    char frame[4096];
    infer_row row = {"heavy", "", "input", "FP32", {1, 512}, 2, 2048, -1};
    size_t size = frame_request(frame, &row);
    for (int round = 0; round < 10; round++) {
        call *calls = calloc(50, sizeof(*calls));
        client c;
        client_open(&c, *state);
        for (int i = 0; i < 50; i++) {
            calls[i] = (call){.path = INFER, .body = frame, .body_size = size};
            client_start(&c, &calls[i]);
        }
        client_flush(&c);
        usleep(500);
        for (int i = 0; i < 25; i++)
            nghttp2_submit_rst_stream(c.session, NGHTTP2_FLAG_NONE, 2 * i + 1, NGHTTP2_CANCEL);
        client_flush(&c);
        client_shut(&c);
        free(calls);
    }
    call last = {.path = INFER, .body = frame, .body_size = size};
    call_once(*state, &last);
    assert_int_equal(last.grpc_status, 0);
}

/* Takes what has come within `wait_ms`: has the server said goodbye, closed, or cut the connection? */
static bool is_ended(client *c, int wait_ms)
{
    struct pollfd ready = {.fd = c->fd, .events = POLLIN};
    if (poll(&ready, 1, wait_ms) <= 0)
        return false;
    uint8_t buffer[4096];
    ssize_t got = recv(c->fd, buffer, sizeof(buffer), MSG_DONTWAIT);
    if (got > 0)
        nghttp2_session_mem_recv(c->session, buffer, (size_t)got);
    bool cut = got < 0 && errno != EAGAIN && errno != EINTR;
    return got == 0 || cut || nghttp2_session_check_request_allowed(c->session) == 0;
}

static void rapid_resets_end_the_connection(void **state)
{
    char frame[4096];
    infer_row row = {"plane", "", "input", "FP32", {1, 2}, 2, 8, -1};
    size_t size = frame_request(frame, &row);
    client c;
    call one = {.path = INFER, .body = frame, .body_size = size};
    client_open(&c, *state);
    bool ended = false;
    for (int i = 0; i < 3000 && !ended; i++) {
        int32_t id = client_start(&c, &one);
        client_flush(&c);
        nghttp2_submit_rst_stream(c.session, NGHTTP2_FLAG_NONE, id, NGHTTP2_CANCEL);
        client_flush(&c);
        ended = is_ended(&c, 0);
    }
    for (int i = 0; i < 100 && !ended; i++) /* the server may be behind */
        ended = is_ended(&c, 100);
    assert_true(ended);
    client_shut(&c);
    call after = {.path = INFER, .body = frame, .body_size = size};
    call_once(*state, &after);
    assert_int_equal(after.grpc_status, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(infer_requests_are_judged_by_table),
        cmocka_unit_test(malformed_calls_are_refused),
        cmocka_unit_test(protobuf_bomb_is_bounded),
        cmocka_unit_test(stream_answers_in_order_and_ends),
        cmocka_unit_test(open_stream_meets_its_deadline),
        cmocka_unit_test(crowd_is_answered),
        cmocka_unit_test(overload_is_refused_at_once),
        cmocka_unit_test(leaving_client_is_forgotten),
        cmocka_unit_test(rapid_resets_end_the_connection),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
