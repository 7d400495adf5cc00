// SHA-256 by the library that ESP-IDF brings: Mbed TLS 3 until 5.5, PSA Crypto since 6.0.
#ifndef MYOFED_BOARD_SHA256_H
#define MYOFED_BOARD_SHA256_H

#include <stddef.h>
#include <stdint.h>

#include "esp_err.h"
#include "esp_partition.h"

#define MB_SHA256_BYTES 32

// Of the first `size` bytes of a partition, as they stand in the flash.
esp_err_t mb_sha256_of_partition(const esp_partition_t *partition, size_t size, uint8_t digest[MB_SHA256_BYTES]);

#endif
