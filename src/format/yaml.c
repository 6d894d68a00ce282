/*
 * YAML and JSON to a tree of texts. libyaml does the scanning; what recipes do not need and what has made
 * other programs unsafe (anchors that expand, tags that build objects) is refused here.
 */
#include "format/yaml.h"

#include <stdio.h>
#include <string.h>
#include <yaml.h>

#include "base/buf.h"
#include "base/json.h"

enum { DEPTH_MAX = 32, NODES_MAX = 1 << 18, TEXT_MAX = 1 << 20 };

typedef struct {
    yaml_parser_t parser;
    yaml_event_t event; /* the current one; deleted when the next is taken */
    bool has_event;
    const char *file;
    qn_arena *arena;
    qn_buf stack; /* items of open lists and maps */
    int depth;
    int64_t nodes;
    qn_error *err;
} reader;

static qn_status fail_at(reader *r, int64_t line, int64_t column, const char *text)
{
    char where[160];
    snprintf(where, sizeof where, "%s:%lld:%lld", r->file, (long long)line, (long long)column);
    return qn_error_set(r->err, QN_ERR_ARG, where, "%s", text);
}

static qn_status fail_here(reader *r, const char *text)
{
    const yaml_mark_t *mark = &r->event.start_mark;
    return fail_at(r, (int64_t)mark->line + 1, (int64_t)mark->column + 1, text);
}

static qn_status fail_memory(reader *r)
{
    QN_FAIL(r->err, QN_ERR_MEMORY, "no memory to read %s", r->file);
}

static qn_status next_event(reader *r)
{
    if (r->has_event)
        yaml_event_delete(&r->event);
    r->has_event = false;
    if (yaml_parser_parse(&r->parser, &r->event)) {
        r->has_event = true;
        return QN_OK;
    }
    if (r->parser.error == YAML_MEMORY_ERROR)
        return fail_memory(r);
    char text[256];
    snprintf(text, sizeof text, "not valid YAML: %s%s%s",
             r->parser.problem ? r->parser.problem : "", r->parser.context ? ", " : "",
             r->parser.context ? r->parser.context : "");
    const yaml_mark_t *mark = &r->parser.problem_mark;
    return fail_at(r, (int64_t)mark->line + 1, (int64_t)mark->column + 1, text);
}

static qn_status start_node(reader *r, qn_yaml *ret)
{
    if (++r->nodes > NODES_MAX)
        return qn_error_set(r->err, QN_ERR_BUDGET, r->file, "more than %d values", NODES_MAX);
    ret->line = (int)r->event.start_mark.line + 1;
    ret->column = (int)r->event.start_mark.column + 1;
    return QN_OK;
}

static qn_status read_scalar(reader *r, qn_yaml *ret)
{
    if (r->event.data.scalar.anchor)
        return fail_here(r, "anchors (&name) are not used in recipes");
    if (r->event.data.scalar.tag)
        return fail_here(r, "tags (!name) are not used in recipes; types come from the key");
    const char *value = (const char *)r->event.data.scalar.value;
    size_t size = r->event.data.scalar.length;
    if (memchr(value, 0, size))
        return fail_here(r, "a text with a zero byte");
    char *text = qn_arena_strndup(r->arena, value, size);
    if (!text)
        return fail_memory(r);
    ret->kind = QN_YAML_SCALAR;
    ret->text = (qn_str){text, size};
    ret->quoted = r->event.data.scalar.style != YAML_PLAIN_SCALAR_STYLE;
    return QN_OK;
}

/* Moves `count` nodes from the top of the stack to the arena. */
static qn_status take_items(reader *r, size_t start, qn_yaml **ret)
{
    size_t bytes = r->stack.size - start;
    *ret = r->stack.failed ? NULL : qn_arena_alloc(r->arena, bytes);
    if (!*ret)
        return fail_memory(r);
    if (bytes)
        memcpy(*ret, r->stack.data + start, bytes);
    r->stack.size = start;
    return QN_OK;
}

static qn_status read_node(reader *r, qn_yaml *ret);

static qn_status read_list(reader *r, qn_yaml *ret)
{
    size_t start = r->stack.size;
    ret->kind = QN_YAML_LIST;
    QN_TRY(next_event(r));
    while (r->event.type != YAML_SEQUENCE_END_EVENT) {
        qn_yaml item = {0};
        QN_TRY(read_node(r, &item));
        qn_buf_append(&r->stack, &item, sizeof item);
        ret->count++;
        QN_TRY(next_event(r));
    }
    return take_items(r, start, &ret->items);
}

static qn_status check_duplicate(reader *r, const qn_yaml *map)
{
    for (int64_t i = 1; i < map->count; i++)
        for (int64_t j = 0; j < i; j++)
            if (qn_str_equal(map->keys[i].text, map->keys[j].text)) {
                char text[200];
                snprintf(text, sizeof text, "the key '%.80s' stands here and in line %d",
                         map->keys[i].text.data, map->keys[j].line);
                return fail_at(r, map->keys[i].line, map->keys[i].column, text);
            }
    return QN_OK;
}

