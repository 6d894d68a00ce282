/*
 * Hashes: a fast 64-bit one (wyhash's folded multiply) and CRC-32 as in zip and PNG. The 64-bit hash is seeded but no
 * protection against an adversary who sees its outputs.
 */
#include "base/hash.h"

#include <stdbool.h>
#include <string.h>

#include "base/alloc.h"
#include "base/error.h"

/* Little-endian reads, so that hashes stored in a file mean the same on every machine. */
static uint64_t read64(const uint8_t *p)
{
    uint64_t value;
    memcpy(&value, p, 8);
#if __BYTE_ORDER__ == __ORDER_BIG_ENDIAN__
    value = __builtin_bswap64(value);
#endif
    return value;
}

static uint64_t read_tail(const uint8_t *p, size_t size)
{
    uint64_t value = 0;
    for (size_t i = 0; i < size; i++)
        value |= (uint64_t)p[i] << (8 * i);
    return value;
}

static uint64_t fold(uint64_t a, uint64_t b)
{
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

/* wyhash's secrets: odd numbers with balanced bits. */
#define SECRET0 UINT64_C(0xa0761d6478bd642f)
#define SECRET1 UINT64_C(0xe7037ed1a0b428db)
#define SECRET2 UINT64_C(0x8ebc6af09c88c6e3)

uint64_t qn_hash64(const void *data, size_t size, uint64_t seed)
{
    const uint8_t *p = data;
    size_t left = size;
    uint64_t state = fold(seed ^ SECRET0, SECRET1);
    for (; left >= 16; left -= 16, p += 16)
        state = fold(read64(p) ^ SECRET1, read64(p + 8) ^ state);
    uint64_t a = left >= 8 ? read64(p) : read_tail(p, left);
    uint64_t b = left >= 8 ? read_tail(p + 8, left - 8) : 0;
    state = fold(a ^ SECRET2, b ^ state);
    return fold(state ^ (uint64_t)size, SECRET1);
}

/* Reflected polynomial 0xEDB88320, four bits at a time: the table fits a cache line. */
static const uint32_t crc_nibbles[16] = {
    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
    0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c};

uint32_t qn_crc32(const void *data, size_t size)
{
    const uint8_t *p = data;
    uint32_t crc = UINT32_MAX;
    for (size_t i = 0; i < size; i++) {
        crc ^= p[i];
        crc = crc >> 4 ^ crc_nibbles[crc & 15];
        crc = crc >> 4 ^ crc_nibbles[crc & 15];
    }
    return ~crc;
}
