/* gRPC framing: message prefixes, timeouts, percent-encoded status text. */
#include "testing.h"

#include "net/grpc.h"

static void frames_are_cut(void **state)
{
    (void)state;
    qn_str message = {0};
    assert_int_equal(qn_grpc_frame_read(QN_STR("\0\0\0\0"), 10, &message), QN_GRPC_FRAME_MORE);
    assert_int_equal(qn_grpc_frame_read(QN_STR("\0\0\0\0\2a"), 10, &message), QN_GRPC_FRAME_MORE);
    assert_int_equal(qn_grpc_frame_read(QN_STR("\0\0\0\0\2abc"), 10, &message), QN_GRPC_FRAME_OK);
    assert_true(qn_str_is(message, "ab"));
    assert_int_equal(qn_grpc_frame_read(QN_STR("\0\0\0\0\0"), 10, &message), QN_GRPC_FRAME_OK);
    assert_int_equal(message.size, 0);
    assert_int_equal(qn_grpc_frame_read(QN_STR("\0\0\0\0\13"), 10, &message),
                     QN_GRPC_FRAME_TOO_LARGE);
    assert_int_equal(qn_grpc_frame_read(QN_STR("\0\xff\xff\xff\xff"), 10, &message),
                     QN_GRPC_FRAME_TOO_LARGE);
    assert_int_equal(qn_grpc_frame_read(QN_STR("\1\0\0\0\0"), 10, &message),
                     QN_GRPC_FRAME_COMPRESSED);
    char prefix[5];
    qn_grpc_frame_prefix(prefix, 0x01020304);
    assert_memory_equal(prefix, "\0\1\2\3\4", 5);
}

static void timeouts_are_read(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t ns; /* -1 = refused */
    } rows[] = {
        {"1S", 1000000000},
        {"100m", 100000000},
        {"5u", 5000},
        {"7n", 7},
        {"2M", 120000000000},
        {"1H", 3600000000000},
        {"99999999H", 3155760000000000000},
        {"", -1},
        {"S", -1},
        {"1", -1},
        {"1s", -1},
        {"-1S", -1},
        {"1.5S", -1},
        {"123456789S", -1},
        {" 1S", -1},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        int64_t ns = -1;
        bool good = qn_grpc_timeout_read(qn_str_from(rows[i].text), &ns);
        assert_int_equal(good, rows[i].ns >= 0);
        assert_int_equal(ns, rows[i].ns);
    }
}

static void messages_are_percent_encoded(void **state)
{
    (void)state;
    qn_buf buf;
    qn_buf_init(&buf, 0);
    qn_grpc_message_write(&buf, QN_STR("50% of \"\xc3\xa9\"\n"));
    assert_true(qn_str_is(qn_buf_view(&buf), "50%25 of \"%C3%A9\"%0A"));
    qn_buf_deinit(&buf);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_are_cut),
        cmocka_unit_test(timeouts_are_read),
        cmocka_unit_test(messages_are_percent_encoded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
