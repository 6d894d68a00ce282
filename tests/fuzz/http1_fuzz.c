/*
 * HTTP/1.1 heads and chunked bodies. Checks besides memory safety: the result does not depend on how the
 * bytes are cut, and all views lie inside the head.
 */
#include "net/http1.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool good)
{
    if (!good)
        abort();
}

static void check_view(qn_str view, const char *head, size_t size)
{
    if (view.size && view.data[0] != '/') /* an absolute target without a path gets a static "/" */
        check(view.data >= head && view.data + view.size <= head + size);
}

static void fuzz_head(const char *text, size_t size)
{
    qn_net_limits limits = qn_net_limits_default();
    qn_http1_refusal whole, bytewise = {0};
    size_t scanned = 0, end_bytewise = 0;
    size_t end = qn_http1_find_end(text, size, &scanned, &limits, &whole);
    scanned = 0;
    for (size_t have = 1; have <= size && !end_bytewise && !bytewise.status; have++)
        end_bytewise = qn_http1_find_end(text, have, &scanned, &limits, &bytewise);
    check(!end || end == end_bytewise);
    if (!end)
        return;
    qn_arena arena;
    qn_arena_init(&arena, 1 << 20);
    char *copy = qn_arena_strndup(&arena, text, end);
    qn_http1_head head;
    qn_http1_refusal refusal;
    qn_http1_parse_head(copy, end, &limits, &arena, &head, &refusal);
    if (!refusal.status) {
        check_view(head.method, copy, end);
        check_view(head.path, copy, end);
        check_view(head.query, copy, end);
        check(!(head.chunked && head.content_length >= 0));
        check(head.headers_count <= limits.headers_max);
        for (int64_t i = 0; i < head.headers_count; i++)
            check_view(head.headers[i].name, copy, end);
    }
    qn_arena_deinit(&arena);
}

typedef struct {
    size_t body, used;
    int status;
    bool done;
} outcome;

static outcome feed(const char *text, size_t size, size_t piece)
{
    qn_net_limits limits = qn_net_limits_default();
    qn_http1_chunks chunks = {0};
    outcome ret = {0};
    while (ret.used < size && !ret.done && !ret.status) {
        size_t give = size - ret.used < piece ? size - ret.used : piece;
        qn_http1_refusal refusal;
        qn_str body;
        size_t used = qn_http1_chunks_feed(&chunks, text + ret.used, give, &limits, &body,
                                           &ret.done, &refusal);
        check(used > 0 && used <= give);
        ret.used += used;
        ret.body += body.size;
        ret.status = refusal.status;
    }
    return ret;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const char *text = (const char *)data;
    fuzz_head(text, size);
    outcome whole = feed(text, size, size ? size : 1), bytewise = feed(text, size, 1);
    check(whole.body == bytewise.body && whole.status == bytewise.status &&
          whole.done == bytewise.done);
    return 0;
}
