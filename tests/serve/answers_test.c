/*
 * REST answers by table: what is sent, the status, and words that the answer must contain. The first table is what
 * works, the second what is refused: never with a 500, always naming the field and what was expected.
 */
#include "testing.h"

#include "base/alloc.h"
#include "os/clock.h"
#include "serve_fixture.h"

typedef struct {
    const char *method, *path, *body;
    int status;
    const char *words; /* part of the answer */
    const char *headers;
} row;

#define CHURN "/v2/models/churn/infer"
#define PLANE "/v2/models/plane/infer"
#define C1    "/v1/models/churn:predict"
#define A1    "/v1/models/arrays:predict"
#define P1    "/v1/models/plane:predict"
#define X(shape, data)                                                                             \
    "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":" shape ",\"data\":" data    \
    "}]}"
#define COLUMN(name, type, shape, data)                                                            \
    "{\"inputs\":[{\"name\":\"" name "\",\"datatype\":\"" type "\",\"shape\":" shape               \
    ",\"data\":" data "}]}"

static const row good[] = {
    {"GET", "/healthz", "", 200, "ok", ""},
    {"GET", "/health", "", 200, "ok", ""},
    {"GET", "/v2/health/live", "", 200, "{\"live\":true}", ""},
    {"GET", "/v2/health/ready", "", 200, "{\"ready\":true}", ""},
    {"HEAD", "/v2/health/ready", "", 200, "content-length", ""},
    {"GET", "/v2", "", 200, "binary_tensor_data", ""},
    {"GET", "/v2/models", "", 200, "\"churn\"", ""},
    {"GET", "/v2/models/churn", "", 200, "\"labels\":[\"leave\",\"stay\"]", ""},
    {"GET", "/v2/models/plane/versions/1", "", 200, "\"versions\":[\"1\",\"2\"]", ""},
    {"GET", "/v2/models/%63hurn/ready", "", 200, "\"ready\":true", ""},
    {"GET", "/v2/models/churn/config", "", 200, "TYPE_STRING", ""},
    {"GET", "/v2/models/churn/stats", "", 200, "inference_stats", ""},
    {"GET", "/v2/models/stats", "", 200, "\"plane\"", ""},
    {"POST", "/v2/repository/index", "{}", 200, "READY", ""},
    {"POST", "/v2/repository/index", "", 200, "READY", ""},
    {"GET", "/v1/models", "", 200, "\"object\":\"list\"", ""},
    {"GET", "/v1/models/churn", "", 200, "AVAILABLE", ""},
    {"GET", "/v1/models/plane/versions/2", "", 200, "\"version\":\"2\"", ""},
    {"GET", "/v1/models/churn/metadata", "", 200, "DT_STRING", ""},
    {"GET", "/openapi.json", "", 200, "3.1.0", ""},
    {"GET", "/metrics", "", 200, "quern_requests_total", ""},
    {"POST", PLANE, X("[1,2]", "[1,2]"), 200, "\"shape\":[1,1]", ""},
    {"POST", PLANE, X("[2,2]", "[[1,2],[3,4]]"), 200, "\"shape\":[2,1]", ""},
    {"POST", PLANE, X("[0,2]", "[]"), 200, "\"data\":[]", ""},
    {"POST", PLANE, COLUMN("input", "FP64", "[1,2]", "[1,2.5]"), 200, "output", ""},
    {"POST", PLANE, COLUMN("input", "INT8", "[1,2]", "[1,-2]"), 200, "output", ""},
    {"POST", "/v2/models/plane/versions/1/infer", X("[1,2]", "[1,2]"), 200,
     "\"model_version\":\"1\"", ""},
    {"POST", CHURN, COLUMN("age", "FP64", "[1]", "[30]"), 200, "probability", ""},
    {"POST", CHURN, COLUMN("age", "INT64", "[1,1]", "[[30]]"), 200, "prediction", ""},
    {"POST", CHURN,
     "{\"parameters\":{\"signature\":\"tensor\"},\"inputs\":[{\"name\":\"x\",\"shape\":[1,5],"
     "\"datatype\":\"FP32\",\"data\":[0,0,0,0,0]}]}",
     200, "probability", ""},
    {"POST", C1, "{\"instances\":[{\"age\":null,\"city\":\"Oslo\"}]}", 200, "probability", ""},
    {"POST", C1, "{\"instances\":[{\"age\":\"39\"}]}", 200, "prediction", ""},
    {"POST", C1, "{\"instances\":[{\"age\":39,\"outcome\":\"stay\"}]}", 200, "prediction", ""},
    {"POST", C1, "{\"instances\":[]}", 200, "{\"predictions\":[]}", ""},
    {"POST", P1, "{\"instances\":[[1,2],[3,4]]}", 200, "predictions", ""},
    {"POST", A1, "{\"instances\":[[1,2]]}", 200, "{\"predictions\":[[", ""},
    {"POST", A1, "{\"instances\":[{\"x\":[1,2]}]}", 200, "{\"predictions\":[[", ""},
    {"POST", A1, "{\"signature_name\":\"raw\",\"instances\":[{\"x\":[1,2]}]}", 200,
     "{\"predictions\":[{\"prediction\":", ""},
    {"POST", P1, "{\"inputs\":[[1,2]]}", 200, "outputs", ""},
    {"POST", P1, "{\"instances\":[[NaN,Infinity]]}", 200, "NaN", ""},
    {"GET", "/healthz", "", 200, "ok", "Origin: http://localhost:3000\r\n"},
};

