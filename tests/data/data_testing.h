/*
 * Temporary folders of files, for tests that open data sets.
 */
#ifndef QN_TESTS_DATA_TESTING_H
#define QN_TESTS_DATA_TESTING_H

#include "testing.h"

#include <stdio.h>
#include <stdlib.h>

#include "data/dataset.h"
#include "os/file.h"

typedef struct {
    qn_arena arena;
    qn_error err;
    char root[64];
} fixture;

static inline int fixture_setup(void **state)
{
    fixture *f = calloc(1, sizeof *f);
    qn_arena_init(&f->arena, 0);
    snprintf(f->root, sizeof f->root, "/tmp/quern-data-XXXXXX");
    *state = f;
    return mkdtemp(f->root) ? 0 : -1;
}

static inline int fixture_teardown(void **state)
{
    fixture *f = *state;
    qn_status removed = qn_folder_remove(f->root, NULL);
    qn_arena_deinit(&f->arena);
    free(f);
    return removed == QN_OK ? 0 : -1;
}

/* Writes a file below the fixture's folder and returns its path. */
static inline const char *put_bytes(fixture *f, const char *name, const void *data, size_t size)
{
    const char *path = qn_path_join(&f->arena, f->root, name);
    FILE *file = fopen(path, "wb");
    assert_non_null(file);
    assert_int_equal(fwrite(data, 1, size, file), size);
    fclose(file);
    return path;
}

static inline const char *put_file(fixture *f, const char *name, const char *text)
{
    return put_bytes(f, name, text, strlen(text));
}

static inline qn_dataset *open_table(fixture *f, const char *path, const char *target)
{
    qn_dataset *dataset = NULL;
    qn_dataset_options options = {.paths = &path, .paths_count = 1, .target = target};
    assert_ok(qn_dataset_open(&options, &dataset, &f->err), &f->err);
    return dataset;
}

static inline qn_schema infer_schema(fixture *f, const qn_dataset *dataset)
{
    qn_schema schema;
    qn_schema_options options = {.target = dataset->target};
    assert_ok(qn_schema_infer(&dataset->frame, NULL, dataset->rows_main, &options, &f->arena,
                              &schema, &f->err),
              &f->err);
    return schema;
}

static inline bool has_finding(const qn_findings *findings, const char *code)
{
    for (int64_t i = 0; i < findings->count; i++)
        if (strcmp(findings->items[i].code, code) == 0)
            return true;
    return false;
}

#endif
