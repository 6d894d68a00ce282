/* The HTTP/1.1 parser alone: heads and chunked bodies, good and bad, in one piece and byte by byte. */
#include "testing.h"

#include <stdio.h>
#include <stdlib.h>

#include "net/http1.h"

typedef struct {
    const char *text;
    int status; /* 0 = accepted */
} head_row;

#define H "Host: a\r\n"

static const head_row heads[] = {
    {"GET / HTTP/1.1\r\n" H "\r\n", 0},
    {"\r\nGET / HTTP/1.1\r\n" H "\r\n", 0},
    {"GET / HTTP/1.0\r\n\r\n", 0},
    {"GET http://a/b HTTP/1.1\r\n" H "\r\n", 0},
    {"OPTIONS * HTTP/1.1\r\n" H "\r\n", 0},
    {"GET /?q=1&r=%20 HTTP/1.1\r\n" H "\r\n", 0},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\n\r\n", 0},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: Chunked\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\n" H "X-Tab:\t a \t\r\n\r\n", 0},
    {"GET / HTTP/1.1\r\nHost:\r\n\r\n", 0},
    {"\r\n\r\nGET / HTTP/1.1\r\n" H "\r\n", 400},
    {"GET / HTTP/1.1\n" H "\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "\n", 400},
    {"GET  / HTTP/1.1\r\n" H "\r\n", 400},
    {" GET / HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /\r\n" H "\r\n", 400},
    {"GET / HTTP/1.1 \r\n" H "\r\n", 400},
    {"GET /\tb HTTP/1.1\r\n" H "\r\n", 400},
    {"GET /#f HTTP/1.1\r\n" H "\r\n", 400},
    {"GET a HTTP/1.1\r\n" H "\r\n", 400},
    {"GET * HTTP/1.1\r\n" H "\r\n", 400},
    {"G(T / HTTP/1.1\r\n" H "\r\n", 400},
    {"GET / HTTP/1.1\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H H "\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", 400},
    {"GET http://b/ HTTP/1.1\r\n" H "\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "A : b\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H " folded\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "\tfolded\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "no colon\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H ": empty\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "A: b\rc\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "A: b\r\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "A: \x01\r\n\r\n", 400},
    {"GET / HTTP/1.1\r\n" H "A\x80: b\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5, 5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: +5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: -5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 0x5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length:\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 99999999999999999999\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nContent-Length: 5\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
     400},
    {"POST / HTTP/1.0\r\n" H "Transfer-Encoding: chunked\r\n\r\n", 400},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: xchunked\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: gzip, chunked\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: identity\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding:\r\n\r\n", 501},
    {"POST / HTTP/1.1\r\n" H "Transfer-Encoding: \x0b"
     "chunked\r\n\r\n",
     400},
    {"POST / HTTP/1.1\r\n" H "Expect: 200-maybe\r\n\r\n", 417},
    {"GET / HTTP/2.0\r\n" H "\r\n", 505},
    {"GET / HTTP/1.2\r\n" H "\r\n", 505},
    {"GET / http/1.1\r\n" H "\r\n", 400},
    {"\x16\x03\x01\x02", 400},
};

/* Feeds `piece` bytes at a time; the status of the refusal, 0 = accepted, -1 = waits for more. */
static int parse(const char *text, size_t size, size_t piece, qn_http1_head *head, qn_arena *arena)
{
    qn_net_limits limits = qn_net_limits_default();
    qn_http1_refusal refusal = {0};
    size_t scanned = 0;
    for (size_t have = piece < size ? piece : size;;
         have = have + piece < size ? have + piece : size) {
        size_t end = qn_http1_find_end(text, have, &scanned, &limits, &refusal);
        if (refusal.status)
            return refusal.status;
        if (end) {
            char *copy = qn_arena_strndup(arena, text, end);
            qn_http1_parse_head(copy, end, &limits, arena, head, &refusal);
            return refusal.status;
        }
        if (have == size)
            return -1;
    }
}

static void heads_are_judged_by_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(heads) / sizeof(heads[0]); i++) {
        for (size_t piece = 1; piece <= 4096; piece = piece * 7) {
            qn_arena arena;
            qn_arena_init(&arena, 0);
            qn_http1_head head;
            int status = parse(heads[i].text, strlen(heads[i].text), piece, &head, &arena);
            if (status != heads[i].status)
                fail_msg("row %zu in pieces of %zu: %d, expected %d: %s", i, piece, status,
                         heads[i].status, heads[i].text);
            qn_arena_deinit(&arena);
        }
    }
}

static void head_has_its_parts(void **state)
{
    (void)state;
    static const char text[] =
        "POST /v2/x?y=1 HTTP/1.1\r\nHOST: me:80\r\nContent-Length: 12\r\n"
        "Connection: foo, Close\r\nX-Odd:  a b \r\nExpect: 100-Continue\r\n\r\n";
    qn_arena arena;
    qn_arena_init(&arena, 0);
    qn_http1_head head;
    assert_int_equal(parse(text, strlen(text), 4096, &head, &arena), 0);
    assert_true(qn_str_is(head.method, "POST"));
    assert_true(qn_str_is(head.path, "/v2/x"));
    assert_true(qn_str_is(head.query, "y=1"));
    assert_true(qn_str_is(head.host, "me:80"));
    assert_int_equal(head.content_length, 12);
    assert_false(head.keep_alive);
    assert_true(head.expect_continue);
    assert_int_equal(head.headers_count, 5);
    assert_true(qn_str_is(head.headers[0].name, "host"));
    assert_true(qn_str_is(head.headers[3].value, "a b"));
    qn_arena_deinit(&arena);
}

