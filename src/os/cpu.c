/*
 * CPU features from CPUID leaf 7 and the register state the kernel saves (XGETBV): a feature counts
 * only when both say yes. Tiles also need leave from the operating system, asked for once by the
 * process and again by each thread that uses them. Every aarch64 has NEON. QUERN_CPU lowers the
 * level, never raises it.
 */
#include "os/cpu.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>
#if defined(__x86_64__)
#include <cpuid.h>
#endif

#include "os/pool.h"

typedef struct {
    bool avx2, fma, f16c, bmi2;
    bool avx512f, avx512bw, avx512dq, avx512vl, avx512vnni, avx512bf16;
    bool amx_bf16, amx_int8;
    bool amd;
} cpu_features;

#if defined(__x86_64__)
static uint64_t saved_registers(void)
{
    uint32_t low;
    uint32_t high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return (uint64_t)high << 32 | low;
}

static bool bit(uint32_t word, int at)
{
    return word >> at & 1;
}

/* "AuthenticAMD", and its licensee. */
static bool made_by_amd(void)
{
    uint32_t a, name[3];
    return __get_cpuid(0, &a, &name[0], &name[2], &name[1]) &&
           (memcmp(name, "AuthenticAMD", sizeof name) == 0 ||
            memcmp(name, "HygonGenuine", sizeof name) == 0);
}

static cpu_features read_features(void)
{
    enum { OSXSAVE = 27, YMM_STATE = 0x6, ZMM_STATE = 0xE6, TILE_STATE = 0x60000 };
    cpu_features f = {0};
    uint32_t a;
    uint32_t b;
    uint32_t c;
    uint32_t d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !bit(c, OSXSAVE))
        return f;
    uint64_t saved = saved_registers();
    bool ymm = (saved & YMM_STATE) == YMM_STATE;
    bool zmm = (saved & ZMM_STATE) == ZMM_STATE;
    bool tiles = (saved & TILE_STATE) == TILE_STATE;
    f.fma = ymm && bit(c, 12);
    f.f16c = ymm && bit(c, 29);
    if (!__get_cpuid_count(7, 0, &a, &b, &c, &d))
        return f;
    f.avx2 = ymm && bit(b, 5);
    f.bmi2 = bit(b, 8);
    f.avx512f = zmm && bit(b, 16);
    f.avx512dq = zmm && bit(b, 17);
    f.avx512bw = zmm && bit(b, 30);
    f.avx512vl = zmm && bit(b, 31);
    f.avx512vnni = zmm && bit(c, 11);
    f.amx_bf16 = tiles && bit(d, 22);
    f.amx_int8 = tiles && bit(d, 25);
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
        f.avx512bf16 = zmm && bit(a, 5);
    f.amd = made_by_amd();
    return f;
}

bool qn_cpu_allow_tiles(void)
{
    enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
    return syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}
#else
static cpu_features read_features(void)
{
    return (cpu_features){0};
}

bool qn_cpu_allow_tiles(void)
{
    return false;
}
#endif

/* The highest level of this machine that is not above `most`. The maker counts once: VDPBF16PS does two multiply-adds a
 * lane in the time of one on AMD's cores and of four on the Intel cores that were measured, and no feature bit says so. */
static qn_cpu_level_id machine_level(const cpu_features *f, qn_cpu_level_id most)
{
    bool avx2 = f->avx2 && f->fma && f->f16c && f->bmi2;
    bool avx512 = avx2 && f->avx512f && f->avx512bw && f->avx512dq && f->avx512vl;
#if defined(__aarch64__)
    bool neon = true;
#else
    bool neon = false;
#endif
    const bool has[QN_CPU_LEVELS] = {[QN_CPU_NEON] = neon,
                                     [QN_CPU_AVX2] = avx2,
                                     [QN_CPU_AVX512] = avx512,
                                     [QN_CPU_AVX512_BF16] = avx512 && f->avx512bf16 && f->amd,
                                     [QN_CPU_AMX] = avx512 && f->avx512bf16 && f->amx_bf16 &&
                                                    qn_cpu_allow_tiles()};
    int level = (int)most;
    while (level > QN_CPU_PORTABLE && !has[level])
        level--;
    return (qn_cpu_level_id)level;
}

static const char *const level_names[QN_CPU_LEVELS] = {"portable", "neon",       "avx2",
                                                       "avx512",   "avx512bf16", "amx"};

/* What QUERN_CPU allows; an unknown word masks nothing (qn_cpu_describe says so). */
static qn_cpu_level_id mask_level(void)
{
    const char *mask = getenv("QUERN_CPU");
    for (int i = 0; mask && i < QN_CPU_LEVELS; i++)
        if (strcmp(mask, level_names[i]) == 0)
            return (qn_cpu_level_id)i;
    return QN_CPU_LEVELS - 1;
}

/* -1 = not read yet. Two threads that race here store the same value. */
static _Atomic int level_in_force = -1;

qn_cpu_level_id qn_cpu_level(void)
{
    int level = atomic_load_explicit(&level_in_force, memory_order_relaxed);
    if (level < 0) {
        cpu_features features = read_features();
        level = (int)machine_level(&features, mask_level());
        atomic_store_explicit(&level_in_force, level, memory_order_relaxed);
    }
    return (qn_cpu_level_id)level;
}

qn_cpu_level_id qn_cpu_limit(qn_cpu_level_id level)
{
    cpu_features features = read_features();
    qn_cpu_level_id mask = mask_level();
    level = machine_level(&features, level < mask ? level : mask);
    atomic_store_explicit(&level_in_force, (int)level, memory_order_relaxed);
    return level;
}

const char *qn_cpu_level_name(qn_cpu_level_id level)
{
    return (unsigned)level < QN_CPU_LEVELS ? level_names[level] : "unknown";
}

/* Why the level is not the machine's, or that a mask was not understood. */
static void describe_mask(qn_cpu_level_id machine, char *dst, int size)
{
    const char *mask = getenv("QUERN_CPU");
    qn_cpu_level_id level = qn_cpu_level();
    *dst = 0;
    if (level != machine)
        snprintf(dst, (size_t)size, ", limited to %s", qn_cpu_level_name(level));
    else if (mask && *mask && strcmp(mask, level_names[mask_level()]) != 0)
        snprintf(dst, (size_t)size,
                 ", QUERN_CPU=%.20s is not one of portable neon avx2 avx512 "
                 "avx512bf16 amx",
                 mask);
}

void qn_cpu_describe(char *dst, int size)
{
    cpu_features f = read_features();
    qn_cpu_level_id machine = machine_level(&f, QN_CPU_LEVELS - 1);
    char mask[112], kind[96];
    describe_mask(machine, mask, sizeof mask);
    if (machine >= QN_CPU_AVX512)
        snprintf(kind, sizeof kind, "AVX-512 (F BW DQ VL%s%s%s%s)", f.avx512vnni ? " VNNI" : "",
                 f.avx512bf16 ? " BF16" : "", f.amx_bf16 ? " AMX-BF16" : "",
                 f.amx_int8 ? " AMX-INT8" : "");
    else
        snprintf(kind, sizeof kind, "%s",
                 machine == QN_CPU_AVX2   ? "AVX2 (FMA F16C BMI2)"
                 : machine == QN_CPU_NEON ? "NEON"
                                          : "portable");
    snprintf(dst, (size_t)size, "%s%s, %d CPUs granted of %ld", kind, mask,
             qn_pool_default_threads(), sysconf(_SC_NPROCESSORS_ONLN));
}