/* The stack holds key, value, key, value from `start`. */
static qn_status close_map(reader *r, size_t start, qn_yaml *ret)
{
    qn_yaml *pairs;
    QN_TRY(take_items(r, start, &pairs));
    ret->keys = QN_NEW(r->arena, qn_yaml, ret->count);
    ret->items = QN_NEW(r->arena, qn_yaml, ret->count);
    if (!ret->keys || !ret->items)
        return fail_memory(r);
    for (int64_t i = 0; i < ret->count; i++) {
        ret->keys[i] = pairs[2 * i];
        ret->items[i] = pairs[2 * i + 1];
    }
    return check_duplicate(r, ret);
}

static qn_status read_map(reader *r, qn_yaml *ret)
{
    enum { KEYS_MAX = 4096 }; /* duplicates are found pair by pair */
    size_t start = r->stack.size;
    ret->kind = QN_YAML_MAP;
    QN_TRY(next_event(r));
    while (r->event.type != YAML_MAPPING_END_EVENT) {
        qn_yaml pair[2] = {{0}, {0}};
        if (r->event.type != YAML_SCALAR_EVENT)
            return fail_here(r, "expected a key");
        if (ret->count == KEYS_MAX)
            return fail_here(r, "more than 4096 keys in one map");
        QN_TRY(read_node(r, &pair[0]));
        QN_TRY(next_event(r));
        QN_TRY(read_node(r, &pair[1]));
        qn_buf_append(&r->stack, pair, sizeof pair);
        ret->count++;
        QN_TRY(next_event(r));
    }
    return close_map(r, start, ret);
}

static qn_status read_nested(reader *r, qn_yaml *ret)
{
    bool list = r->event.type == YAML_SEQUENCE_START_EVENT;
    const yaml_char_t *anchor =
        list ? r->event.data.sequence_start.anchor : r->event.data.mapping_start.anchor;
    const yaml_char_t *tag =
        list ? r->event.data.sequence_start.tag : r->event.data.mapping_start.tag;
    if (anchor)
        return fail_here(r, "anchors (&name) are not used in recipes");
    if (tag)
        return fail_here(r, "tags (!name) are not used in recipes; types come from the key");
    if (r->depth == DEPTH_MAX)
        return qn_error_set(r->err, QN_ERR_BUDGET, r->file, "nests deeper than %d", DEPTH_MAX);
    r->depth++;
    QN_TRY(list ? read_list(r, ret) : read_map(r, ret));
    r->depth--;
    return QN_OK;
}

/* The node that begins with the current event. */
static qn_status read_node(reader *r, qn_yaml *ret)
{
    QN_TRY(start_node(r, ret));
    switch (r->event.type) {
    case YAML_SCALAR_EVENT:
        return read_scalar(r, ret);
    case YAML_SEQUENCE_START_EVENT:
    case YAML_MAPPING_START_EVENT:
        return read_nested(r, ret);
    case YAML_ALIAS_EVENT:
        return fail_here(r, "aliases (*name) are not used in recipes");
    default:
        return fail_here(r, "expected a value");
    }
}

static qn_status read_document(reader *r, qn_yaml *ret)
{
    QN_TRY(next_event(r)); /* stream start */
    QN_TRY(next_event(r));
    if (r->event.type == YAML_STREAM_END_EVENT)
        return fail_at(r, 1, 1, "the text is empty");
    QN_TRY(next_event(r));
    QN_TRY(read_node(r, ret));
    QN_TRY(next_event(r)); /* document end */
    QN_TRY(next_event(r));
    if (r->event.type != YAML_STREAM_END_EVENT)
        return fail_here(r, "a second document; expected one");
    return QN_OK;
}

static qn_status read_yaml(qn_str text, const char *file, qn_arena *arena, qn_yaml *ret,
                           qn_error *err)
{
    reader r = {.file = file, .arena = arena, .err = err};
    if (!yaml_parser_initialize(&r.parser))
        return fail_memory(&r);
    qn_buf_init(&r.stack, 0);
    yaml_parser_set_input_string(&r.parser, (const unsigned char *)text.data, text.size);
    yaml_parser_set_encoding(&r.parser, YAML_UTF8_ENCODING);
    qn_yaml root = {0};
    qn_status status = read_document(&r, &root);
    if (r.has_event)
        yaml_event_delete(&r.event);
    yaml_parser_delete(&r.parser);
    qn_buf_deinit(&r.stack);
    if (status == QN_OK)
        *ret = root;
    return status;
}

/* A JSON tree as the same kind of tree. Lines and columns come from the offsets. */
typedef struct {
    qn_str text;
    qn_arena *arena;
    int64_t offset; /* of the last place asked for; places mostly come in order */
    int line;
    int64_t line_start;
} json_reader;

static void place(json_reader *r, int64_t offset, qn_yaml *ret)
{
    if (offset < r->offset) {
        r->offset = 0;
        r->line = 1;
        r->line_start = 0;
    }
    for (; r->offset < offset; r->offset++)
        if (r->text.data[r->offset] == '\n') {
            r->line++;
            r->line_start = r->offset + 1;
        }
    ret->line = r->line;
    ret->column = (int)(offset - r->line_start) + 1;
}

