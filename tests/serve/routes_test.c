/*
 * Walks the route table: every row, REST and gRPC, is refused to a foreign Host, and no other spelling of a path (case,
 * slashes, percent-encoding) reaches a handler.
 */
#include "testing.h"

#include "os/clock.h"

#include "grpc_client.h"
#include "serve/serve_priv.h"

/* The pattern with a model and a version that exist. */
static void fill_pattern(const char *pattern, char *dst, size_t room)
{
    size_t at = 0;
    while (*pattern && at + 16 < room) {
        if (*pattern != '{') {
            dst[at++] = *pattern++;
            continue;
        }
        const char *value = strncmp(pattern, "{model}", 7) == 0 ? "churn" : "1";
        at += (size_t)snprintf(dst + at, room - at, "%s", value);
        pattern = strchr(pattern, '}') + 1;
    }
    dst[at] = '\0';
}

static int ask_path(const fixture *f, const char *method, const char *path, const char *host)
{
    char request[1024];
    char *answer = malloc(256 << 10);
    int size =
        snprintf(request, sizeof(request),
                 "%s %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                 method, path, host);
    int status = ask_raw(f, request, (size_t)size, answer, 256 << 10);
    free(answer);
    return status;
}

static bool is_grpc(const qn_route *route)
{
    return strcmp(route->method, "GRPC") == 0;
}

static int ask_grpc(const fixture *f, const char *path, const char *host)
{
    static call one;
    one = (call){
        .path = path, .authority = host, .timeout = "300m", .body = "\0\0\0\0\0", .body_size = 5};
    call_once(f, &one);
    return one.grpc_status;
}

static void every_route_is_there(void **state)
{
    char path[256];
    for (int i = 0; i < qn_route_count(); i++) {
        const qn_route *route = qn_route_at(i);
        fill_pattern(route->pattern, path, sizeof(path));
        int status = is_grpc(route) ? ask_grpc(*state, path, NULL)
                                    : ask_path(*state, route->method, path, "localhost");
        if (is_grpc(route) ? status == 12 || status < 0
                           : status == 404 || status == 405 || status >= 500)
            fail_msg("%s: %d", path, status);
    }
}

static void every_route_refuses_a_foreign_host(void **state)
{
    char path[256];
    for (int i = 0; i < qn_route_count(); i++) {
        const qn_route *route = qn_route_at(i);
        fill_pattern(route->pattern, path, sizeof(path));
        if (is_grpc(route))
            assert_int_equal(ask_grpc(*state, path, "evil.example:80"), 7);
        else
            assert_int_equal(ask_path(*state, route->method, path, "localhost.evil.example"), 403);
    }
}

/* Spelling `k` of a path; false = there are no more. */
static bool spell(int k, const char *path, char *dst, size_t room)
{
    switch (k) {
    case 0:
        return snprintf(dst, room, "/%s", path) > 0;
    case 1:
        return snprintf(dst, room, "%s/", path) > 0;
    case 2:
        return snprintf(dst, room, "/.%s", path) > 0;
    case 3:
        return snprintf(dst, room, "/x/..%s", path) > 0;
    case 4:
        return snprintf(dst, room, "/%%2f%s", path) > 0;
    case 5:
        return snprintf(dst, room, "/%c%s", path[1] ^ 0x20, path + 2) > 0;
    case 6:
        return snprintf(dst, room, "/%%%02x%s", (unsigned)path[1], path + 2) > 0;
    default:
        return false;
    }
}

static void other_spellings_reach_nothing(void **state)
{
    char path[256], other[512];
    for (int i = 0; i < qn_route_count(); i++) {
        const qn_route *route = qn_route_at(i);
        fill_pattern(route->pattern, path, sizeof(path));
        for (int k = 0; spell(k, path, other, sizeof(other)); k++) {
            int status = is_grpc(route) ? ask_grpc(*state, other, NULL)
                                        : ask_path(*state, route->method, other, "localhost");
            if (status != (is_grpc(route) ? 12 : 404))
                fail_msg("%s: %d", other, status);
        }
    }
}

static void hosts_are_judged_by_table(void **state)
{
    (void)state;
    static const char *const loopback[] = {"localhost", "LOCALHOST:80", "127.0.0.1",  "127.1.2.3:9",
                                           "[::1]",     "[::1]:8080",   "a.localhost"};
    static const char *const others[] = {"evil.example",
                                         "localhost.evil.example",
                                         "127.0.0.1.evil.example",
                                         "127.evil.1.2",
                                         "10.0.0.1",
                                         "[::2]",
                                         "notlocalhost",
                                         "127.0.0"};
    for (size_t i = 0; i < sizeof(loopback) / sizeof(loopback[0]); i++)
        assert_true(qn_host_is_loopback(qn_str_from(loopback[i])));
    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++)
        assert_false(qn_host_is_loopback(qn_str_from(others[i])));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_route_is_there),
        cmocka_unit_test(every_route_refuses_a_foreign_host),
        cmocka_unit_test(other_spellings_reach_nothing),
        cmocka_unit_test(hosts_are_judged_by_table),
    };
    return cmocka_run_group_tests(tests, fixture_setup, fixture_teardown);
}
