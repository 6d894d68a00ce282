/*
 * The connection layer over real sockets, with a handler that echoes: what bytes get which status, whether the
 * connection is kept, deadlines, drain, answers from another thread. Row format: bytes in, statuses out, kept or not.
 */
#include "testing.h"

#include <arpa/inet.h>
#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/alloc.h"
#include "net/server.h"

typedef struct {
    qn_net_server *server;
    pthread_t thread;
    int cancelled; /* on_cancel calls; read after the server has ended */
    qn_request *parked;
} fixture;

static void reply_text(qn_request *request, int status, qn_str body)
{
    qn_reply reply = {.status = status, .content_type = QN_STR("text/plain"), .body = body};
    qn_request_reply(request, &reply);
}

static void reply_later(qn_net_job *job)
{
    qn_request *request = job->run ? (qn_request *)((char *)job - offsetof(qn_request, job)) : NULL;
    reply_text(request, 200, QN_STR("later"));
}

static void *sleep_and_post(void *argument)
{
    qn_request *request = argument;
    usleep(150 * 1000);
    request->job.run = reply_later;
    qn_net_post(request->user, &request->job);
    return NULL;
}

static qn_net_mode on_head(void *context, qn_request *request)
{
    fixture *f = context;
    request->user = f->server;
    if (qn_str_is(request->path, "/refuse"))
        reply_text(request, 404, QN_STR("no such thing"));
    return qn_str_is(request->path, "/stream") ? QN_NET_STREAM : QN_NET_WHOLE;
}

static void on_request(void *context, qn_request *request)
{
    (void)context;
    if (qn_str_is(request->path, "/later")) {
        pthread_t thread;
        pthread_create(&thread, NULL, sleep_and_post, request);
        pthread_detach(thread);
    } else if (qn_str_is(request->path, "/large")) {
        char *body = qn_buf_reserve(request->out, 8 << 20);
        memset(body, 'x', 8 << 20);
        request->out->size = 8 << 20;
        reply_text(request, 200, qn_buf_view(request->out));
    } else {
        reply_text(request, 200, request->body);
    }
}

static void on_message(void *context, qn_request *request, qn_str message)
{
    (void)context;
    (void)message;
    qn_grpc_next(request);
}

static void on_end(void *context, qn_request *request)
{
    (void)context;
    qn_grpc_finish(request, 0, (qn_str){0});
}

static void on_cancel(void *context, qn_request *request)
{
    (void)request;
    ((fixture *)context)->cancelled++;
}

static void *run_server(void *argument)
{
    fixture *f = argument;
    qn_error err;
    if (qn_net_run(f->server, &err) != QN_OK)
        fprintf(stderr, "%s\n", err.text);
    return NULL;
}

static void start(fixture *f, const qn_net_limits *limits)
{
    *f = (fixture){0};
    qn_net_options options = {
        .drain_ms = 2000,
        .limits = limits ? *limits : qn_net_limits_default(),
        .handler = {f, on_head, on_request, on_message, on_end, on_cancel, NULL}};
    qn_error err;
    assert_ok(qn_net_server_create(&options, &f->server, &err), &err);
    pthread_create(&f->thread, NULL, run_server, f);
}

static void stop(fixture *f)
{
    qn_net_stop(f->server);
    pthread_join(f->thread, NULL);
    qn_net_server_destroy(f->server);
}

