/* base64 (RFC 4648), for binary values in JSON. Strict: no line breaks, no stray bits. */
#include "serve_priv.h"

static int value_of(char c)
{
    if (c >= 'A' && c <= 'Z')
        return c - 'A';
    if (c >= 'a' && c <= 'z')
        return c - 'a' + 26;
    if (c >= '0' && c <= '9')
        return c - '0' + 52;
    if (c == '+' || c == '-')
        return 62;
    return c == '/' || c == '_' ? 63 : -1;
}

const char *qn_b64_decode(qn_str text, qn_arena *arena, size_t *ret_size)
{
    while (text.size && text.data[text.size - 1] == '=')
        text.size--;
    if (text.size % 4 == 1)
        return NULL;
    char *dst = qn_arena_alloc(arena, text.size / 4 * 3 + 3);
    uint32_t bits = 0;
    int have = 0;
    size_t size = 0;
    for (size_t i = 0; dst && i < text.size; i++) {
        int value = value_of(text.data[i]);
        if (value < 0)
            return NULL;
        bits = bits << 6 | (uint32_t)value;
        have += 6;
        if (have >= 8) {
            have -= 8;
            dst[size++] = (char)(bits >> have);
            bits &= (1u << have) - 1;
        }
    }
    if (bits)
        return NULL; /* bits that no byte holds */
    *ret_size = size;
    return dst;
}
