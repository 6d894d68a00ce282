/*
 * The one table of everything that can be asked, gRPC methods included, and its lookup. What is not here is
 * 404 (UNIMPLEMENTED in gRPC), another method is 405. Literal parts match byte for byte: no case folding, no
 * percent-decoding, no empty segments; so there is one spelling of each path and one place that decides.
 */
#include "handlers_priv.h"

#define OIP "/inference.GRPCInferenceService/"
#define M   "/v2/models/{model}"
#define MV  "/v2/models/{model}/versions/{version}"
#define V1  "/v1/models/{model}"
#define V1V "/v1/models/{model}/versions/{version}"

static const qn_route routes[] = {
    /* inference first: the rows most often asked for */
    {"POST", M "/infer", QN_AUTH_INFER, qn_answer_infer, NULL, NULL,
     "Infer (Open Inference Protocol)"},
    {"GRPC", OIP "ModelInfer", QN_AUTH_INFER, qn_answer_grpc_infer, NULL, NULL, "Infer"},
    {"POST", V1 ":predict", QN_AUTH_INFER, qn_answer_predict, NULL, NULL,
     "Predict (TensorFlow Serving, KServe V1)"},
    {"POST", MV "/infer", QN_AUTH_INFER, qn_answer_infer, NULL, NULL, "Infer with one version"},
    {"POST", V1V ":predict", QN_AUTH_INFER, qn_answer_predict, NULL, NULL,
     "Predict with one version"},
    {"GRPC", OIP "ModelStreamInfer", QN_AUTH_INFER, NULL, qn_stream_infer, qn_stream_end,
     "Infer on a stream"},
    /* health */
    {"GET", "/health", QN_AUTH_PUBLIC, qn_answer_health, NULL, NULL, "Is the server well?"},
    {"GET", "/healthz", QN_AUTH_PUBLIC, qn_answer_health, NULL, NULL, "Is the server well?"},
    {"GET", "/v2/health/live", QN_AUTH_PUBLIC, qn_answer_live, NULL, NULL, "Is the process alive?"},
    {"GET", "/v2/health/ready", QN_AUTH_PUBLIC, qn_answer_ready, NULL, NULL,
     "Does it take requests?"},
    {"GRPC", "/grpc.health.v1.Health/Check", QN_AUTH_PUBLIC, qn_answer_grpc_check, NULL, NULL,
     "Health of a service"},
    {"GRPC", "/grpc.health.v1.Health/List", QN_AUTH_PUBLIC, qn_answer_grpc_list, NULL, NULL,
     "Health of all services"},
    {"GRPC", "/grpc.health.v1.Health/Watch", QN_AUTH_PUBLIC, NULL, qn_stream_watch,
     qn_stream_watch_end, "Health, followed"},
    /* Open Inference Protocol: what there is */
    {"GET", "/v2", QN_AUTH_INFER, qn_answer_server, NULL, NULL,
     "Name, version and extensions of the server"},
    {"GET", "/v2/models", QN_AUTH_INFER, qn_answer_model_names, NULL, NULL, "Names of the models"},
    {"GET", "/v2/models/stats", QN_AUTH_INFER, qn_answer_all_stats, NULL, NULL,
     "Statistics of all models"},
    {"GET", M, QN_AUTH_INFER, qn_answer_model, NULL, NULL, "Inputs and outputs of a model"},
    {"GET", MV, QN_AUTH_INFER, qn_answer_model, NULL, NULL, "Inputs and outputs of one version"},
    {"GET", M "/ready", QN_AUTH_INFER, qn_answer_model_ready, NULL, NULL,
     "Does the model take requests?"},
    {"GET", MV "/ready", QN_AUTH_INFER, qn_answer_model_ready, NULL, NULL,
     "Does the version take requests?"},
    {"GET", M "/config", QN_AUTH_INFER, qn_answer_config, NULL, NULL, "Configuration of a model"},
    {"GET", MV "/config", QN_AUTH_INFER, qn_answer_config, NULL, NULL,
     "Configuration of one version"},
    {"GET", M "/stats", QN_AUTH_INFER, qn_answer_stats, NULL, NULL, "Statistics of a model"},
    {"GET", MV "/stats", QN_AUTH_INFER, qn_answer_stats, NULL, NULL, "Statistics of one version"},
    {"POST", "/v2/repository/index", QN_AUTH_INFER, qn_answer_index, NULL, NULL,
     "All models and versions"},
    {"GRPC", OIP "ServerLive", QN_AUTH_PUBLIC, qn_answer_grpc_live, NULL, NULL,
     "Is the process alive?"},
    {"GRPC", OIP "ServerReady", QN_AUTH_PUBLIC, qn_answer_grpc_ready, NULL, NULL,
     "Does it take requests?"},
    {"GRPC", OIP "ModelReady", QN_AUTH_INFER, qn_answer_grpc_model_ready, NULL, NULL,
     "Does the model take requests?"},
    {"GRPC", OIP "ServerMetadata", QN_AUTH_INFER, qn_answer_grpc_server, NULL, NULL,
     "Name, version and extensions of the server"},
    {"GRPC", OIP "ModelMetadata", QN_AUTH_INFER, qn_answer_grpc_model, NULL, NULL,
     "Inputs and outputs of a model"},
    {"GRPC", OIP "ModelConfig", QN_AUTH_INFER, qn_answer_grpc_config, NULL, NULL,
     "Configuration of a model"},
    {"GRPC", OIP "ModelStatistics", QN_AUTH_INFER, qn_answer_grpc_stats, NULL, NULL,
     "Statistics of models"},
    {"GRPC", OIP "RepositoryIndex", QN_AUTH_INFER, qn_answer_grpc_index, NULL, NULL,
     "All models and versions"},
    /* TensorFlow Serving and KServe V1 */
    {"GET", "/v1/models", QN_AUTH_INFER, qn_answer_v1_models, NULL, NULL,
     "Models, in the shapes of OpenAI and KServe V1"},
    {"GET", V1, QN_AUTH_INFER, qn_answer_v1_model, NULL, NULL, "Status of a model"},
    {"GET", V1V, QN_AUTH_INFER, qn_answer_v1_model, NULL, NULL, "Status of one version"},
    {"GET", V1 "/metadata", QN_AUTH_INFER, qn_answer_v1_metadata, NULL, NULL,
     "Signatures of a model"},
    {"GET", V1V "/metadata", QN_AUTH_INFER, qn_answer_v1_metadata, NULL, NULL,
     "Signatures of one version"},
    /* description and operation */
    {"GET", "/openapi.json", QN_AUTH_PUBLIC, qn_answer_openapi, NULL, NULL, "This description"},
    {"GET", "/metrics", QN_AUTH_METRICS, qn_answer_metrics, NULL, NULL, "Figures for Prometheus"},
    {"GRPC", "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo", QN_AUTH_PUBLIC, NULL,
     qn_stream_reflect, qn_stream_end, "Descriptors of the gRPC services"},
    {"GRPC", "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo", QN_AUTH_PUBLIC, NULL,
     qn_stream_reflect, qn_stream_end, "Descriptors of the gRPC services"},
};

