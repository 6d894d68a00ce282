/* gRPC framing: see grpc.h. */
#include "net/grpc.h"

qn_grpc_frame qn_grpc_frame_read(qn_str data, int64_t limit_bytes, qn_str *ret_message)
{
    if (data.size < QN_GRPC_PREFIX)
        return QN_GRPC_FRAME_MORE;
    const unsigned char *p = (const unsigned char *)data.data;
    if (p[0] != 0)
        return QN_GRPC_FRAME_COMPRESSED;
    int64_t size =
        (int64_t)((uint32_t)p[1] << 24 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 8 | p[4]);
    if (size > limit_bytes)
        return QN_GRPC_FRAME_TOO_LARGE;
    if ((int64_t)(data.size - QN_GRPC_PREFIX) < size)
        return QN_GRPC_FRAME_MORE;
    *ret_message = (qn_str){data.data + QN_GRPC_PREFIX, (size_t)size};
    return QN_GRPC_FRAME_OK;
}

void qn_grpc_frame_prefix(char dst[5], uint32_t size)
{
    dst[0] = 0;
    dst[1] = (char)(size >> 24);
    dst[2] = (char)(size >> 16);
    dst[3] = (char)(size >> 8);
    dst[4] = (char)size;
}

static int64_t unit_ns(char unit)
{
    switch (unit) {
    case 'H':
        return INT64_C(3600000000000);
    case 'M':
        return INT64_C(60000000000);
    case 'S':
        return 1000000000;
    case 'm':
        return 1000000;
    case 'u':
        return 1000;
    case 'n':
        return 1;
    default:
        return 0;
    }
}

bool qn_grpc_timeout_read(qn_str text, int64_t *ret_ns)
{
    if (text.size < 2 || text.size > 9)
        return false;
    int64_t value = 0;
    for (size_t i = 0; i + 1 < text.size; i++) {
        if (text.data[i] < '0' || text.data[i] > '9')
            return false;
        value = value * 10 + (text.data[i] - '0');
    }
    int64_t unit = unit_ns(text.data[text.size - 1]);
    if (!unit)
        return false;
    /* 10^8 hours overflow int64 nanoseconds; a hundred years is as good as for ever. */
    int64_t most = INT64_C(3155760000000000000);
    *ret_ns = value > most / unit ? most : value * unit;
    return true;
}

void qn_grpc_message_write(qn_buf *dst, qn_str message)
{
    static const char digits[] = "0123456789ABCDEF";
    for (size_t i = 0; i < message.size; i++) {
        unsigned char c = (unsigned char)message.data[i];
        if (c >= 0x20 && c <= 0x7e && c != '%') {
            qn_buf_byte(dst, (char)c);
        } else {
            qn_buf_byte(dst, '%');
            qn_buf_byte(dst, digits[c >> 4]);
            qn_buf_byte(dst, digits[c & 15]);
        }
    }
}
