/* A server over the test models in this process, and a blocking HTTP/1.1 exchange with it. */
#ifndef QN_SERVE_FIXTURE_H
#define QN_SERVE_FIXTURE_H

#include "serve_models.h"

#include <arpa/inet.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "serve/server.h"

typedef struct {
    char folder[64];
    qn_serve *serve;
    pthread_t thread;
    int port;
} fixture;

static void *run_fixture(void *argument)
{
    fixture *f = argument;
    qn_error err = {0};
    if (qn_serve_run(f->serve, &err) != QN_OK)
        fprintf(stderr, "%s\n", err.text);
    return NULL;
}

static int fixture_setup(void **state)
{
    static fixture f;
    qn_error err = {0};
    char models[128];
    snprintf(f.folder, sizeof(f.folder), "/tmp/quern-serve-XXXXXX");
    if (!mkdtemp(f.folder))
        return -1;
    snprintf(models, sizeof(models), "%s/models", f.folder);
    qn_serve_options options = {.repo = models, .body_bytes = 4 << 20};
    if (make_models(f.folder, &err) != QN_OK ||
        qn_serve_create(&options, &f.serve, &err) != QN_OK) {
        fprintf(stderr, "%s: %s\n", err.where, err.text);
        return -1;
    }
    f.port = (int)strtol(strrchr(qn_serve_url(f.serve), ':') + 1, NULL, 10);
    pthread_create(&f.thread, NULL, run_fixture, &f);
    *state = &f;
    return 0;
}

static int fixture_teardown(void **state)
{
    fixture *f = *state;
    qn_serve_stop(f->serve);
    pthread_join(f->thread, NULL);
    qn_serve_destroy(f->serve);
    return qn_folder_remove(f->folder, NULL) == QN_OK ? 0 : -1;
}

static int dial(const fixture *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)f->port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    return connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0 ? fd : -1;
}

/* Sends one request and reads to the end of the connection; returns the status, the whole answer in dst. */
static inline int ask_raw(const fixture *f, const char *request, size_t size, char *dst,
                          size_t room)
{
    int fd = dial(f);
    size_t have = 0;
    for (size_t sent = 0; sent < size;) {
        ssize_t n = send(fd, request + sent, size - sent, MSG_NOSIGNAL);
        if (n <= 0)
            break;
        sent += (size_t)n;
    }
    while (have < room - 1) {
        ssize_t n = recv(fd, dst + have, room - 1 - have, 0);
        if (n <= 0)
            break;
        have += (size_t)n;
    }
    dst[have] = '\0';
    close(fd);
    return have > 12 ? (int)strtol(dst + 9, NULL, 10) : 0;
}

static inline int ask(const fixture *f, const char *method, const char *path, const char *headers,
                      const char *body, char *dst, size_t room)
{
    size_t size = strlen(path) + strlen(body) + strlen(headers) + 256;
    char *request = malloc(size);
    int length = snprintf(request, size,
                          "%s %s HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%s"
                          "Content-Length: %zu\r\n\r\n%s",
                          method, path, headers, strlen(body), body);
    int status = ask_raw(f, request, (size_t)length, dst, room);
    free(request);
    return status;
}

#endif
