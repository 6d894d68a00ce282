/* SHA-256 and CRC-32 against published vectors; the table hash for spread and stability. */
#include "testing.h"

#include "base/hash.h"

static void sha256_gives_the_known_answers(void **state)
{
    (void)state;
    char text[65];
    qn_digest digest = qn_digest_of("abc", 3);
    qn_digest_text(&digest, text);
    assert_string_equal(text, "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    qn_sha256 *hash = qn_sha256_create();
    for (int round = 0; round < 2; round++) {
        qn_sha256_update(hash, "a", 1);
        qn_sha256_update(hash, "bc", 2);
        digest = qn_sha256_finish(hash);
        qn_digest_text(&digest, text);
        assert_true(strncmp(text, "ba7816bf", 8) == 0);
    }
    qn_sha256_destroy(hash);
}

static void crc32_gives_the_known_answer(void **state)
{
    (void)state;
    assert_int_equal(qn_crc32("123456789", 9), 0xCBF43926);
    assert_int_equal(qn_crc32(NULL, 0), 0);
}

/* Stored hashes (split by hash of key) must not change between versions. */
static void hash64_is_stable(void **state)
{
    (void)state;
    uint64_t empty = qn_hash64("", 0, 0);
    uint64_t text = qn_hash64("quern", 5, 1);
    assert_true(empty == qn_hash64(NULL, 0, 0));
    assert_true(text == qn_hash64("quern", 5, 1));
    assert_true(text != qn_hash64("quern", 5, 2));
    assert_true(empty == UINT64_C(0x2cc9d3b461da234b));
    assert_true(text == UINT64_C(0x50e2c1a32c8c814a));
}

static void hash64_spreads_neighbours(void **state)
{
    (void)state;
    enum { COUNT = 4096, BUCKETS = 64 };
    int filled[BUCKETS] = {0};
    for (uint32_t i = 0; i < COUNT; i++) {
        char text[40];
        memset(text, 'x', sizeof text);
        memcpy(text + i % 36, &i, sizeof i);
        filled[qn_hash64(text, sizeof text, 0) % BUCKETS]++;
    }
    for (int i = 0; i < BUCKETS; i++)
        assert_true(filled[i] > 24 && filled[i] < 104); /* 64 +- 5 deviations */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sha256_gives_the_known_answers),
        cmocka_unit_test(crc32_gives_the_known_answer),
        cmocka_unit_test(hash64_is_stable),
        cmocka_unit_test(hash64_spreads_neighbours),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