static const row bad[] = {
    /* routes */
    {"GET", "/", "", 404, "there is no '/' here; /openapi.json", ""},
    {"GET", "/V2", "", 404, "error", ""},
    {"GET", "//v2", "", 404, "error", ""},
    {"GET", "/v2/", "", 404, "error", ""},
    {"GET", "/v2//models", "", 404, "error", ""},
    {"GET", "/%76%32", "", 404, "error", ""},
    {"GET", "/v2/models/../../etc/passwd", "", 404, "error", ""},
    {"GET", "/v2/models/%2e%2e", "", 404, "there is no model '..'", ""},
    {"GET", "/v2/models/%00", "", 404, "error", ""},
    {"GET", "/v2/models/%zz", "", 404, "error", ""},
    {"GET", "/v2/models/%ff", "", 404, "error", ""},
    {"GET", "/v2/models/absent", "", 404, "there is no model 'absent'", ""},
    {"GET", "/v2/models/plane/versions/9", "", 404, "no version '9'", ""},
    {"GET", "/v2/models/plane/versions/01", "", 404, "no version", ""},
    {"GET", "/v2/models/plane/versions/-1", "", 404, "no version", ""},
    {"POST", "/v2", "{}", 405, "allow: GET, HEAD", ""},
    {"GET", CHURN, "", 405, "allow: POST", ""},
    {"DELETE", "/v2/models/churn", "", 405, "does not take DELETE", ""},
    {"POST", "/inference.GRPCInferenceService/ModelInfer", "{}", 405, "error", ""},
    {"GET", "/healthz", "", 403, "Origin", "X: y\r\nOrigin: http://evil.example\r\n"},
    {"POST", PLANE, "{}", 415, "content-encoding", "Content-Encoding: gzip\r\n"},
    /* JSON */
    {"POST", PLANE, "", 400, "error", ""},
    {"POST", PLANE, "nonsense", 400, "1:1", ""},
    {"POST", PLANE, "[]", 400, "expected an object", ""},
    {"POST", PLANE, "{\"inputs\":[],\"inputs\":[]}", 400, "error", ""},
    {"POST", PLANE, "{\"a\":\"\xff\"}", 400, "error", ""},
    {"POST", PLANE, "[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[", 413, "error", ""},
    {"POST", PLANE, "{}", 400, "'inputs' is missing", ""},
    {"POST", PLANE, "{\"inputs\":{}}", 400, "expected an array", ""},
    {"POST", PLANE, "{\"inputs\":[]}", 400, "at least one", ""},
    {"POST", PLANE, "{\"inputs\":[1]}", 400, "error", ""},
    {"POST", PLANE, "{\"inputs\":[null]}", 400, "error", ""},
    {"POST", PLANE, "{\"inputs\":[{}]}", 400, "name", ""},
    {"POST", PLANE, "{\"inputs\":[{\"name\":3}]}", 400, "name", ""},
    {"POST", PLANE, "{\"id\":7,\"inputs\":[]}", 400, "id", ""},
    {"POST", PLANE, "{\"parameters\":[],\"inputs\":[]}", 400, "parameters", ""},
    {"POST", PLANE,
     "{\"parameters\":{\"signature\":\"odd\"},\"inputs\":[{\"name\":\"input\",\"datatype\":"
     "\"FP32\","
     "\"shape\":[1,2],\"data\":[1,2]}]}",
     400, "no signature 'odd'", ""},
    /* tensors */
    {"POST", PLANE, COLUMN("input", "FP33", "[1,2]", "[1,2]"), 400, "datatype 'FP33'", ""},
    {"POST", PLANE, COLUMN("input", "f32", "[1,2]", "[1,2]"), 400, "datatype 'f32'", ""},
    {"POST", PLANE, COLUMN("input", "FP16", "[1,2]", "[1,2]"), 400, "binary", ""},
    {"POST", PLANE, COLUMN("inputt", "FP32", "[1,2]", "[1,2]"), 400, "input", ""},
    {"POST", PLANE, X("[1,2]", "[1,2,3]"), 400, "has 3 elements, its shape [1, 2] takes 2", ""},
    {"POST", PLANE, X("[1,3]", "[1,2,3]"), 400, "[1, 3]", ""},
    {"POST", PLANE, X("[2]", "[1,2]"), 400, "[2]", ""},
    {"POST", PLANE, X("[]", "[1]"), 400, "0 dimensions", ""},
    {"POST", PLANE, X("[1,1,1,1,1,1,1,1,2]", "[1,2]"), 400, "9 dimensions", ""},
    {"POST", PLANE, X("[-1,2]", "[1,2]"), 400, "-1", ""},
    {"POST", PLANE, X("[1.5,2]", "[1,2]"), 400, "whole", ""},
    {"POST", PLANE, X("[4611686018427387904,4]", "[1,2]"), 413, "too many elements", ""},
    {"POST", PLANE, X("[1000000000,2]", "[1,2]"), 400, "has 2 elements", ""},
    {"POST", PLANE, X("\"1,2\"", "[1,2]"), 400, "shape", ""},
    {"POST", PLANE, X("[1,2]", "[1,\"2\"]"), 400, "expected a number", ""},
    {"POST", PLANE, X("[1,2]", "[1,null]"), 400, "expected a number", ""},
    {"POST", PLANE, X("[2,2]", "[[1,2],[3],[4]]"), 400, "elements", ""},
    {"POST", PLANE, X("[1,2]", "{}"), 400, "expected an array", ""},
    {"POST", PLANE, COLUMN("input", "INT8", "[1,2]", "[1,300]"), 400, "300", ""},
    {"POST", PLANE, COLUMN("input", "UINT8", "[1,2]", "[1,-1]"), 400, "-1", ""},
    {"POST", PLANE, COLUMN("input", "INT32", "[1,2]", "[1,1.5]"), 400, "1.5", ""},
    {"POST", PLANE, COLUMN("input", "BYTES", "[1,2]", "[\"a\",\"b\"]"), 400, "expected numbers",
     ""},
    {"POST", PLANE, "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":[1,2]}]}",
     400, "no 'data'", ""},
    {"POST", PLANE,
     "{\"inputs\":[{\"name\":\"input\",\"datatype\":\"FP32\",\"shape\":[1,2],\"parameters\":{"
     "\"binary_data_size\":8}}]}",
     400, "binary_data_size is 8", "Inference-Header-Content-Length: 97\r\n"},
    {"POST", PLANE, "{}", 400, "Inference-Header-Content-Length is 999",
     "Inference-Header-Content-Length: 999\r\n"},
    {"POST", PLANE, "{}", 400, "Inference-Header-Content-Length",
     "Inference-Header-Content-Length: -5\r\n"},
    {"POST", PLANE, "abc", 400, "3 bytes", "Inference-Header-Content-Length: 0\r\n"},
    {"POST", CHURN,
     "{\"outputs\":[{\"name\":\"odd\"}],\"inputs\":[{\"name\":\"age\",\"datatype\":\"FP64\","
     "\"shape\":[1],"
     "\"data\":[1]}]}",
     400, "there is no output 'odd'", ""},
    /* raw columns */
    {"POST", CHURN, COLUMN("agee", "FP64", "[1]", "[1]"), 400, "agee", ""},
    {"POST", CHURN, COLUMN("age", "FP64", "[1,2]", "[1,2]"), 400, "expected [N] or [N, 1]", ""},
    {"POST", CHURN, COLUMN("city", "BYTES", "[1]", "[7]"), 400, "expected a string", ""},
    {"POST", CHURN,
     "{\"inputs\":[{\"name\":\"age\",\"datatype\":\"FP64\",\"shape\":[1],\"data\":[1]},{\"name\":"
     "\"city\","
     "\"datatype\":\"BYTES\",\"shape\":[2],\"data\":[\"a\",\"b\"]}]}",
     400, "2 rows", ""},
    {"POST", CHURN,
     "{\"inputs\":[{\"name\":\"age\",\"datatype\":\"FP64\",\"shape\":[1],\"data\":[1]},{\"name\":"
     "\"age\","
     "\"datatype\":\"FP64\",\"shape\":[1],\"data\":[1]}]}",
     400, "twice", ""},
    /* V1 */
    {"POST", C1, "{}", 400, "neither 'instances' nor 'inputs'", ""},
    {"POST", C1, "{\"instances\":[],\"inputs\":[]}", 400, "both", ""},
    {"POST", C1, "{\"instances\":{}}", 400, "expected an array", ""},
    {"POST", C1, "{\"instances\":[{}]}", 400, "none of the model's 3 columns", ""},
    {"POST", C1, "{\"instances\":[1]}", 400, "3 columns", ""},
    {"POST", C1, "{\"instances\":[{\"age\":1},2]}", 400, "instance 1", ""},
    {"POST", C1, "{\"instances\":[{\"agee\":1}]}", 400, "agee", ""},
    {"POST", C1, "{\"instances\":[{\"age\":\"old\"}]}", 400, "age", ""},
    {"POST", C1, "{\"instances\":[{\"age\":[1]}]}", 400, "expected a number", ""},
    {"POST", C1, "{\"instances\":[{\"age\":{\"b64\":\"AA==\"}}]}", 400, "expected a number", ""},
    {"POST", C1, "{\"signature_name\":\"odd\",\"instances\":[]}", 400, "no signature 'odd'", ""},
    {"POST", C1, "{\"signature_name\":7,\"instances\":[]}", 400, "signature_name", ""},
    {"POST", C1, "{\"inputs\":{\"age\":[1],\"city\":[]}}", 400, "1", ""},
    {"POST", C1, "{\"inputs\":{\"age\":1}}", 400, "expected an array", ""},
    {"POST", P1, "{\"instances\":[[1,2],[3]]}", 400, "differ in length", ""},
    {"POST", P1, "{\"instances\":[[1,2,3]]}", 400, "[1, 3]", ""},
    {"POST", P1, "{\"instances\":[1,2]}", 400, "[2]", ""},
    {"POST", P1, "{\"instances\":[[1,\"a\"]]}", 400, "expected a number", ""},
    {"POST", P1, "{\"instances\":[{\"odd\":[1,2]}]}", 400, "input", ""},
    {"POST", P1, "{\"inputs\":{\"odd\":[[1,2]]}}", 400, "no input 'odd'", ""},
    {"POST", "/v1/models/picture:predict", "{\"instances\":[{\"image\":{\"b64\":\"!!\"}}]}", 400,
     "base64", ""},
    {"POST", "/v1/models/picture:predict", "{\"instances\":[{\"image\":{\"b64\":\"AAAA\"}}]}", 400,
     "image", ""},
    {"POST", "/v1/models/picture:predict", "{\"instances\":[{\"image\":\"/etc/passwd\"}]}", 400,
     "column 'image' is a string, expected the file as {\\\"b64\\\": \\\"...\\\"} or its pixels",
     ""},
    {"POST", "/v1/models/picture:predict",
     "{\"instances\":[{\"image\":[[1]]},{\"image\":{\"b64\":\"AAAA\"}}]}", 400,
     "column 'image' differs in kind from row to row", ""},
    {"POST", "/v1/models/picture:predict", "{\"instances\":[{\"image\":[[1,2],[3,4]]}]}", 400,
     "image", ""},
    {"POST", "/v2/models/picture/infer", COLUMN("image", "BYTES", "[1]", "[\"/etc/passwd\"]"), 400,
     "image", ""},
    {"POST", "/v1/models/absent:predict", "{\"instances\":[]}", 404, "absent", ""},
    {"POST", "/v1/models/churn:explain", "{\"instances\":[]}", 404, "error", ""},
};

