/*
 * Instructions of AMX on machines without it: the processor says that it does not know them (SIGILL), and the handler does
 * what the manual says, so that the compiled kernels themselves are tested. On machines with AMX it is never asked.
 *
 * Stricter than a processor: tiles are set up once before they are used and released once, as 16 rows of 64 bytes, and what is
 * released is spoilt. For the thread that began; the pool's workers block the signal.
 * Source: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2, chapter 2.3 (VEX) and the instructions.
 */
#ifndef QN_AMX_INTERPRETER_H
#define QN_AMX_INTERPRETER_H

#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <ucontext.h>
#include <xmmintrin.h>

typedef union {
    uint16_t bf16[16][32];
    float f32[16][16];
    char bytes[16][64];
} amx_tile;

typedef struct {
    amx_tile tiles[8];
    bool ready;
    int64_t setups, products;
} amx_machine;

static amx_machine *amx(void)
{
    static amx_machine machine;
    return &machine;
}

/* An instruction taken apart: opcode and prefix, registers, and an address with its index as a stride. */
typedef struct {
    const uint8_t *next;
    int opcode, prefix, reg, rm, third;
    bool memory;
    char *address;
    int64_t stride;
} amx_code;

static void amx_refuse(const uint8_t *at, const char *why)
{
    fprintf(stderr, "%s: %02x %02x %02x %02x %02x\n", why, at[0], at[1], at[2], at[3], at[4]);
    abort();
}

static int64_t amx_displacement(const uint8_t **at, int bytes)
{
    int32_t wide = 0;
    if (bytes == 1)
        wide = (int8_t) * *at;
    else if (bytes == 4)
        memcpy(&wide, *at, sizeof wide);
    *at += bytes;
    return wide;
}

static int64_t amx_register(const greg_t *registers, int number)
{
    static const int places[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP,
                                   REG_RSI, REG_RDI, REG_R8,  REG_R9,  REG_R10, REG_R11,
                                   REG_R12, REG_R13, REG_R14, REG_R15};
    return registers[places[number]];
}

/* Address and stride of a ModRM byte's memory, whose SIB byte and displacement lie at code->next. */
static void amx_locate(amx_code *code, int mode, int vex, const greg_t *registers)
{
    int base = code->rm, index = 4, scale = 0;
    if (code->rm == 4) {
        int sib = *code->next++;
        scale = sib >> 6;
        index = (sib >> 3 & 7) | (vex & 0x40 ? 0 : 8);
        base = sib & 7;
    }
    bool none = mode == 0 && base == 5;
    int64_t offset = amx_displacement(&code->next, mode == 1 ? 1 : mode == 2 || none ? 4 : 0);
    uintptr_t from = none ? code->rm == 5 ? (uintptr_t)code->next : 0
                          : (uintptr_t)amx_register(registers, base | (vex & 0x20 ? 0 : 8));
    code->address = (char *)(from + (uintptr_t)offset);
    code->stride = index == 4 ? 0 : amx_register(registers, index) * ((int64_t)1 << scale);
}

static amx_code amx_decode(const uint8_t *at, const greg_t *registers)
{
    if (at[0] != 0xc4 || (at[1] & 0x1f) != 2 || at[2] & 0x84)
        amx_refuse(at, "no instruction of AMX");
    amx_code code = {.next = at + 5,
                     .opcode = at[3],
                     .prefix = at[2] & 3,
                     .reg = at[4] >> 3 & 7,
                     .rm = at[4] & 7,
                     .third = ~(at[2] >> 3) & 15,
                     .memory = at[4] >> 6 != 3};
    if (code.memory)
        amx_locate(&code, at[4] >> 6, at[1], registers);
    return code;
}

/* LDTILECFG and TILERELEASE. */
static void amx_set_up(const uint8_t *at, const amx_code *code)
{
    const uint8_t *config = (const uint8_t *)code->address;
    if (amx()->ready == code->memory)
        amx_refuse(at, "set up twice, or released twice");
    amx()->ready = code->memory;
    memset(amx()->tiles, code->memory ? 0 : 0xff, sizeof amx()->tiles);
    amx()->setups += code->memory;
    for (int t = 0; code->memory && t < 8; t++)
        if (config[0] != 1 || config[1] || config[16 + 2 * t] != 64 || config[17 + 2 * t] ||
            config[48 + t] != 16)
            amx_refuse(at, "tiles of another shape");
}

static float amx_wide(uint16_t half)
{
    uint32_t bits = (uint32_t)half << 16;
    float x;
    memcpy(&x, &bits, sizeof x);
    return x;
}

/* TDPBF16PS: products of two bf16 are exact, so each of these additions is an fma. */
static void amx_multiply(amx_tile *c, const amx_tile *a, const amx_tile *b)
{
    for (int m = 0; m < 16; m++)
        for (int n = 0; n < 16; n++) {
            float sum[2] = {0};
            for (int k = 0; k < 16; k++)
                for (int part = 0; part < 2; part++)
                    sum[part] +=
                        amx_wide(a->bf16[m][2 * k + part]) * amx_wide(b->bf16[k][2 * n + part]);
            c->f32[m][n] += sum[0] + sum[1];
        }
    amx()->products++;
}

static void amx_execute(const uint8_t *at, const amx_code *code)
{
    enum { NONE, P66, PF3, PF2 };
    amx_tile *tile = amx()->tiles + code->reg;
    bool config = code->opcode == 0x49 && code->prefix == NONE && code->reg == 0;
    if (config && (code->memory || code->rm == 0)) {
        amx_set_up(at, code);
        return;
    }
    if (!amx()->ready)
        amx_refuse(at, "tiles are not set up");
    if (code->opcode == 0x49 && code->prefix == PF2 && !code->memory)
        memset(tile, 0, sizeof *tile);
    else if (code->opcode == 0x4b && code->prefix == PF2 && code->memory)
        for (int i = 0; i < 16; i++)
            memcpy(tile->bytes[i], code->address + i * code->stride, 64);
    else if (code->opcode == 0x4b && code->prefix == PF3 && code->memory)
        for (int i = 0; i < 16; i++)
            memcpy(code->address + i * code->stride, tile->bytes[i], 64);
    else if (code->opcode == 0x5c && code->prefix == PF3 && !code->memory)
        amx_multiply(tile, amx()->tiles + code->rm, amx()->tiles + (code->third & 7));
    else
        amx_refuse(at, "an instruction that no kernel has");
}

static void amx_on_unknown(int number, siginfo_t *info, void *context)
{
    enum {
        FLUSH_DENORMALS = 0x8040
    }; /* the instruction does, whatever the control register says */
    (void)number;
    (void)info;
    greg_t *registers = ((ucontext_t *)context)->uc_mcontext.gregs;
    const uint8_t *at = (const uint8_t *)registers[REG_RIP];
    _mm_setcsr(_mm_getcsr() | FLUSH_DENORMALS);
    amx_code code = amx_decode(at, registers);
    amx_execute(at, &code);
    registers[REG_RIP] = (greg_t)code.next;
}

/* From here to the test's end, when the harness takes the signal back. */
static void amx_interpret(void)
{
    struct sigaction action = {.sa_sigaction = amx_on_unknown, .sa_flags = SA_SIGINFO};
    memset(amx(), 0, sizeof *amx());
    assert_int_equal(sigaction(SIGILL, &action, NULL), 0);
}

#endif