const qn_route *qn_route_at(int index)
{
    return index >= 0 && index < qn_route_count() ? &routes[index] : NULL;
}

int qn_route_count(void)
{
    return (int)(sizeof(routes) / sizeof(routes[0]));
}

static int hex_digit(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char folded = (char)(c | 0x20);
    return folded >= 'a' && folded <= 'f' ? folded - 'a' + 10 : -1;
}

/* A path parameter: percent-decoded once, UTF-8, no control characters, not empty. */
static bool decode(qn_str raw, qn_arena *arena, qn_str *ret)
{
    char *dst = qn_arena_alloc(arena, raw.size + 1);
    size_t size = 0, bad_at;
    for (size_t i = 0; dst && i < raw.size; i++) {
        char c = raw.data[i];
        if (c == '%') {
            int high = i + 2 < raw.size ? hex_digit(raw.data[i + 1]) : -1;
            int low = i + 2 < raw.size ? hex_digit(raw.data[i + 2]) : -1;
            if (high < 0 || low < 0)
                return false;
            c = (char)(high * 16 + low);
            i += 2;
        }
        if ((unsigned char)c < 0x20 || c == 0x7f)
            return false;
        dst[size++] = c;
    }
    *ret = (qn_str){dst, size};
    return dst && size > 0 && qn_utf8_check(dst, size, &bad_at);
}

