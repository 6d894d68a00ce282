/*
 * Hashes: SHA-256 (OpenSSL) for digests that people compare, a fast 64-bit one for tables and row
 * keys.
 */
#ifndef QN_BASE_HASH_H
#define QN_BASE_HASH_H

#include <stddef.h>
#include <stdint.h>

uint64_t qn_hash64(const void *data, size_t size, uint64_t seed);
uint32_t qn_crc32(const void *data, size_t size);

typedef struct {
    uint8_t bytes[32];
} qn_digest;
typedef struct qn_sha256 qn_sha256;
qn_sha256 *qn_sha256_create(void); /* NULL = memory */
void qn_sha256_update(qn_sha256 *hash, const void *data, size_t size);
qn_digest qn_sha256_finish(qn_sha256 *hash); /* resets for another use */
void qn_sha256_destroy(qn_sha256 *hash);
qn_digest qn_digest_of(const void *data, size_t size);
void qn_digest_text(const qn_digest *digest, char dst[65]); /* lower-case hexadecimal */

#endif
