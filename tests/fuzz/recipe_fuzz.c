/* Any bytes as a recipe: an error, or a recipe that writes itself in a form that reads back. */
#include <stdint.h>
#include <stdlib.h>

#include "model/recipe.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qn_arena arena;
    qn_recipe recipe;
    qn_error err = {0};
    bool json = size > 0 && data[0] == '{';
    qn_arena_init(&arena, 64 << 20);
    if (qn_recipe_parse((qn_str){(const char *)data, size}, json ? "r.json" : "r.yaml", NULL, 0,
                        &arena, &recipe, &err) == QN_OK) {
        qn_buf text;
        qn_buf_init(&text, 0);
        qn_recipe_write(&recipe, size & 1, &text);
        if (qn_recipe_parse(qn_buf_view(&text), "w.yaml", NULL, 0, &arena, &recipe, &err) != QN_OK)
            abort();
        qn_buf_deinit(&text);
    }
    qn_arena_deinit(&arena);
    return 0;
}
