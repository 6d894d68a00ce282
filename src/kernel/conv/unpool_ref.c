/* The unpooling of bf16 in plain C: the specification. */
#include "kernel/conv/conv_table.h"

/* What passes to place 0..3 of the window. */
static uint16_t passed(const qn_pooled_row *row, int64_t i, int place)
{
    return row->dy && row->y[i] > 0 && row->choice[i] == place ? row->dy[i] : 0;
}

/* Where places 0 and 1 of number i lie in the top row (2 and 3 in the bottom row). */
static int64_t window_at(int64_t i, int place, int64_t channels)
{
    return (2 * (i / channels) + place % 2) * channels + i % channels;
}

void qn_conv_unpool_bf16_ref(uint16_t *top, uint16_t *bottom, const qn_pooled_row *row,
                             int64_t count, int64_t channels)
{
    for (int64_t i = 0; i < count * channels; i++)
        for (int place = 0; place < 4; place++)
            (place < 2 ? top : bottom)[window_at(i, place, channels)] = passed(row, i, place);
}

void qn_conv_unpool_pairs_ref(uint32_t *top, uint32_t *bottom, const qn_pooled_row rows[2],
                              int64_t count, int64_t channels)
{
    for (int64_t i = 0; i < count * channels; i++)
        for (int place = 0; place < 4; place++)
            (place < 2 ? top : bottom)[window_at(i, place, channels)] =
                (uint32_t)passed(&rows[1], i, place) << 16 | passed(&rows[0], i, place);
}
