/*
 * SHA-256 by OpenSSL. A file of its own, since builds of the engine alone do without the library.
 */
#include "base/hash.h"

#include <openssl/evp.h>
#include <stdbool.h>

#include "base/alloc.h"
#include "base/error.h"

/* EVP_Digest* fail only for want of memory inside OpenSSL or in a build without SHA-256. */
struct qn_sha256 {
    EVP_MD_CTX *context;
};

qn_sha256 *qn_sha256_create(void)
{
    qn_sha256 *hash = qn_alloc_zero(1, sizeof *hash);
    if (!hash)
        return NULL;
    hash->context = EVP_MD_CTX_new();
    if (!hash->context || EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) != 1) {
        qn_sha256_destroy(hash);
        return NULL;
    }
    return hash;
}

void qn_sha256_update(qn_sha256 *hash, const void *data, size_t size)
{
    bool updated = EVP_DigestUpdate(hash->context, data, size) == 1;
    QN_ASSERT(updated);
}

qn_digest qn_sha256_finish(qn_sha256 *hash)
{
    qn_digest digest;
    bool finished = EVP_DigestFinal_ex(hash->context, digest.bytes, NULL) == 1 &&
                    EVP_DigestInit_ex(hash->context, EVP_sha256(), NULL) == 1;
    QN_ASSERT(finished);
    return digest;
}

void qn_sha256_destroy(qn_sha256 *hash)
{
    if (!hash)
        return;
    EVP_MD_CTX_free(hash->context);
    qn_free(hash);
}

qn_digest qn_digest_of(const void *data, size_t size)
{
    qn_digest digest;
    bool made = EVP_Digest(data, size, digest.bytes, NULL, EVP_sha256(), NULL) == 1;
    QN_ASSERT(made);
    return digest;
}

void qn_digest_text(const qn_digest *digest, char dst[65])
{
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < 32; i++) {
        dst[2 * i] = digits[digest->bytes[i] >> 4];
        dst[2 * i + 1] = digits[digest->bytes[i] & 15];
    }
    dst[64] = '\0';
}
