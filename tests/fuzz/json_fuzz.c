/* Any bytes: a tree or an error; a tree written and read again is written the same. */
#include <stdint.h>
#include <stdlib.h>

#include "base/json.h"

static void write_tree(const qn_json *root, qn_buf *dst)
{
    qn_json_writer w;
    qn_json_write_init(&w, dst);
    w.nonfinite_words = true;
    qn_json_value(&w, root);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const qn_json_limits limits = {.depth_max = 40, .values_max = 100000, .allow_nonfinite = true};
    qn_arena arena;
    qn_json root;
    qn_json again;
    qn_error err = {0};
    qn_arena_init(&arena, 64 << 20);
    if (qn_json_read((qn_str){(const char *)data, size}, &limits, &arena, &root, &err) == QN_OK) {
        qn_buf first;
        qn_buf second;
        qn_buf_init(&first, 0);
        qn_buf_init(&second, 0);
        write_tree(&root, &first);
        if (qn_json_read(qn_buf_view(&first), &limits, &arena, &again, &err) != QN_OK)
            abort();
        write_tree(&again, &second);
        if (!qn_str_equal(qn_buf_view(&first), qn_buf_view(&second)))
            abort();
        qn_buf_deinit(&first);
        qn_buf_deinit(&second);
    }
    qn_arena_deinit(&arena);
    return 0;
}