static void check_rows(const fixture *f, const row *rows, size_t count)
{
    enum { ROOM = 256 << 10 };
    char *answer = malloc(ROOM);
    int wrong = 0;
    for (size_t i = 0; i < count; i++) {
        const row *r = &rows[i];
        int status = ask(f, r->method, r->path, r->headers, r->body, answer, ROOM);
        if (status != r->status || !strstr(answer, r->words)) {
            print_error("row %zu, %s %s %s: expected %d with \"%s\", got %s\n", i, r->method,
                        r->path, r->body, r->status, r->words, answer);
            wrong++;
        }
    }
    free(answer);
    assert_int_equal(wrong, 0);
}

static void good_requests_are_answered(void **state)
{
    check_rows(*state, good, sizeof(good) / sizeof(good[0]));
}

static void bad_requests_are_refused_with_words(void **state)
{
    fixture *f = *state;
    check_rows(f, bad, sizeof(bad) / sizeof(bad[0]));
    int64_t before = qn_rss_bytes();
    for (int round = 0; round < 20; round++)
        check_rows(f, bad, sizeof(bad) / sizeof(bad[0]));
    assert_true(QN_TEST_ASAN || qn_rss_bytes() - before < 4 << 20);
    check_rows(f, good, 2); /* alive */
}