static bool set_text(json_reader *r, const char *text, size_t size, qn_yaml *ret)
{
    char *copy = qn_arena_strndup(r->arena, text, size);
    ret->kind = QN_YAML_SCALAR;
    ret->text = (qn_str){copy, size};
    return copy != NULL;
}

static bool convert(json_reader *r, const qn_json *json, qn_yaml *ret);

static bool convert_nested(json_reader *r, const qn_json *json, qn_yaml *ret)
{
    bool map = json->kind == QN_JSON_OBJECT;
    ret->kind = map ? QN_YAML_MAP : QN_YAML_LIST;
    ret->count = json->count;
    ret->items = QN_NEW(r->arena, qn_yaml, json->count);
    ret->keys = map ? QN_NEW(r->arena, qn_yaml, json->count) : NULL;
    if (!ret->items || (map && !ret->keys))
        return false;
    for (int64_t i = 0; i < json->count; i++) {
        qn_json item = map ? json->items[i] : qn_json_at(json, i);
        if (!convert(r, &item, &ret->items[i]))
            return false;
        if (!map)
            continue;
        if (!set_text(r, json->keys[i].data, json->keys[i].size, &ret->keys[i]))
            return false;
        ret->keys[i].quoted = true;
        ret->keys[i].line = ret->items[i].line;
        ret->keys[i].column = ret->items[i].column;
    }
    return true;
}

static bool convert(json_reader *r, const qn_json *json, qn_yaml *ret)
{
    char number[32];
    place(r, json->offset, ret);
    switch (json->kind) {
    case QN_JSON_NULL:
        return set_text(r, "null", 4, ret);
    case QN_JSON_BOOL:
        return set_text(r, json->boolean ? "true" : "false", json->boolean ? 4 : 5, ret);
    case QN_JSON_INT:
        snprintf(number, sizeof number, "%lld", (long long)json->integer);
        return set_text(r, number, strlen(number), ret);
    case QN_JSON_FLOAT:
        return set_text(r, number, (size_t)qn_f64_to_text(json->number, number), ret);
    case QN_JSON_STRING:
        ret->quoted = true;
        return set_text(r, json->string.data, json->string.size, ret);
    case QN_JSON_ARRAY:
    case QN_JSON_NUMBERS:
    case QN_JSON_OBJECT:
    default:
        return convert_nested(r, json, ret);
    }
}

static bool holds_zero_byte(const qn_yaml *node)
{
    if (node->kind == QN_YAML_SCALAR)
        return strlen(node->text.data) != node->text.size;
    for (int64_t i = 0; i < node->count; i++)
        if (holds_zero_byte(&node->items[i]) || (node->keys && holds_zero_byte(&node->keys[i])))
            return true;
    return false;
}

static qn_status read_json(qn_str text, const char *file, qn_arena *arena, qn_yaml *ret,
                           qn_error *err)
{
    const qn_json_limits limits = {.depth_max = DEPTH_MAX, .values_max = NODES_MAX};
    qn_json json;
    qn_status status = qn_json_read(text, &limits, arena, &json, err);
    if (status != QN_OK) {
        if (err && status == QN_ERR_DATA)
            err->code = status = QN_ERR_ARG;
        return qn_error_at(err, status, "%s", file);
    }
    json_reader r = {.text = text, .arena = arena, .line = 1};
    qn_yaml root = {0};
    if (!convert(&r, &json, &root))
        QN_FAIL(err, QN_ERR_MEMORY, "no memory to read %s", file);
    if (holds_zero_byte(&root))
        return qn_error_set(err, QN_ERR_ARG, file, "a text with a zero byte");
    *ret = root;
    return QN_OK;
}

qn_status qn_yaml_read(qn_str text, const char *file, qn_arena *arena, qn_yaml *ret, qn_error *err)
{
    const char *name = file ? file : "text";
    size_t bad_at = 0;
    if (text.size > TEXT_MAX)
        return qn_error_set(err, QN_ERR_BUDGET, name, "%zu bytes; the limit is %d", text.size,
                            TEXT_MAX);
    if (!qn_utf8_check(text.data, text.size, &bad_at))
        return qn_error_set(err, QN_ERR_ARG, name, "not UTF-8 at byte %zu", bad_at);
    if (qn_str_ends(qn_str_from(name), ".json"))
        return read_json(text, name, arena, ret, err);
    return read_yaml(text, name, arena, ret, err);
}

const qn_yaml *qn_yaml_find(const qn_yaml *map, const char *key)
{
    if (!map || map->kind != QN_YAML_MAP)
        return NULL;
    for (int64_t i = 0; i < map->count; i++)
        if (qn_str_is(map->keys[i].text, key))
            return &map->items[i];
    return NULL;
}

bool qn_yaml_is_null(const qn_yaml *node)
{
    if (node->kind != QN_YAML_SCALAR || node->quoted)
        return false;
    return node->text.size == 0 || qn_str_is(node->text, "null") || qn_str_is(node->text, "~");
}
