/*
 * Figures: counters and histograms kept in the loop thread, written as Prometheus text (exposition format 0.0.4).
 * A histogram's buckets are cumulative there; here each counts its own.
 */
#include "handlers_priv.h"
#include "os/clock.h"

/* From a tiny model's microseconds to a minute of a large one; 1-2-5 steps. */
static const struct {
    int64_t ns;
    const char *text;
} bounds[QN_BUCKETS] = {{10000, "1e-05"},   {20000, "2e-05"},   {50000, "5e-05"},
                        {100000, "0.0001"}, {200000, "0.0002"}, {500000, "0.0005"},
                        {1000000, "0.001"}, {2000000, "0.002"}, {5000000, "0.005"},
                        {10000000, "0.01"}, {20000000, "0.02"}, {50000000, "0.05"},
                        {100000000, "0.1"}, {200000000, "0.2"}, {500000000, "0.5"},
                        {1000000000, "1"},  {5000000000, "5"},  {60000000000, "60"}};

static const int codes[] = {200, 204, 400, 401, 403, 404, 405, 408, 409,
                            413, 415, 429, 431, 499, 500, 501, 503, 504};
enum { CODES = (int)(sizeof(codes) / sizeof(codes[0])) };

void qn_duration_add(qn_duration *duration, int64_t ns)
{
    duration->count++;
    duration->ns += ns;
}

void qn_histogram_add(qn_histogram *histogram, int64_t ns)
{
    int index = 0;
    while (index < QN_BUCKETS && ns > bounds[index].ns)
        index++;
    histogram->buckets[index]++;
    histogram->sum_ns += ns;
}

void qn_metrics_answer(qn_route_stats *stats, int http_status, int64_t ns)
{
    int index = 0;
    while (index < CODES && codes[index] != http_status)
        index++;
    stats->codes[index]++; /* the place after the last known code counts the others */
    qn_histogram_add(&stats->seconds, ns);
}

/* ---- writing ---- */

static void head(qn_buf *out, const char *name, const char *type, const char *help)
{
    qn_buf_printf(out, "# HELP %s %s\n# TYPE %s %s\n", name, help, name, type);
}

static void single(qn_buf *out, const char *name, const char *type, const char *help, double value)
{
    char text[32];
    head(out, name, type, help);
    int size = qn_f64_to_text(value, text);
    qn_buf_printf(out, "%s %.*s\n", name, size, text);
}

static void histogram_rows(qn_buf *out, const char *name, const char *labels,
                           const qn_histogram *histogram)
{
    int64_t sum = 0;
    for (int i = 0; i <= QN_BUCKETS; i++) {
        sum += histogram->buckets[i];
        qn_buf_printf(out, "%s_bucket{%s,le=\"%s\"} %lld\n", name, labels,
                      i < QN_BUCKETS ? bounds[i].text : "+Inf", (long long)sum);
    }
    char text[32];
    int size = qn_f64_to_text((double)histogram->sum_ns / 1e9, text);
    qn_buf_printf(out, "%s_sum{%s} %.*s\n", name, labels, size, text);
    qn_buf_printf(out, "%s_count{%s} %lld\n", name, labels, (long long)sum);
}

static const char *route_labels(const qn_serve *serve, int index, qn_arena *arena)
{
    (void)serve;
    const qn_route *route = qn_route_at(index);
    if (!route)
        return "route=\"none\",method=\"none\"";
    return qn_arena_printf(arena, "route=\"%s\",method=\"%s\"", route->pattern, route->method);
}

static int64_t answers(const qn_route_stats *stats)
{
    int64_t sum = 0;
    for (int i = 0; i < QN_CODES; i++)
        sum += stats->codes[i];
    return sum;
}

static const qn_route_stats *route_stats(const qn_serve *serve, int index)
{
    return index < qn_route_count() ? &serve->routes[index] : &serve->unrouted;
}

static void write_routes(const qn_serve *serve, qn_buf *out, qn_arena *arena)
{
    head(out, "quern_requests_total", "counter", "Answers by route and status");
    for (int i = 0; i <= qn_route_count(); i++) {
        const qn_route_stats *stats = route_stats(serve, i);
        for (int c = 0; c <= CODES; c++)
            if (stats->codes[c])
                qn_buf_printf(out, "quern_requests_total{%s,code=\"%d\"} %lld\n",
                              route_labels(serve, i, arena), c < CODES ? codes[c] : 0,
                              (long long)stats->codes[c]);
    }
    head(out, "quern_request_duration_seconds", "histogram", "From the header to the answer");
    for (int i = 0; i <= qn_route_count(); i++)
        if (answers(route_stats(serve, i)))
            histogram_rows(out, "quern_request_duration_seconds", route_labels(serve, i, arena),
                           &route_stats(serve, i)->seconds);
}