static void other_hosts_are_refused(void **state)
{
    static const char rebound[] =
        "GET /healthz HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n";
    char answer[4096];
    assert_int_equal(ask_raw(*state, rebound, sizeof(rebound) - 1, answer, sizeof(answer)), 403);
    static const char literal[] =
        "GET /healthz HTTP/1.1\r\nHost: 127.0.0.1:80\r\nConnection: close\r\n\r\n";
    assert_int_equal(ask_raw(*state, literal, sizeof(literal) - 1, answer, sizeof(answer)), 200);
}

static void large_body_is_refused(void **state)
{
    size_t size = 5 << 20;
    char *body = malloc(size + 1), answer[4096];
    memset(body, ' ', size);
    body[size] = '\0';
    assert_int_equal(ask(*state, "POST", PLANE, "", body, answer, sizeof(answer)), 413);
    free(body);
}

static void binary_tensors_go_both_ways(void **state)
{
    static const char json[] =
        "{\"parameters\":{\"binary_data_output\":true},\"inputs\":[{\"name\":\"input\","
        "\"datatype\":"
        "\"FP32\",\"shape\":[1,2],\"parameters\":{\"binary_data_size\":8}}]}";
    char request[1024], answer[4096];
    float values[2] = {9, 10}, output;
    int length = snprintf(request, sizeof(request),
                          "POST " PLANE " HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
                          "Inference-Header-Content-Length: %zu\r\nContent-Length: %zu\r\n\r\n%s",
                          sizeof(json) - 1, sizeof(json) - 1 + 8, json);
    memcpy(request + length, values, 8);
    assert_int_equal(ask_raw(*state, request, (size_t)length + 8, answer, sizeof(answer)), 200);
    char *body = strstr(answer, "\r\n\r\n") + 4;
    char *end = strstr(body, "]}");
    assert_non_null(strstr(answer, "inference-header-content-length: "));
    assert_non_null(end);
    memcpy(&output, end + 2, sizeof(output));
    char expected[64], json_answer[4096];
    assert_int_equal(
        ask(*state, "POST", P1, "", "{\"instances\":[[9,10]]}", json_answer, sizeof(json_answer)),
        200);
    int digits = qn_f32_to_text(output, expected);
    expected[digits] = '\0';
    assert_non_null(strstr(json_answer, expected));
}

