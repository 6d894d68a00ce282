/*
 * The choice of the micro-kernel, and how columns are cut into its panels.
 */
#include "kernel/gemm/tile.h"
#include "kernel/isa.h"

const qn_tile_kernels *qn_tile_f32(void)
{
    static const qn_tile_kernels *const rows[QN_CPU_LEVELS] =
        QN_ISA_ROWS(&qn_tile_f32_ref, &qn_tile_f32_avx2, &qn_tile_f32_avx512);
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
