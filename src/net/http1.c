/*
 * The HTTP/1.1 parser: request line, header lines, body framing. The head is found first (one pass over line ends),
 * then parsed in one go, so there is no state machine over single characters and no half-read head to keep.
 */
#include "net/http1.h"

#include <string.h>

enum {
    METHOD_BYTES_MAX = 32,  /* the longest registered method has 17 */
    CHUNK_LINE_BYTES = 256, /* size and extensions of a chunk; nobody sends extensions */
    HEADERS_CAPACITY = 16   /* of the first table; a usual request has 3 to 12 lines */
};

/* Classes of bytes: T = token (RFC 9110 5.6.2), V = allowed in a value or target. Values may also hold space, tab and
 * bytes from 0x80 on; targets may not. */
static bool is_token(unsigned char c)
{
    static const uint64_t allowed[4] = {
        UINT64_C(0x03ff6cfa00000000), /* ! # $ % & ' * + - . 0-9 */
        UINT64_C(0x57ffffffc7fffffe), /* A-Z ^ _ ` a-z | ~ */
    };
    return allowed[c >> 6] >> (c & 63) & 1;
}

static bool is_target(unsigned char c)
{
    return c > 0x20 && c < 0x7f && c != '#' && c != '"' && c != '<' && c != '>' && c != '\\';
}

static bool is_value(unsigned char c)
{
    return c == '\t' || (c >= 0x20 && c != 0x7f);
}

static void refuse(qn_http1_refusal *ret, int status, const char *why)
{
    *ret = (qn_http1_refusal){status, why};
}

/* One step over a line end at `lf`. true = the head ends here. */
static bool line_ends_head(const char *data, size_t lf, size_t line_at, qn_http1_refusal *ret)
{
    if (lf == line_at || data[lf - 1] != '\r') {
        refuse(ret, 400, "a line ends with LF alone, expected CR LF");
        return false;
    }
    return lf - line_at == 1;
}

/* The limits hold for `size` bytes of a head whether or not its end is among them, so that an answer does not
 * depend on how the bytes were cut. */
static void check_size(const char *data, size_t size, const qn_net_limits *limits,
                       qn_http1_refusal *ret)
{
    size_t line = (size_t)limits->url_bytes + METHOD_BYTES_MAX + 16;
    if (size > line && !memchr(data, '\n', line))
        refuse(ret, 414, "the request target is longer than the limit");
    else if (size > line + (size_t)limits->header_bytes)
        refuse(ret, 431, "the header is larger than the limit");
}

size_t qn_http1_find_end(const char *data, size_t size, size_t *scanned,
                         const qn_net_limits *limits, qn_http1_refusal *ret)
{
    *ret = (qn_http1_refusal){0};
    if (size && !is_token((unsigned char)data[0]) && data[0] != '\r') {
        refuse(ret, 400, "the first byte cannot start an HTTP request");
        return 0;
    }
    while (*scanned < size) {
        size_t line_at = *scanned;
        const char *found = memchr(data + line_at, '\n', size - line_at);
        if (!found)
            break;
        size_t lf = (size_t)(found - data);
        bool ends = line_ends_head(data, lf, line_at, ret);
        if (ret->status)
            return 0;
        *scanned = lf + 1;
        /* One empty line before the request line is skipped (RFC 9112 2.2). */
        if (ends && line_at > 0) {
            check_size(data, lf + 1, limits, ret);
            return ret->status ? 0 : lf + 1;
        }
    }
    check_size(data, size, limits, ret);
    return 0;
}

/* ---- request line ---- */

/* A view of `line` up to the first space; *line moves behind it. */
static qn_str take_word(qn_str *line)
{
    const char *space = memchr(line->data, ' ', line->size);
    size_t size = space ? (size_t)(space - line->data) : line->size;
    qn_str word = {line->data, size};
    size_t skip = space ? size + 1 : size;
    *line = (qn_str){line->data + skip, line->size - skip};
    return word;
}

