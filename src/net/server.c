/*
 * The loop: the listening socket, the tick that every deadline hangs on, jobs from other threads, and the drain.
 *
 * One coarse timer walks all connections ten times a second instead of a timer for each: a request then arms and
 * disarms nothing. It runs only while there are connections.
 */
#include "net_priv.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/alloc.h"
#include "base/error.h"

enum { BACKLOG = 1024, ACCEPTS_PER_TURN = 64, DRAIN_TURNS = BACKLOG / ACCEPTS_PER_TURN + 1 };

qn_net_limits qn_net_limits_default(void)
{
    return (qn_net_limits){
#define X(name, value, reason) .name = (value),
        QN_NET_LIMITS(X)
#undef X
    };
}

int64_t qn_server_now_ms(const qn_net_server *server)
{
    return (int64_t)uv_now(&server->loop);
}

qn_str qn_server_date(qn_net_server *server)
{
    int64_t now_s = qn_server_now_ms(server) / 1000;
    if (now_s != server->date_s || !server->date[0]) {
        time_t wall = time(NULL);
        struct tm parts;
        gmtime_r(&wall, &parts);
        strftime(server->date, sizeof(server->date), "%a, %d %b %Y %H:%M:%S GMT", &parts);
        server->date_s = now_s;
    }
    return qn_str_from(server->date);
}

void qn_server_flush(qn_net_server *server)
{
    while (server->dirty) {
        qn_net_conn *conn = server->dirty;
        server->dirty = conn->dirty_next;
        conn->dirty_next = NULL;
        conn->dirty = false;
        qn_conn_flush(conn);
    }
}

/* ---- accepting ---- */

static void on_tick(uv_timer_t *timer);

static void tick_start(qn_net_server *server)
{
    if (!uv_is_active((uv_handle_t *)&server->tick))
        uv_timer_start(&server->tick, on_tick, QN_NET_TICK_MS, QN_NET_TICK_MS);
}

/* Best effort: the client may speak HTTP/2, but most that are refused here do not. */
static void refuse_connection(qn_net_server *server, int fd)
{
    static const char answer[] = "HTTP/1.1 503 Service Unavailable\r\nretry-after: 1\r\n"
                                 "content-length: 0\r\nconnection: close\r\n\r\n";
    server->stats.connections_refused++;
    if (send(fd, answer, sizeof(answer) - 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        errno = 0; /* nobody to tell */
    close(fd);
}

static void on_connection(uv_poll_t *handle, int status, int events);

static void listen_again(qn_net_server *server)
{
    if (!server->listening && !server->draining)
        server->listening = uv_poll_start(&server->listener, UV_READABLE, on_connection) == 0;
}

/* Takes what waits, at most a turn's worth; false = nothing waits any more. */
static bool accept_some(qn_net_server *server)
{
    for (int i = 0; i < ACCEPTS_PER_TURN; i++) {
        int fd = accept4(server->fd, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd < 0) {
            if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
                uv_poll_stop(&server->listener); /* the tick tries again; waiting would spin */
                server->listening = false;
                tick_start(server);
            }
            return false;
        }
        if (server->stats.connections_open >= server->limits.connections_max) {
            refuse_connection(server, fd);
            continue;
        }
        int on = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
        setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on));
        qn_conn_open(server, fd);
        tick_start(server);
    }
    return true;
}

static void on_connection(uv_poll_t *handle, int status, int events)
{
    (void)status;
    (void)events;
    (void)accept_some(handle->data);
}

/* ---- binding ---- */

static void describe_address(const struct sockaddr *address, socklen_t size, int port, char *dst,
                             size_t dst_size)
{
    char host[NI_MAXHOST];
    if (getnameinfo(address, size, host, sizeof(host), NULL, 0, NI_NUMERICHOST) != 0)
        host[0] = '\0';
    snprintf(dst, dst_size, address->sa_family == AF_INET6 ? "[%s]:%d" : "%s:%d", host, port);
}

static int port_of(int fd)
{
    struct sockaddr_storage address;
    socklen_t size = sizeof(address);
    char port[NI_MAXSERV];
    if (getsockname(fd, (struct sockaddr *)&address, &size) != 0 ||
        getnameinfo((struct sockaddr *)&address, size, NULL, 0, port, sizeof(port),
                    NI_NUMERICSERV) != 0)
        return 0;
    int64_t number = 0;
    return qn_str_to_i64(qn_str_from(port), &number) ? (int)number : 0;
}

