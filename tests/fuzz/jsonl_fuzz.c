/* JSON Lines: any bytes give a table or an error; what is read back from the table stays inside it. */
#include "format/jsonl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    const qn_str texts[] = {QN_STR("y")};
    double sum = 0;
    qn_arena arena;
    qn_csv table;
    qn_error err = {0};
    qn_csv_options options = {.texts = texts, .texts_count = 1, .columns_max = 64};
    qn_arena_init(&arena, 64 << 20);
    qn_str text = {(const char *)data, size};
    sum += qn_jsonl_is(text);
    if (qn_jsonl_read(text, &options, &arena, &table, &err) == QN_OK)
        for (int64_t c = 0; c < table.columns_count; c++)
            for (int64_t row = 0; row < table.rows; row++) {
                const qn_csv_column *column = &table.columns[c];
                sum += column->numeric ? column->numbers[row] : (double)column->texts[row].size;
                for (size_t i = 0; !column->numeric && i < column->texts[row].size; i++)
                    sum += column->texts[row].data[i];
            }
    qn_arena_deinit(&arena);
    volatile double sink = sum; /* what was read is used */
    (void)sink;
    return 0;
}