static bool check_all(qn_str text, bool (*allowed)(unsigned char))
{
    for (size_t i = 0; i < text.size; i++)
        if (!allowed((unsigned char)text.data[i]))
            return false;
    return true;
}

bool qn_http1_target_ok(qn_str target)
{
    return target.size > 0 && check_all(target, is_target);
}

void qn_http1_split_target(qn_str target, qn_str *ret_path, qn_str *ret_query)
{
    const char *mark = memchr(target.data, '?', target.size);
    size_t size = mark ? (size_t)(mark - target.data) : target.size;
    *ret_path = (qn_str){target.data, size};
    *ret_query = mark ? (qn_str){mark + 1, target.size - size - 1} : (qn_str){NULL, 0};
}

static void parse_version(qn_str version, qn_http1_head *head, qn_http1_refusal *ret)
{
    if (version.size != 8 || memcmp(version.data, "HTTP/", 5) != 0 || version.data[6] != '.')
        refuse(ret, 400, "the request line has no HTTP version");
    else if (version.data[5] != '1' || (version.data[7] != '1' && version.data[7] != '0'))
        refuse(ret, 505, "this server speaks HTTP/1.1, HTTP/1.0 and HTTP/2");
    else
        head->minor = version.data[7] - '0';
}

/* Splits "http://host/path" (which RFC 9112 3.2.2 wants accepted) into authority and path. */
static bool split_absolute(qn_str target, qn_str *authority, qn_str *rest)
{
    size_t scheme = qn_str_starts(target, "http://")    ? 7
                    : qn_str_starts(target, "https://") ? 8
                                                        : 0;
    if (!scheme)
        return false;
    qn_str after = {target.data + scheme, target.size - scheme};
    const char *slash = memchr(after.data, '/', after.size);
    size_t size = slash ? (size_t)(slash - after.data) : after.size;
    *authority = (qn_str){after.data, size};
    *rest = slash ? (qn_str){slash, after.size - size} : QN_STR("/");
    return size > 0;
}

static void parse_target(qn_str target, qn_http1_head *head, qn_http1_refusal *ret)
{
    qn_str path = target;
    bool asterisk = qn_str_is(target, "*") && qn_str_is(head->method, "OPTIONS");
    if (!asterisk && (target.size == 0 || target.data[0] != '/') &&
        !split_absolute(target, &head->host, &path)) {
        refuse(ret, 400, "the request target does not start with '/'");
        return;
    }
    qn_http1_split_target(path, &head->path, &head->query);
}

static void parse_request_line(qn_str line, const qn_net_limits *limits, qn_http1_head *head,
                               qn_http1_refusal *ret)
{
    head->method = take_word(&line);
    qn_str target = take_word(&line);
    if (head->method.size == 0 || head->method.size > METHOD_BYTES_MAX ||
        !check_all(head->method, is_token))
        refuse(ret, 400, "the method is not a token of at most 32 characters");
    else if (target.size > (size_t)limits->url_bytes)
        refuse(ret, 414, "the request target is longer than the limit");
    else if (!qn_http1_target_ok(target))
        refuse(ret, 400, "the request target has a byte that is not allowed there");
    else
        parse_version(line, head, ret);
    if (!ret->status)
        parse_target(target, head, ret);
}

/* ---- header lines ---- */

static void lower(char *text, size_t size)
{
    for (size_t i = 0; i < size; i++)
        if (text[i] >= 'A' && text[i] <= 'Z')
            text[i] = (char)(text[i] | 0x20);
}

/* Without the optional white space of RFC 9110 5.6.3: spaces and tabs, nothing else. */
static qn_str trim(qn_str text)
{
    while (text.size && (text.data[0] == ' ' || text.data[0] == '\t'))
        text = (qn_str){text.data + 1, text.size - 1};
    while (text.size && (text.data[text.size - 1] == ' ' || text.data[text.size - 1] == '\t'))
        text.size--;
    return text;
}