static qn_status bind_to(qn_net_server *server, const struct addrinfo *info, int port,
                         qn_error *err)
{
    char where[NI_MAXHOST + 16];
    describe_address(info->ai_addr, info->ai_addrlen, port, where, sizeof(where));
    int on = 1;
    int fd = socket(info->ai_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd >= 0)
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (fd < 0 || bind(fd, info->ai_addr, info->ai_addrlen) != 0 || listen(fd, BACKLOG) != 0) {
        int os_errno = errno;
        if (fd >= 0)
            close(fd);
        qn_status status =
            qn_error_set_os(err, QN_ERR_IO, os_errno, NULL, "cannot listen on %s", where);
        if (os_errno == EADDRINUSE)
            status = qn_error_hint(err, status,
                                   "another program has that port: choose one with "
                                   "--port, or --port 0 for a free one");
        return status;
    }
    server->fd = fd;
    server->port = port_of(fd);
    return QN_OK;
}

static qn_status open_listener(qn_net_server *server, const qn_net_options *options, qn_error *err)
{
    const char *host = options->host ? options->host : "127.0.0.1";
    if (options->port < 0 || options->port > 65535)
        QN_FAIL(err, QN_ERR_ARG, "port %d is not in 0..65535", options->port);
    char port[16];
    snprintf(port, sizeof(port), "%d", options->port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC,
                             .ai_socktype = SOCK_STREAM,
                             .ai_flags = AI_PASSIVE | AI_NUMERICSERV};
    struct addrinfo *found = NULL;
    if (strcmp(host, "localhost") == 0)
        hints.ai_family = AF_INET; /* what 'localhost' means to most clients first */
    int rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0)
        QN_FAIL(err, QN_ERR_ARG, "host '%s' has no address: %s", host, gai_strerror(rc));
    qn_status status = bind_to(server, found, options->port, err);
    freeaddrinfo(found);
    return status;
}

/* ---- drain ---- */

static void finish(qn_net_server *server)
{
    if (server->finished)
        return;
    server->finished = true;
    uv_mutex_lock(&server->lock);
    server->jobs_closed = true;
    uv_mutex_unlock(&server->lock);
    uv_close((uv_handle_t *)&server->tick, NULL);
    uv_close((uv_handle_t *)&server->wake, NULL);
    uv_close((uv_handle_t *)&server->stop, NULL);
}

static void close_listener(qn_net_server *server)
{
    if (server->fd < 0)
        return;
    uv_close((uv_handle_t *)&server->listener, NULL);
    close(server->fd);
    server->fd = -1;
}

static void close_all(qn_net_server *server)
{
    while (server->conns)
        qn_conn_close(server->conns);
}

static void finish_when_empty(qn_net_server *server)
{
    if (!server->draining)
        return;
    if (qn_server_now_ms(server) >= server->drain_due_ms)
        close_all(server);
    bool late = qn_server_now_ms(server) >= server->drain_due_ms;
    if (!server->conns && (server->held_count == 0 || late))
        finish(server);
}

static void begin_drain(qn_net_server *server)
{
    if (server->draining)
        return;
    server->draining = true;
    server->drain_due_ms = qn_server_now_ms(server) + server->drain_ms;
    /* Who had connected by now is not turned away; the queue is finite, so is the number of turns. */
    for (int turn = 0; turn < DRAIN_TURNS && accept_some(server); turn++)
        continue;
    close_listener(server);
    if (server->handler.on_drain)
        server->handler.on_drain(server->handler.context);
    qn_net_conn *next;
    for (qn_net_conn *conn = server->conns; conn; conn = next) {
        next = conn->next;
        qn_conn_drain(conn);
    }
    qn_server_flush(server);
    tick_start(server);
    finish_when_empty(server);
}

static void on_tick(uv_timer_t *timer)
{
    qn_net_server *server = timer->data;
    int64_t now_ms = qn_server_now_ms(server);
    qn_net_conn *next;
    for (qn_net_conn *conn = server->conns; conn; conn = next) {
        next = conn->next;
        qn_conn_tick(conn, now_ms);
    }
    qn_server_flush(server);
    listen_again(server);
    finish_when_empty(server);
    if (!server->conns && !server->draining && server->listening)
        uv_timer_stop(&server->tick);
}