static int dial(const fixture *f)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)qn_net_port(f->server)),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(connect(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    return fd;
}

static void say_bytes(int fd, const char *data, size_t size)
{
    while (size) {
        ssize_t sent = send(fd, data, size, MSG_NOSIGNAL);
        if (sent <= 0)
            return; /* the server has closed: what it said is checked */
        data += sent;
        size -= (size_t)sent;
    }
}

static void say(int fd, const char *text)
{
    say_bytes(fd, text, strlen(text));
}

/* Reads until the peer closes or is silent for `quiet_ms`; *closed says which. */
static size_t hear(int fd, char *dst, size_t room, int quiet_ms, bool *closed)
{
    size_t have = 0;
    *closed = false;
    while (have < room - 1) {
        struct pollfd poll_fd = {fd, POLLIN, 0};
        if (poll(&poll_fd, 1, quiet_ms) <= 0)
            break;
        ssize_t got = recv(fd, dst + have, room - 1 - have, 0);
        if (got <= 0) {
            *closed = true;
            break;
        }
        have += (size_t)got;
    }
    dst[have] = '\0';
    return have;
}

/* "200 200 400": the statuses of the answers in `text`. */
static void statuses(const char *text, char *dst, size_t room)
{
    size_t at = 0;
    dst[0] = '\0';
    for (const char *p = strstr(text, "HTTP/1.1 "); p; p = strstr(p + 9, "HTTP/1.1 "))
        at += (size_t)snprintf(dst + at, room - at, at ? " %.3s" : "%.3s", p + 9);
}

typedef struct {
    const char *bytes;
    const char *expected;
    bool kept;
} row;

#define H   "Host: a\r\n"
#define GET "GET / HTTP/1.1\r\n" H "\r\n"

static const row rows[] = {
    {GET, "200", true},
    {GET GET GET, "200 200 200", true},
    {"HEAD / HTTP/1.1\r\n" H "\r\n" GET, "200 200", true},
    {"GET / HTTP/1.1\r\n" H "Connection: close\r\n\r\n" GET, "200", false},
    {"GET / HTTP/1.0\r\n\r\n", "200", false},
    {"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n", "200", true},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello" GET, "200 200", true},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n" GET,
     "200 200", true},
    {"POST / HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", "100", true},
    {"POST /refuse HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello" GET, "404 200", true},
    {"POST /refuse HTTP/1.1\r\n" H "Expect: 100-continue\r\nContent-Length: 5\r\n\r\n", "404",
     false},
    {"POST /refuse HTTP/1.1\r\n" H "Content-Length: 9999999\r\n\r\n", "404", false},
    {"GET /later HTTP/1.1\r\n" H "\r\n" GET, "200 200", true},
    {"\r\n" GET, "200", true},
    {"PRI /x HTTP/1.1\r\n" H "\r\n", "200", true},
    {"GET / HTTP/1.1\r\n\r\n", "400", false},
    {"GET / HTTP/1.1\n" H "\r\n", "400", false},
    {GET "bad\r\n\r\n", "200 400", false},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", "400",
     false},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip\r\n\r\n", "501", false},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nzz\r\n", "400", false},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 999999999999\r\n\r\n", "413", false},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\nffffffffff\r\n", "", true},
    {"GET / HTTP/3.0\r\n" H "\r\n", "505", false},
    {"\x16\x03\x01\x02\x03", "400", false},
    {"PRI * HTTP/2.0\r\n\r\nXX\r\n\r\n", "505", false},
};

static void bytes_get_their_answer(void **state)
{
    (void)state;
    fixture f;
    start(&f, NULL);
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        char text[8192], got[128];
        bool closed;
        int fd = dial(&f);
        say(fd, rows[i].bytes);
        hear(fd, text, sizeof(text), 250, &closed);
        statuses(text, got, sizeof(got));
        if (strcmp(got, rows[i].expected) != 0 || closed == rows[i].kept)
            fail_msg("row %zu: [%s]%s, expected [%s]", i, got, closed ? " closed" : " kept",
                     rows[i].expected);
        close(fd);
    }
    stop(&f);
}

static void a_byte_at_a_time_is_understood(void **state)
{
    (void)state;
    fixture f;
    start(&f, NULL);
    static const char text[] = "POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\n\r\n"
                               "3\r\nabc\r\n2;x\r\nde\r\n0\r\nT: u\r\n\r\n" GET;
    int fd = dial(&f);
    for (size_t i = 0; i + 1 < sizeof(text); i++) {
        say_bytes(fd, text + i, 1);
        usleep(300);
    }
    char answer[4096], got[64];
    bool closed;
    hear(fd, answer, sizeof(answer), 250, &closed);
    statuses(answer, got, sizeof(got));
    assert_string_equal(got, "200 200");
    assert_non_null(strstr(answer, "\r\n\r\nabcde"));
    close(fd);
    stop(&f);
}