static void parse_line(char *line, size_t size, qn_header *header, qn_http1_refusal *ret)
{
    if (size && (line[0] == ' ' || line[0] == '\t')) {
        refuse(ret, 400, "a header line is folded");
        return;
    }
    const char *colon = memchr(line, ':', size);
    if (!colon) {
        refuse(ret, 400, "a header line has no colon");
        return;
    }
    size_t name_size = (size_t)(colon - line);
    qn_str name = {line, name_size};
    qn_str value = trim((qn_str){colon + 1, size - name_size - 1});
    if (name.size == 0 || !check_all(name, is_token))
        refuse(ret, 400, "a header name is empty or has a byte that is not allowed there");
    else if (!check_all(value, is_value))
        refuse(ret, 400, "a header value has a control character");
    lower(line, name_size);
    *header = (qn_header){name, value};
}

static bool add_header(qn_http1_head *head, qn_header header, qn_arena *arena)
{
    int64_t count = head->headers_count;
    if (count % HEADERS_CAPACITY == 0 && (count & (count - 1)) == 0) {
        int64_t capacity = count ? count * 2 : HEADERS_CAPACITY;
        qn_header *table = qn_arena_alloc(arena, (size_t)capacity * sizeof(*table));
        if (!table)
            return false;
        if (count)
            memcpy(table, head->headers, (size_t)count * sizeof(*table));
        head->headers = table;
    }
    head->headers[head->headers_count++] = header;
    return true;
}

/* ---- lines that mean something for the framing ---- */

typedef struct {
    int hosts, lengths, codings;
} seen_lines;

static void read_length(qn_str value, qn_http1_head *head, qn_http1_refusal *ret)
{
    int64_t length = 0;
    bool good = value.size > 0 && value.size <= 18; /* 18 digits fit int64 */
    for (size_t i = 0; good && i < value.size; i++) {
        good = value.data[i] >= '0' && value.data[i] <= '9';
        length = length * 10 + (value.data[i] - '0');
    }
    if (!good)
        refuse(ret, 400, "content-length is not a whole number of at most 18 digits");
    else
        head->content_length = length;
}

static bool is_host(unsigned char c)
{
    return is_target(c) && c != '/' && c != '?' && c != '@';
}

static void read_host(qn_str value, qn_http1_head *head, qn_http1_refusal *ret)
{
    if (!check_all(value, is_host))
        refuse(ret, 400, "the Host line has a byte that is not allowed there");
    else if (head->host.size == 0)
        head->host = value;
    else if (!qn_str_equal_nocase(head->host, value))
        refuse(ret, 400, "the Host line and the request target name different hosts");
}

static void read_connection(qn_str value, qn_http1_head *head)
{
    while (value.size) {
        const char *comma = memchr(value.data, ',', value.size);
        size_t size = comma ? (size_t)(comma - value.data) : value.size;
        qn_str token = trim((qn_str){value.data, size});
        if (qn_str_equal_nocase(token, QN_STR("close")))
            head->keep_alive = false;
        else if (head->minor == 0 && qn_str_equal_nocase(token, QN_STR("keep-alive")))
            head->keep_alive = true;
        size_t skip = comma ? size + 1 : size;
        value = (qn_str){value.data + skip, value.size - skip};
    }
}

static void read_coding(qn_str value, qn_http1_head *head, qn_http1_refusal *ret)
{
    if (head->minor == 0)
        refuse(ret, 400, "HTTP/1.0 has no transfer-encoding");
    else if (!qn_str_equal_nocase(value, QN_STR("chunked")))
        refuse(ret, 501, "the only transfer-encoding known here is chunked");
    else
        head->chunked = true;
}

static void read_expect(qn_str value, qn_http1_head *head, qn_http1_refusal *ret)
{
    if (qn_str_equal_nocase(value, QN_STR("100-continue")))
        head->expect_continue = head->minor > 0;
    else
        refuse(ret, 417, "the only expectation known here is 100-continue");
}