static void on_stop(uv_async_t *async)
{
    begin_drain(async->data);
}

/* ---- jobs ---- */

static void on_wake(uv_async_t *async)
{
    qn_net_server *server = async->data;
    uv_mutex_lock(&server->lock);
    qn_net_job *job = server->jobs;
    server->jobs = NULL;
    server->jobs_end = &server->jobs;
    uv_mutex_unlock(&server->lock);
    while (job) {
        qn_net_job *next = job->next; /* running a job may free it */
        job->run(job);
        job = next;
    }
    qn_server_flush(server);
}

void qn_net_post(qn_net_server *server, qn_net_job *job)
{
    uv_mutex_lock(&server->lock);
    if (!server->jobs_closed) {
        job->next = NULL;
        *server->jobs_end = job;
        server->jobs_end = &job->next;
        uv_async_send(&server->wake);
    }
    uv_mutex_unlock(&server->lock);
}

/* ---- life ---- */

static void free_server(qn_net_server *server)
{
    qn_exchange_free_all(server);
    nghttp2_session_callbacks_del(server->h2_callbacks);
    nghttp2_option_del(server->h2_options);
    uv_mutex_destroy(&server->lock);
    qn_free(server->read_buffer);
    qn_free(server);
}

static qn_status start_loop(qn_net_server *server, qn_error *err)
{
    if (uv_loop_init(&server->loop) != 0)
        QN_FAIL(err, QN_ERR_IO, "the system gives no event loop");
    server->loop.data = server;
    uv_timer_init(&server->loop, &server->tick);
    bool good = uv_poll_init(&server->loop, &server->listener, server->fd) == 0 &&
                uv_async_init(&server->loop, &server->wake, on_wake) == 0 &&
                uv_async_init(&server->loop, &server->stop, on_stop) == 0;
    server->tick.data = server->listener.data = server->wake.data = server->stop.data = server;
    QN_ASSERT(good); /* fresh handles on a fresh loop: only a broken system gets here */
    listen_again(server);
    return QN_OK;
}

qn_status qn_net_server_create(const qn_net_options *options, qn_net_server **ret, qn_error *err)
{
    qn_net_server *server = qn_alloc_zero(1, sizeof(*server));
    if (!server)
        QN_FAIL(err, QN_ERR_MEMORY, "out of memory");
    *server = (qn_net_server){.fd = -1,
                              .limits = options->limits,
                              .handler = options->handler,
                              .drain_ms = options->drain_ms};
    server->jobs_end = &server->jobs;
    uv_mutex_init(&server->lock);
    server->read_buffer = qn_alloc(QN_NET_READ_BYTES);
    qn_status status = QN_OK;
    if (!server->read_buffer || qn_h2_setup(server) != QN_OK)
        status = qn_error_set(err, QN_ERR_MEMORY, NULL, "out of memory");
    if (status == QN_OK)
        status = open_listener(server, options, err);
    if (status == QN_OK)
        status = start_loop(server, err);
    if (status != QN_OK) {
        if (server->fd >= 0)
            close(server->fd);
        free_server(server);
        return status;
    }
    *ret = server;
    return QN_OK;
}

qn_status qn_net_run(qn_net_server *server, qn_error *err)
{
    if (uv_run(&server->loop, UV_RUN_DEFAULT) != 0)
        QN_FAIL(err, QN_ERR_INTERNAL, "the event loop ended with handles open");
    return QN_OK;
}

void qn_net_server_destroy(qn_net_server *server)
{
    if (!server)
        return;
    server->draining = true;
    close_listener(server);
    close_all(server);
    finish(server);
    uv_run(&server->loop, UV_RUN_DEFAULT);
    uv_loop_close(&server->loop);
    free_server(server);
}

void qn_net_stop(qn_net_server *server)
{
    uv_async_send(&server->stop);
}

int qn_net_port(const qn_net_server *server)
{
    return server->port;
}

bool qn_net_is_draining(const qn_net_server *server)
{
    return server->draining;
}

const qn_net_stats *qn_net_stats_of(const qn_net_server *server)
{
    return &server->stats;
}