static void body_is_echoed_whole(void **state)
{
    (void)state;
    fixture f;
    start(&f, NULL);
    enum { SIZE = 3 << 20 };
    char *body = malloc(SIZE), *answer = malloc(SIZE + 4096);
    for (int i = 0; i < SIZE; i++)
        body[i] = (char)('a' + i % 23);
    int fd = dial(&f);
    say(fd, "POST / HTTP/1.1\r\n" H "Content-Length: 3145728\r\n\r\n");
    say_bytes(fd, body, SIZE);
    bool closed;
    size_t got = hear(fd, answer, SIZE + 4096, 500, &closed);
    char *start_of_body = strstr(answer, "\r\n\r\n") + 4;
    assert_int_equal(got - (size_t)(start_of_body - answer), SIZE);
    assert_memory_equal(start_of_body, body, SIZE);
    say(fd, GET);
    hear(fd, answer, 4096, 250, &closed);
    assert_non_null(strstr(answer, "200 OK"));
    close(fd);
    free(body);
    free(answer);
    stop(&f);
}

static qn_net_limits hasty(void)
{
    qn_net_limits limits = qn_net_limits_default();
    limits.header_ms = limits.body_ms = limits.idle_ms = limits.write_ms = limits.linger_ms = 300;
    return limits;
}

