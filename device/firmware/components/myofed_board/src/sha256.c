#include "sha256.h"

#include <stdbool.h>

#include "esp_idf_version.h"

#if ESP_IDF_VERSION >= ESP_IDF_VERSION_VAL(6, 0, 0)
#include "psa/crypto.h"

typedef psa_hash_operation_t hash_t;
#define HASH_INIT PSA_HASH_OPERATION_INIT

static bool begin(hash_t *hash)
{
    return psa_hash_setup(hash, PSA_ALG_SHA_256) == PSA_SUCCESS;
}

static bool add(hash_t *hash, const uint8_t *bytes, size_t size)
{
    return psa_hash_update(hash, bytes, size) == PSA_SUCCESS;
}

static bool finish(hash_t *hash, uint8_t *digest)
{
    size_t size;
    return psa_hash_finish(hash, digest, MB_SHA256_BYTES, &size) == PSA_SUCCESS;
}

static void drop(hash_t *hash)
{
    psa_hash_abort(hash);
}
#else
#include "mbedtls/sha256.h"

typedef mbedtls_sha256_context hash_t;
#define HASH_INIT {0}

static bool begin(hash_t *hash)
{
    mbedtls_sha256_init(hash);
    return mbedtls_sha256_starts(hash, 0) == 0;
}

static bool add(hash_t *hash, const uint8_t *bytes, size_t size)
{
    return mbedtls_sha256_update(hash, bytes, size) == 0;
}

static bool finish(hash_t *hash, uint8_t *digest)
{
    return mbedtls_sha256_finish(hash, digest) == 0;
}

static void drop(hash_t *hash)
{
    mbedtls_sha256_free(hash);
}
#endif

esp_err_t mb_sha256_of_partition(const esp_partition_t *partition, size_t size, uint8_t digest[MB_SHA256_BYTES])
{
    hash_t hash = HASH_INIT;
    uint8_t piece[512];
    bool is_fine = begin(&hash);
    esp_err_t error = ESP_OK;
    for (size_t at = 0; at < size && is_fine && error == ESP_OK; at += sizeof piece) {
        size_t left = size - at < sizeof piece ? size - at : sizeof piece;
        error = esp_partition_read(partition, at, piece, left);
        is_fine = error != ESP_OK || add(&hash, piece, left);
    }
    is_fine = is_fine && error == ESP_OK && finish(&hash, digest);
    drop(&hash);
    return error != ESP_OK ? error : is_fine ? ESP_OK : ESP_FAIL;
}
