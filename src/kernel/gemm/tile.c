/*
 * The choice of the micro-kernel, and how columns are cut into its panels.
 */
#include "kernel/gemm/tile.h"

#include <stddef.h>

#include "kernel/isa.h"

const qn_tile_kernels *qn_tile_f32(void)
{
    static const qn_tile_kernels *const rows[QN_CPU_LEVELS] = QN_ISA_ROWS(qn_tile_f32);
    return rows[qn_cpu_level()];
}

int64_t qn_tile_panels(const qn_tile_kernels *kernels, int64_t total)
{
    int64_t vecs = (total + kernels->lanes - 1) / kernels->lanes;
    return (vecs + kernels->vecs_max - 1) / kernels->vecs_max;
}

int64_t qn_tile_panel_start(const qn_tile_kernels *kernels, int64_t total, int64_t panel)
{
    int64_t vecs = (total + kernels->lanes - 1) / kernels->lanes;
    int64_t panels = (vecs + kernels->vecs_max - 1) / kernels->vecs_max;
    int64_t start =
        (vecs / panels * panel + (panel < vecs % panels ? panel : vecs % panels)) * kernels->lanes;
    return start < total ? start : total;
}

void qn_tile_multiply(const qn_tile_kernels *kernels, const qn_tile_product *product)
{
    static const int64_t origin[1] = {0};
    int64_t row[QN_TILE_ROWS_MAX], panels = qn_tile_panels(kernels, product->cols);
    for (int64_t i = 0; i < product->rows; i++)
        row[i] = i * product->a_row;
    for (int64_t panel = 0; panel < panels; panel++) {
        int64_t col = qn_tile_panel_start(kernels, product->cols, panel);
        qn_strip s = {.rows = product->rows,
                      .cols = (int)(qn_tile_panel_start(kernels, product->cols, panel + 1) - col),
                      .a = product->a,
                      .row = row,
                      .seg = origin,
                      .segs = 1,
                      .seg_len = product->depth,
                      .step = product->a_col,
                      .b = product->b + col,
                      .ldb = product->ldb,
                      .c = product->c + col,
                      .ldc = product->ldc,
                      .add = product->add,
                      .bias = product->bias ? product->bias + col : NULL};
        kernels->strip(&s);
    }
}