/* `before`, `count` times `letter`, `after`; returns the end. */
static char *add_long(char *at, const char *before, char letter, size_t count, const char *after)
{
    memcpy(at, before, strlen(before));
    at += strlen(before);
    memset(at, letter, count);
    memcpy(at + count, after, strlen(after));
    return at + count + strlen(after);
}

/* A target and header lines just within both limits, then one byte more, in one piece and byte by byte. */
static void limits_do_not_depend_on_the_cut(void **state)
{
    (void)state;
    qn_net_limits limits = qn_net_limits_default();
    for (int over = 0; over < 2; over++) {
        qn_arena arena;
        qn_arena_init(&arena, 0);
        qn_http1_head head;
        size_t target = (size_t)limits.url_bytes,
               header = (size_t)limits.header_bytes + (size_t)over;
        char *text = malloc(target + header + 64), *at = text;
        at = add_long(at, "GET /", 'a', target - 1, " HTTP/1.1\r\n");
        at = add_long(at, "Host: a\r\nX: ", 'b', header - 14, "\r\n\r\n");
        size_t size = (size_t)(at - text);
        assert_int_equal(parse(text, size, size, &head, &arena), over ? 431 : 0);
        assert_int_equal(parse(text, size, 1, &head, &arena), over ? 431 : 0);
        qn_arena_deinit(&arena);
        free(text);
    }
}

static void head_over_limits_is_refused(void **state)
{
    (void)state;
    enum { SIZE = 64 << 10 };
    char *text = malloc(SIZE + 1);
    qn_arena arena;
    qn_arena_init(&arena, 0);
    qn_http1_head head;
    memset(text, 'a', SIZE);
    memcpy(text, "GET /", 5);
    assert_int_equal(parse(text, SIZE, 4096, &head, &arena), 414);
    memset(text, 'a', SIZE);
    memcpy(text, "GET / HTTP/1.1\r\nHost: a\r\nX: ", 28);
    assert_int_equal(parse(text, SIZE, 4096, &head, &arena), 431);
    size_t at = 0;
    at += (size_t)snprintf(text, SIZE, "GET / HTTP/1.1\r\nHost: a\r\n");
    for (int i = 0; i < 100; i++)
        at += (size_t)snprintf(text + at, SIZE - at, "x: y\r\n");
    at += (size_t)snprintf(text + at, SIZE - at, "\r\n");
    assert_int_equal(parse(text, at, 4096, &head, &arena), 431);
    qn_arena_deinit(&arena);
    free(text);
}

typedef struct {
    const char *text;
    const char *body; /* NULL = refused with `status` */
    int status;
    size_t left; /* bytes after the end of the body */
} chunk_row;

static const chunk_row chunk_rows[] = {
    {"0\r\n\r\n", "", 0, 0},
    {"3\r\nabc\r\n0\r\n\r\nGET", "abc", 0, 3},
    {"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n", "abcde", 0, 0},
    {"0003;x=y\r\nabc\r\n0\r\nA: b\r\nC: d\r\n\r\n", "abc", 0, 0},
    {"A\r\n0123456789\r\n0\r\n\r\n", "0123456789", 0, 0},
    {"3\nabc\r\n0\r\n\r\n", NULL, 400, 0},
    {"3\r\nabc\n0\r\n\r\n", NULL, 400, 0},
    {"3\r\nabcd\r\n0\r\n\r\n", NULL, 400, 0},
    {"\r\nabc", NULL, 400, 0},
    {"g\r\n", NULL, 400, 0},
    {"-1\r\n", NULL, 400, 0},
    {"3 \r\nabc", NULL, 400, 0},
    {"0x3\r\nabc", NULL, 400, 0},
    {"3;\n\r\nabc", NULL, 400, 0},
    {"fffffffffffffffff\r\n", NULL, 413, 0},
    {"0\r\n\n", NULL, 400, 0},
    {"0\r\nA: b\n\r\n", NULL, 400, 0},
    {";\r\n", NULL, 400, 0},
};

static int feed_all(const char *text, size_t size, size_t piece, char *body, size_t *left)
{
    qn_net_limits limits = qn_net_limits_default();
    qn_http1_chunks chunks = {0};
    size_t at = 0, out = 0;
    bool done = false;
    while (at < size && !done) {
        size_t give = size - at < piece ? size - at : piece;
        qn_http1_refusal refusal;
        qn_str data;
        size_t used =
            qn_http1_chunks_feed(&chunks, text + at, give, &limits, &data, &done, &refusal);
        if (refusal.status)
            return refusal.status;
        assert_true(used > 0 && used <= give);
        memcpy(body + out, data.data ? data.data : "", data.size);
        out += data.size;
        at += used;
    }
    body[out] = '\0';
    *left = size - at;
    return done ? 0 : -1;
}

static void chunks_are_judged_by_table(void **state)
{
    (void)state;
    for (size_t i = 0; i < sizeof(chunk_rows) / sizeof(chunk_rows[0]); i++) {
        const chunk_row *row = &chunk_rows[i];
        for (size_t piece = 1; piece < 64; piece++) {
            char body[128];
            size_t left = 0;
            int status = feed_all(row->text, strlen(row->text), piece, body, &left);
            if (status != row->status)
                fail_msg("row %zu in pieces of %zu: %d", i, piece, status);
            if (row->body) {
                assert_string_equal(body, row->body);
                assert_int_equal(left, row->left);
            }
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_are_judged_by_table),
        cmocka_unit_test(head_has_its_parts),
        cmocka_unit_test(limits_do_not_depend_on_the_cut),
        cmocka_unit_test(head_over_limits_is_refused),
        cmocka_unit_test(chunks_are_judged_by_table),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