static void read_framing(const qn_header *header, qn_http1_head *head, seen_lines *seen,
                         qn_http1_refusal *ret)
{
    switch (header->name.size) {
    case 4:
        if (qn_str_is(header->name, "host") && seen->hosts++ == 0)
            read_host(header->value, head, ret);
        break;
    case 6:
        if (qn_str_is(header->name, "expect"))
            read_expect(header->value, head, ret);
        break;
    case 10:
        if (qn_str_is(header->name, "connection"))
            read_connection(header->value, head);
        break;
    case 14:
        if (qn_str_is(header->name, "content-length") && seen->lengths++ == 0)
            read_length(header->value, head, ret);
        break;
    case 17:
        if (qn_str_is(header->name, "transfer-encoding") && seen->codings++ == 0)
            read_coding(header->value, head, ret);
        break;
    default:
        break;
    }
}

static void check_framing(const qn_http1_head *head, const seen_lines *seen, qn_http1_refusal *ret)
{
    if (seen->hosts > 1)
        refuse(ret, 400, "more than one Host line");
    else if (seen->hosts == 0 && head->minor == 1)
        refuse(ret, 400, "no Host line");
    else if (seen->lengths > 1)
        refuse(ret, 400, "more than one content-length");
    else if (seen->codings > 1)
        refuse(ret, 400, "more than one transfer-encoding");
    else if (seen->lengths && seen->codings)
        refuse(ret, 400, "both content-length and transfer-encoding");
}

/* Length of the line at `text` without its CR LF. Line ends were checked by qn_http1_find_end. */
static size_t line_size(const char *text, size_t size)
{
    const char *lf = memchr(text, '\n', size);
    return lf ? (size_t)(lf - text) - 1 : size;
}

static void parse_lines(char *text, size_t size, const qn_net_limits *limits, qn_arena *arena,
                        qn_http1_head *head, qn_http1_refusal *ret)
{
    seen_lines seen = {0};
    size_t at = 0;
    for (;;) {
        size_t length = line_size(text + at, size - at);
        if (length == 0)
            break;
        if (head->headers_count >= limits->headers_max) {
            refuse(ret, 431, "more header lines than the limit");
            return;
        }
        qn_header header = {0};
        parse_line(text + at, length, &header, ret);
        if (!ret->status)
            read_framing(&header, head, &seen, ret);
        if (ret->status)
            return;
        if (!add_header(head, header, arena)) {
            refuse(ret, 503, "out of memory");
            return;
        }
        at += length + 2;
    }
    check_framing(head, &seen, ret);
}

void qn_http1_parse_head(char *text, size_t size, const qn_net_limits *limits,
                         qn_arena *request_arena, qn_http1_head *ret_head, qn_http1_refusal *ret)
{
    *ret = (qn_http1_refusal){0};
    *ret_head = (qn_http1_head){.content_length = -1};
    if (size >= 2 && text[0] == '\r' && text[1] == '\n') {
        text += 2;
        size -= 2;
    }
    size_t length = line_size(text, size);
    parse_request_line((qn_str){text, length}, limits, ret_head, ret);
    if (ret->status)
        return;
    ret_head->keep_alive = ret_head->minor == 1;
    if (size - length > (size_t)limits->header_bytes + 4)
        refuse(ret, 431, "the header is larger than the limit");
    else
        parse_lines(text + length + 2, size - length - 2, limits, request_arena, ret_head, ret);
}

/* ---- chunked bodies ---- */

enum {
    CHUNK_SIZE_FIRST, /* a digit must come */
    CHUNK_SIZE,       /* more digits, ';' or CR */
    CHUNK_EXTENSION,
    CHUNK_SIZE_LF,
    CHUNK_DATA,
    CHUNK_DATA_CR,
    CHUNK_DATA_LF,
    TRAILER_START, /* at the start of a trailer line */
    TRAILER,
    TRAILER_LF,
    LAST_LF,
    CHUNKS_DONE
};

static int hex_value(char c)
{
    if (c >= '0' && c <= '9')
        return c - '0';
    char folded = (char)(c | 0x20);
    return folded >= 'a' && folded <= 'f' ? folded - 'a' + 10 : -1;
}