static void slow_clients_are_refused(void **state)
{
    (void)state;
    static const row slow[] = {
        {"GET / HT", "408", false},
        {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhe", "408", false},
        {"", "", false},
        {GET, "200", false},
        {"PRI * HT", "", false},
        {"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "", false},
    };
    fixture f;
    qn_net_limits limits = hasty();
    start(&f, &limits);
    for (size_t i = 0; i < sizeof(slow) / sizeof(slow[0]); i++) {
        char text[4096], got[64];
        bool closed;
        int fd = dial(&f);
        say(fd, slow[i].bytes);
        hear(fd, text, sizeof(text), 1500, &closed);
        statuses(text, got, sizeof(got));
        assert_string_equal(got, slow[i].expected);
        assert_true(closed);
        close(fd);
    }
    stop(&f);
}

static void dripping_header_ends_at_its_deadline(void **state)
{
    (void)state;
    fixture f;
    qn_net_limits limits = hasty();
    start(&f, &limits);
    int fd = dial(&f);
    say(fd, "GET / HTTP/1.1\r\nX: ");
    bool closed = false;
    char text[512];
    for (int i = 0; i < 30 && !closed; i++) {
        say(fd, "y");
        hear(fd, text, sizeof(text), 50, &closed);
    }
    assert_true(closed);
    close(fd);
    stop(&f);
}

static void slow_reader_is_closed(void **state)
{
    (void)state;
    fixture f;
    qn_net_limits limits = hasty();
    limits.rate_min = 1 << 30;
    start(&f, &limits);
    int fd = dial(&f);
    say(fd, "GET /large HTTP/1.1\r\n" H "\r\n");
    sleep(1);
    char *text = malloc(16 << 20);
    bool closed;
    size_t got = hear(fd, text, 16 << 20, 1000, &closed);
    assert_true(closed);
    assert_true(got < 8 << 20);
    free(text);
    close(fd);
    stop(&f);
}

static void connections_over_the_limit_get_503(void **state)
{
    (void)state;
    fixture f;
    qn_net_limits limits = qn_net_limits_default();
    limits.connections_max = 2;
    start(&f, &limits);
    int kept[2];
    char text[1024];
    bool closed;
    for (int i = 0; i < 2; i++) {
        kept[i] = dial(&f);
        say(kept[i], GET);
        hear(kept[i], text, sizeof(text), 100, &closed);
    }
    int fd = dial(&f);
    hear(fd, text, sizeof(text), 500, &closed);
    assert_non_null(strstr(text, "503"));
    assert_true(closed);
    close(fd);
    close(kept[0]);
    close(kept[1]);
    stop(&f);
}

static void memory_over_the_limit_gets_503(void **state)
{
    (void)state;
    fixture f;
    qn_net_limits limits = qn_net_limits_default();
    limits.memory_bytes = 1000;
    start(&f, &limits);
    char *body = calloc(1, 2000), text[1024];
    bool closed;
    int fd = dial(&f);
    say(fd, "POST / HTTP/1.1\r\n" H "Content-Length: 2000\r\n\r\n");
    say_bytes(fd, body, 2000);
    hear(fd, text, sizeof(text), 500, &closed);
    assert_non_null(strstr(text, "503"));
    assert_non_null(strstr(text, "retry-after"));
    close(fd);
    fd = dial(&f);
    say(fd, "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello");
    hear(fd, text, sizeof(text), 200, &closed);
    assert_non_null(strstr(text, "200 OK"));
    close(fd);
    free(body);
    stop(&f);
}

static void drain_finishes_what_runs(void **state)
{
    (void)state;
    fixture f;
    start(&f, NULL);
    int idle = dial(&f), busy = dial(&f);
    char text[1024];
    bool closed;
    say(idle, GET);
    hear(idle, text, sizeof(text), 100, &closed);
    say(busy, "GET /later HTTP/1.1\r\n" H "\r\n");
    usleep(50 * 1000);
    qn_net_stop(f.server);
    hear(idle, text, sizeof(text), 1000, &closed);
    assert_true(closed);
    close(idle);
    hear(busy, text, sizeof(text), 1000, &closed);
    assert_non_null(strstr(text, "200 OK"));
    assert_non_null(strstr(text, "connection: close"));
    assert_non_null(strstr(text, "later"));
    close(busy);
    pthread_join(f.thread, NULL);
    qn_net_server_destroy(f.server);
}

static void disconnect_cancels(void **state)
{
    (void)state;
    fixture f;
    start(&f, NULL);
    int fd = dial(&f);
    say(fd, "GET /later HTTP/1.1\r\n" H "\r\n");
    usleep(50 * 1000);
    close(fd);
    usleep(300 * 1000);
    stop(&f);
    assert_int_equal(f.cancelled, 1);
}

static void half_closed_client_is_answered(void **state)
{
    (void)state;
    fixture f;
    start(&f, NULL);
    int fd = dial(&f);
    say(fd, "GET /later HTTP/1.1\r\n" H "\r\n" GET);
    shutdown(fd, SHUT_WR);
    char text[1024], got[64];
    bool closed;
    hear(fd, text, sizeof(text), 1000, &closed);
    statuses(text, got, sizeof(got));
    assert_string_equal(got, "200 200");
    assert_true(closed);
    close(fd);
    stop(&f);
}

static void taken_port_is_named(void **state)
{
    (void)state;
    fixture f;
    start(&f, NULL);
    qn_net_options options = {.port = qn_net_port(f.server), .limits = qn_net_limits_default()};
    qn_net_server *second = NULL;
    qn_error err = {0};
    assert_int_equal(qn_net_server_create(&options, &second, &err), QN_ERR_IO);
    char address[32];
    snprintf(address, sizeof(address), "127.0.0.1:%d", qn_net_port(f.server));
    assert_text(&err, address);
    options.host = "no.such.host.invalid";
    assert_int_equal(qn_net_server_create(&options, &second, &err), QN_ERR_ARG);
    assert_text(&err, "no.such.host.invalid");
    stop(&f);
}

/* A keep-alive request allocates nothing once the connection is warm. */
static void warm_request_allocates_nothing(void **state)
{
    (void)state;
    fixture f;
    start(&f, NULL);
    int fd = dial(&f);
    char text[1024];
    bool closed;
    static const char post[] = "POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\nhello";
    for (int i = 0; i < 3; i++) {
        say(fd, post);
        hear(fd, text, sizeof(text), 50, &closed);
    }
    int64_t before = qn_alloc_count();
    for (int i = 0; i < 5; i++) {
        say(fd, post);
        hear(fd, text, sizeof(text), 50, &closed);
    }
    assert_int_equal(qn_alloc_count(), before);
    close(fd);
    stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bytes_get_their_answer),
        cmocka_unit_test(a_byte_at_a_time_is_understood),
        cmocka_unit_test(body_is_echoed_whole),
        cmocka_unit_test(slow_clients_are_refused),
        cmocka_unit_test(dripping_header_ends_at_its_deadline),
        cmocka_unit_test(slow_reader_is_closed),
        cmocka_unit_test(connections_over_the_limit_get_503),
        cmocka_unit_test(memory_over_the_limit_gets_503),
        cmocka_unit_test(drain_finishes_what_runs),
        cmocka_unit_test(disconnect_cancels),
        cmocka_unit_test(half_closed_client_is_answered),
        cmocka_unit_test(taken_port_is_named),
        cmocka_unit_test(warm_request_allocates_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
