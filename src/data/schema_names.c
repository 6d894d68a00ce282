/*
 * The words of types and tasks, and the list of findings.
 */
#include <stdarg.h>
#include <stdio.h>

#include "data/schema.h"

enum { FINDINGS_MAX = 1000 };

static const char *const type_names[QN_TYPES] = {
    [QN_TYPE_AUTO] = "auto",     [QN_TYPE_NUMBER] = "number", [QN_TYPE_CATEGORY] = "category",
    [QN_TYPE_BINARY] = "binary", [QN_TYPE_DATE] = "date",     [QN_TYPE_IMAGE] = "image",
    [QN_TYPE_TEXT] = "text",     [QN_TYPE_TENSOR] = "tensor", [QN_TYPE_DROP] = "drop",
};
static const char *const task_names[] = {"auto", "binary", "multiclass", "regression",
                                         "transcribe"};

const char *qn_type_name(qn_column_type type)
{
    return type_names[type];
}

bool qn_type_find(qn_str name, qn_column_type *ret)
{
    for (int i = 0; i < QN_TYPES; i++)
        if (qn_str_is(name, type_names[i])) {
            *ret = (qn_column_type)i;
            return true;
        }
    return false;
}

const char *qn_task_name(qn_task task)
{
    return task_names[task];
}

bool qn_task_find(qn_str name, qn_task *ret)
{
    for (int i = 0; i <= QN_TASK_TRANSCRIBE; i++)
        if (qn_str_is(name, task_names[i])) {
            *ret = (qn_task)i;
            return true;
        }
    return false;
}

static bool grow(qn_findings *findings)
{
    int64_t capacity = findings->capacity ? findings->capacity * 2 : 16;
    qn_finding *items = QN_NEW(findings->arena, qn_finding, capacity);
    if (!items)
        return false;
    for (int64_t i = 0; i < findings->count; i++)
        items[i] = findings->items[i];
    findings->items = items;
    findings->capacity = capacity;
    return true;
}

void qn_finding_add(qn_findings *findings, qn_finding_level level, const char *code, qn_str column,
                    const char *format, ...)
{
    if (findings->count >= FINDINGS_MAX ||
        (findings->count == findings->capacity && !grow(findings)))
        return;
    char text[512];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    const char *copy = qn_arena_strndup(findings->arena, text, strlen(text));
    if (copy)
        findings->items[findings->count++] = (qn_finding){level, code, column, copy};
}
