/*
 * Fixed-width numbers out of byte streams, and byte order of whole arrays.
 */
#ifndef QN_FORMAT_BYTES_PRIV_H
#define QN_FORMAT_BYTES_PRIV_H

#include <stddef.h>
#include <stdint.h>
#include <string.h>

static inline uint16_t qn_le16(const char *at)
{
    return (uint16_t)((uint8_t)at[0] | (uint8_t)at[1] << 8);
}
static inline uint32_t qn_le32(const char *at)
{
    return (uint32_t)qn_le16(at) | (uint32_t)qn_le16(at + 2) << 16;
}
static inline uint64_t qn_le64(const char *at)
{
    return (uint64_t)qn_le32(at) | (uint64_t)qn_le32(at + 4) << 32;
}
static inline uint32_t qn_be32(const char *at)
{
    return __builtin_bswap32(qn_le32(at));
}

/* Reverses the bytes of each of `count` elements in place. */
static inline void qn_swap_elements(void *data, int64_t count, size_t each_bytes)
{
    uint8_t *at = data;
    for (int64_t i = 0; i < count; i++, at += each_bytes)
        for (size_t low = 0, high = each_bytes - 1; low < high; low++, high--) {
            uint8_t held = at[low];
            at[low] = at[high];
            at[high] = held;
        }
}

/* A file's bytes as tensors hold them. Views of mapped files are read-only by promise: nothing writes to them. */
static inline void *qn_unconst(const void *data)
{
    return (void *)(uintptr_t)data;
}

#endif