/* The same rows alone and together, and through the compute thread, have the same bits. */
static void answers_do_not_depend_on_neighbours(void **state)
{
    enum { ROOM = 64 << 10 };
    char *together = malloc(ROOM), *alone = malloc(ROOM);
    assert_int_equal(
        ask(*state, "POST", P1, "", "{\"instances\":[[1,2],[9,10],[0.1,7]]}", together, ROOM), 200);
    assert_int_equal(ask(*state, "POST", P1, "", "{\"instances\":[[9,10]]}", alone, ROOM), 200);
    char *value = strstr(alone, "[[") + 1;
    *strchr(value, ']') = '\0';
    assert_non_null(strstr(together, value));
    free(together);
    free(alone);
}

/* Each allocation of an exchange fails in turn: an answer or a closed connection, and the server lives on. */
static void failed_allocations_are_survived(void **state)
{
    static const struct {
        const char *method, *path, *body;
    } asked[] = {{"POST", C1, "{\"instances\":[{\"age\":39,\"city\":\"Oslo\"}]}"},
                 {"POST", P1, "{\"inputs\":[[1,2],[3,4]]}"},
                 {"POST", PLANE, X("[1,2]", "[1,2]")},
                 {"GET", "/metrics", ""},
                 {"GET", "/v2/models/churn", ""}};
    char *answer = malloc(256 << 10);
    for (size_t i = 0; i < sizeof(asked) / sizeof(asked[0]); i++) {
        for (int k = 1; k < 30; k++) {
            qn_alloc_fail_at(k);
            int status =
                ask(*state, asked[i].method, asked[i].path, "", asked[i].body, answer, 256 << 10);
            qn_alloc_fail_at(0);
            if (status != 0 && status != 200 && status != 503)
                fail_msg("%s, allocation %d: %s", asked[i].path, k, answer);
            assert_int_equal(ask(*state, "GET", "/healthz", "", "", answer, 256 << 10), 200);
        }
    }
    free(answer);
}