/* One segment of a pattern against one of the path; "{name}suffix" takes a parameter. */
static bool match_segment(qn_str pattern, qn_str segment, qn_str *raw, int *raw_count)
{
    if (pattern.size == 0 || pattern.data[0] != '{')
        return qn_str_equal(pattern, segment);
    const char *close = memchr(pattern.data, '}', pattern.size);
    size_t name = (size_t)(close - pattern.data) + 1;
    qn_str suffix = {pattern.data + name, pattern.size - name};
    if (segment.size <= suffix.size ||
        memcmp(segment.data + segment.size - suffix.size, suffix.data, suffix.size) != 0)
        return false;
    qn_str value = {segment.data, segment.size - suffix.size};
    if (memchr(value.data, ':', value.size))
        return false; /* a verb like ":explain" that has no row; a name may hold %3A */
    raw[(*raw_count)++] = value;
    return true;
}

static qn_str next_segment(qn_str *path)
{
    const char *slash = memchr(path->data, '/', path->size);
    size_t size = slash ? (size_t)(slash - path->data) : path->size;
    qn_str segment = {path->data, size};
    size_t skip = slash ? size + 1 : size;
    *path = slash ? (qn_str){path->data + skip, path->size - skip} : (qn_str){NULL, 0};
    return segment;
}

static bool match(const char *pattern, qn_str path, qn_str raw[QN_PARAMS_MAX], int *raw_count)
{
    qn_str rest = {pattern + 1, strlen(pattern) - 1};
    *raw_count = 0;
    if (path.size == 0 || path.data[0] != '/')
        return false;
    path = (qn_str){path.data + 1, path.size - 1};
    while (rest.data && path.data) {
        qn_str expected = next_segment(&rest), segment = next_segment(&path);
        if (!match_segment(expected, segment, raw, raw_count))
            return false;
    }
    return !rest.data && !path.data;
}

static bool method_fits(const qn_route *route, const qn_request *request)
{
    bool grpc = request->kind == QN_NET_GRPC;
    if (strcmp(route->method, "GRPC") == 0 || grpc)
        return grpc && strcmp(route->method, "GRPC") == 0;
    if (strcmp(route->method, "GET") == 0)
        return qn_str_is(request->method, "GET") || qn_str_is(request->method, "HEAD");
    return qn_str_is(request->method, route->method);
}

const qn_route *qn_route_find(const qn_request *request, qn_arena *arena,
                              qn_str params[QN_PARAMS_MAX], const char **ret_allow)
{
    *ret_allow = NULL;
    for (int i = 0; i < qn_route_count(); i++) {
        qn_str raw[QN_PARAMS_MAX];
        int raw_count;
        if (!match(routes[i].pattern, request->path, raw, &raw_count))
            continue;
        if (!method_fits(&routes[i], request)) {
            bool get = strcmp(routes[i].method, "GET") == 0;
            if (!*ret_allow)
                *ret_allow = get ? "GET, HEAD" : "POST";
            continue;
        }
        for (int p = 0; p < raw_count; p++)
            if (!decode(raw[p], arena, &params[p]))
                return NULL;
        return &routes[i];
    }
    return NULL;
}
