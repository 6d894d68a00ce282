/*
 * A server over the test models, for tests that call it from outside (clients in other languages, load).
 *
 * usage: serve_program FOLDER [PORT]     makes the models when FOLDER has none, prints the URL, serves until SIGTERM
 */
#include "serve_models.h"

#include <signal.h>

#include "serve/server.h"

static qn_serve *serve;

static void on_signal(int number)
{
    (void)number;
    qn_serve_stop(serve);
}

int main(int argc, char **argv)
{
    char models[512];
    qn_error err = {0};
    if (argc < 2)
        return 2;
    snprintf(models, sizeof(models), "%s/models", argv[1]);
    qn_serve_options options = {.repo = models,
                                .port = argc > 2 ? (int)strtol(argv[2], NULL, 10) : 0};
    qn_status status = qn_path_exists(models) ? QN_OK : make_models(argv[1], &err);
    if (status == QN_OK)
        status = qn_serve_create(&options, &serve, &err);
    if (status != QN_OK) {
        fprintf(stderr, "%s: %s\n", err.where, err.text);
        return 1;
    }
    signal(SIGTERM, on_signal);
    signal(SIGINT, on_signal);
    printf("%s\n", qn_serve_url(serve));
    fflush(stdout);
    status = qn_serve_run(serve, &err);
    qn_serve_destroy(serve);
    return status == QN_OK ? 0 : 1;
}