/* A label's value: backslash, quote and line feed are escaped. */
static const char *escaped(const char *text, qn_arena *arena)
{
    size_t size = strlen(text), at = 0;
    char *dst = qn_arena_alloc(arena, size * 2 + 1);
    if (!dst)
        return "";
    for (size_t i = 0; i < size; i++) {
        if (text[i] == '\\' || text[i] == '"' || text[i] == '\n')
            dst[at++] = '\\';
        dst[at++] = text[i] == '\n' ? 'n' : text[i];
    }
    dst[at] = '\0';
    return dst;
}

typedef struct {
    const char *name, *type, *help;
    int64_t (*value)(qn_served *served);
    const qn_histogram *(*histogram)(const qn_served *served);
} model_metric;

static int64_t success_of(qn_served *served)
{
    return served->success.count;
}
static int64_t failure_of(qn_served *served)
{
    return served->fail.count;
}
static int64_t rows_of(qn_served *served)
{
    return served->rows;
}
static int64_t runs_of(qn_served *served)
{
    return served->executions;
}
static int64_t bytes_of(qn_served *served)
{
    if (uv_mutex_trylock(&served->lock) != 0)
        return served->bytes; /* it runs: what it was when last asked */
    served->bytes = qn_predictor_bytes(served->predictor);
    uv_mutex_unlock(&served->lock);
    return served->bytes;
}
static const qn_histogram *queue_of(const qn_served *served)
{
    return &served->queue_seconds;
}
static const qn_histogram *infer_of(const qn_served *served)
{
    return &served->infer_seconds;
}

static const model_metric model_metrics[] = {
    {"quern_inferences_total", "counter", "Inference requests answered well", success_of, NULL},
    {"quern_inference_failures_total", "counter", "Inference requests that failed", failure_of,
     NULL},
    {"quern_rows_total", "counter", "Rows answered", rows_of, NULL},
    {"quern_runs_total", "counter", "Runs of the model; several requests may share one", runs_of,
     NULL},
    {"quern_model_bytes", "gauge", "Weights and plans", bytes_of, NULL},
    {"quern_queue_seconds", "histogram", "Waiting for the compute thread", NULL, queue_of},
    {"quern_infer_seconds", "histogram", "One run of the model", NULL, infer_of},
};

static void write_model(const model_metric *metric, qn_served *served, qn_buf *out, qn_arena *arena)
{
    const char *labels = qn_arena_printf(arena, "model=\"%s\",version=\"%s\"",
                                         escaped(served->name, arena), served->version_text);
    if (metric->value)
        qn_buf_printf(out, "%s{%s} %lld\n", metric->name, labels, (long long)metric->value(served));
    else
        histogram_rows(out, metric->name, labels, metric->histogram(served));
}

static void write_models(const qn_serve *serve, qn_buf *out, qn_arena *arena)
{
    for (size_t i = 0; i < sizeof(model_metrics) / sizeof(model_metrics[0]); i++) {
        head(out, model_metrics[i].name, model_metrics[i].type, model_metrics[i].help);
        for (int64_t m = 0; m < serve->models_count; m++)
            for (int64_t v = 0; v < serve->models[m].versions_count; v++)
                if (serve->models[m].versions[v].predictor)
                    write_model(&model_metrics[i], &serve->models[m].versions[v], out, arena);
    }
}

static void write_process(const qn_serve *serve, qn_buf *out)
{
    const qn_net_stats *net = qn_net_stats_of(serve->net);
    single(out, "quern_connections", "gauge", "Open connections", (double)net->connections_open);
    single(out, "quern_connections_total", "counter", "Connections accepted",
           (double)net->connections_total);
    single(out, "quern_connections_refused_total", "counter", "Connections over the limit",
           (double)net->connections_refused);
    single(out, "quern_requests_bad_total", "counter", "Malformed, oversize or slow requests",
           (double)net->requests_bad);
    single(out, "quern_received_bytes_total", "counter", "Bytes read", (double)net->bytes_in);
    single(out, "quern_sent_bytes_total", "counter", "Bytes written", (double)net->bytes_out);
    single(out, "quern_streams", "gauge", "Open gRPC streams", (double)serve->streams_count);
    single(out, "process_cpu_seconds_total", "counter", "CPU time", (double)qn_cpu_time_ns() / 1e9);
    single(out, "process_resident_memory_bytes", "gauge", "Resident memory",
           (double)qn_rss_bytes());
    single(out, "process_start_time_seconds", "gauge", "Start, seconds since 1970",
           (double)serve->started_s);
}

void qn_answer_metrics(qn_call *call)
{
    qn_buf *out = call->request->out;
    write_process(call->serve, out);
    write_routes(call->serve, out, call->request->arena);
    write_models(call->serve, out, call->request->arena);
    qn_call_reply(call, 200, QN_STR("text/plain; version=0.0.4; charset=utf-8"), NULL, 0);
}
