/*
 * quern serve: models behind one port until a signal says stop.
 */
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cli/verbs.h"
#include "serve/server.h"

static qn_serve *serving; /* for the signal handler; set once before signals are caught */

static void stop_serving(int signal)
{
    (void)signal;
    if (serving)
        qn_serve_stop(serving);
}

static qn_status read_options(qn_cli *cli, qn_serve_options *options, qn_error *err)
{
    int64_t port = 8080, threads = 0;
    double drain = 30;
    QN_TRY(qn_cli_i64(cli, "port", 0, 65535, &port, err));
    QN_TRY(qn_cli_i64(cli, "threads", 1, 256, &threads, err));
    QN_TRY(qn_cli_seconds(cli, "drain", &drain, err));
    QN_TRY(qn_cli_bytes(cli, "max-body", &options->body_bytes, err));
    options->port = (int)port;
    options->threads = (int)threads;
    options->drain_ms = (int64_t)(drain * 1000);
    options->host = qn_cli_text(cli, "host");
    options->repo = qn_cli_text(cli, "repo");
    options->insecure_no_auth = qn_cli_has(cli, "insecure-no-auth");
    options->ignore_unknown = qn_cli_has(cli, "ignore-unknown");
    options->models = cli->arguments;
    options->models_count = cli->arguments_count;
    if (!options->repo && !cli->arguments_count) {
        qn_error_set(err, QN_ERR_ARG, NULL, "'quern serve' needs a MODEL or --repo DIR");
        return qn_error_hint(err, QN_ERR_ARG, "quern train writes models below models/");
    }
    return QN_OK;
}

/* The ready line: on standard error for people, with --json also on standard output for programs. */
static qn_status say_ready(qn_cli *cli, qn_error *err)
{
    if (!cli->quiet)
        fprintf(stderr, "quern: serving on %s (Ctrl-C stops)\n", qn_serve_url(serving));
    if (!cli->json)
        return QN_OK;
    qn_buf line;
    qn_json_writer w;
    qn_buf_init(&line, 0);
    qn_cli_event_begin(&w, &line, "ready");
    qn_json_put_text(&w, "url", qn_serve_url(serving));
    qn_cli_event_end(&w, &line);
    return qn_cli_print_free(&line, err);
}

static qn_status run(qn_cli *cli, qn_error *err)
{
    qn_serve_options options = {0};
    QN_TRY(read_options(cli, &options, err));
    QN_TRY(qn_serve_create(&options, &serving, err));
    qn_cli_catch_signals(stop_serving);
    signal(SIGPIPE, SIG_IGN); /* a client that went away is an error code, not an end */
    qn_status status = say_ready(cli, err);
    if (status == QN_OK)
        status = qn_serve_run(serving, err);
    qn_serve *ended = serving;
    serving = NULL; /* a late signal finds nothing to stop */
    qn_serve_destroy(ended);
    return status;
}

static const qn_flag flags[] = {
    {"host", "ADDRESS", "127.0.0.1",
     "address to listen on; other than loopback needs --insecure-no-auth"},
    {"port", "N", "8080", "port; 0 picks a free one and says which"},
    {"repo", "DIR", NULL, "serves every model folder in DIR"},
    {"drain", "TIME", "30s", "how long requests in flight may take after SIGTERM"},
    {"max-body", "SIZE", "64MiB", "largest request"},
    {"ignore-unknown", NULL, NULL, "leaves columns of a row aside that the model does not know"},
    {"insecure-no-auth", NULL, NULL, "lets machines in reach of --host ask without a key"},
    {0},
};

const qn_verb qn_verb_serve = {
    .name = "serve",
    .arguments = "[[NAME=]MODEL...]",
    .summary = "serves models: REST, gRPC and metrics on one port",
    .about = "Opens model folders (their newest versions) and answers the Open Inference Protocol "
             "(REST and gRPC),\n"
             "TensorFlow Serving's and KServe's V1 REST, gRPC health and reflection, and "
             "Prometheus metrics on one port.\n"
             "NAME=MODEL serves a model under another name than its own.\n"
             "SIGTERM or Ctrl-C: no new work, requests in flight finish, exit 0.",
    .arguments_min = 0,
    .arguments_max = 1024,
    .flags = flags,
    .common = QN_FLAG_JSON | QN_FLAG_QUIET | QN_FLAG_THREADS,
    .examples = {"quern serve models/churn", "http://127.0.0.1:8080/v2/models/churn",
                 "quern serve --repo models --port 0 --json",
                 "every model in a folder, on a free port that the ready event names"},
    .run = run,
};
