/* gRPC frames, timeouts and status text: views stay inside, messages leave only printable bytes. */
#include "net/grpc.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    qn_str text = {(const char *)data, size}, rest = text, message;
    while (qn_grpc_frame_read(rest, 1 << 20, &message) == QN_GRPC_FRAME_OK) {
        if (message.data < text.data || message.data + message.size > text.data + size)
            abort();
        size_t used = QN_GRPC_PREFIX + message.size;
        rest = (qn_str){rest.data + used, rest.size - used};
    }
    int64_t ns = 0;
    if (qn_grpc_timeout_read(text, &ns) && ns < 0)
        abort();
    qn_buf buf;
    qn_buf_init(&buf, 0);
    qn_grpc_message_write(&buf, text);
    for (size_t i = 0; i < buf.size; i++)
        if (buf.data[i] < 0x20 || buf.data[i] > 0x7e)
            abort();
    qn_buf_deinit(&buf);
    return 0;
}