static void non_loopback_needs_a_word(void **state)
{
    fixture *f = *state;
    char models[128];
    snprintf(models, sizeof(models), "%s/models", f->folder);
    qn_serve *serve = NULL;
    qn_error err = {0};
    qn_serve_options options = {.repo = models, .host = "0.0.0.0"};
    assert_int_equal(qn_serve_create(&options, &serve, &err), QN_ERR_ARG);
    assert_non_null(strstr(err.hint, "--insecure-no-auth"));
    options.insecure_no_auth = true;
    assert_ok(qn_serve_create(&options, &serve, &err), &err);
    qn_serve_destroy(serve);
    options = (qn_serve_options){.repo = "/nowhere"};
    assert_int_not_equal(qn_serve_create(&options, &serve, &err), QN_OK);
    options = (qn_serve_options){0};
    assert_int_equal(qn_serve_create(&options, &serve, &err), QN_ERR_ARG);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_requests_are_answered),
        cmocka_unit_test(bad_requests_are_refused_with_words),
        cmocka_unit_test(other_hosts_are_refused),
        cmocka_unit_test(large_body_is_refused),
        cmocka_unit_test(binary_tensors_go_both_ways),
        cmocka_unit_test(answers_do_not_depend_on_neighbours),
        cmocka_unit_test(failed_allocations_are_survived),
        cmocka_unit_test(non_loopback_needs_a_word),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