static void size_byte(qn_http1_chunks *chunks, char c, qn_http1_refusal *ret)
{
    int digit = hex_value(c);
    if (digit >= 0) {
        if (chunks->left >> 55) {
            refuse(ret, 413, "a chunk is larger than the limit");
            return;
        }
        chunks->left = chunks->left * 16 + digit;
        chunks->state = CHUNK_SIZE;
    } else if (chunks->state == CHUNK_SIZE && c == '\r') {
        chunks->state = CHUNK_SIZE_LF;
    } else if (chunks->state == CHUNK_SIZE && c == ';') {
        chunks->state = CHUNK_EXTENSION;
    } else {
        refuse(ret, 400, "a chunk size is not a hexadecimal number");
    }
}

static void text_byte(qn_http1_chunks *chunks, char c, int state_cr, qn_http1_refusal *ret)
{
    if (c == '\r')
        chunks->state = state_cr;
    else if (!is_value((unsigned char)c))
        refuse(ret, 400, "a chunk extension or trailer has a control character");
}

static void expect_byte(qn_http1_chunks *chunks, char c, char expected, int next,
                        qn_http1_refusal *ret)
{
    if (c != expected)
        refuse(ret, 400, "a chunk does not end with CR LF");
    chunks->state = next;
}

static void framing_byte(qn_http1_chunks *chunks, char c, const qn_net_limits *limits,
                         qn_http1_refusal *ret)
{
    bool in_trailer = chunks->state >= TRAILER_START;
    if (++chunks->line_bytes > (in_trailer ? limits->header_bytes : CHUNK_LINE_BYTES)) {
        refuse(ret, in_trailer ? 431 : 400, "a chunk line or the trailers are too long");
        return;
    }
    switch (chunks->state) {
    case CHUNK_SIZE_FIRST:
    case CHUNK_SIZE:
        size_byte(chunks, c, ret);
        break;
    case CHUNK_EXTENSION:
        text_byte(chunks, c, CHUNK_SIZE_LF, ret);
        break;
    case CHUNK_SIZE_LF:
        expect_byte(chunks, c, '\n', chunks->left ? CHUNK_DATA : TRAILER_START, ret);
        chunks->line_bytes = 0;
        break;
    case CHUNK_DATA_CR:
        expect_byte(chunks, c, '\r', CHUNK_DATA_LF, ret);
        break;
    case CHUNK_DATA_LF:
        expect_byte(chunks, c, '\n', CHUNK_SIZE_FIRST, ret);
        chunks->line_bytes = 0;
        break;
    case TRAILER_START:
        chunks->state = TRAILER;
        text_byte(chunks, c, LAST_LF, ret);
        break;
    case TRAILER:
        text_byte(chunks, c, TRAILER_LF, ret);
        break;
    case TRAILER_LF:
        expect_byte(chunks, c, '\n', TRAILER_START, ret);
        break;
    default: /* LAST_LF */
        expect_byte(chunks, c, '\n', CHUNKS_DONE, ret);
        break;
    }
}

size_t qn_http1_chunks_feed(qn_http1_chunks *chunks, const char *data, size_t size,
                            const qn_net_limits *limits, qn_str *ret_data, bool *ret_done,
                            qn_http1_refusal *ret)
{
    *ret = (qn_http1_refusal){0};
    *ret_data = (qn_str){0};
    size_t at = 0;
    while (at < size && chunks->state != CHUNK_DATA && chunks->state != CHUNKS_DONE) {
        framing_byte(chunks, data[at++], limits, ret);
        if (ret->status)
            return at;
    }
    if (chunks->state == CHUNK_DATA && at < size) {
        size_t take = size - at;
        if ((int64_t)take > chunks->left)
            take = (size_t)chunks->left;
        *ret_data = (qn_str){data + at, take};
        chunks->left -= (int64_t)take;
        at += take;
        if (chunks->left == 0)
            chunks->state = CHUNK_DATA_CR;
    }
    *ret_done = chunks->state == CHUNKS_DONE;
    return at;
}
