// Little-endian numbers at any address, on any machine.
#ifndef MYOFED_BYTES_H
#define MYOFED_BYTES_H

#include <stdint.h>
#include <string.h>

static inline uint8_t *put_uint(uint8_t *at, uint64_t value, unsigned num_bytes) {
    for (unsigned i = 0; i < num_bytes; i++) {
        *at++ = (uint8_t)(value >> 8 * i);
    }
    return at;
}

static inline uint64_t get_uint(const uint8_t *at, unsigned num_bytes) {
    uint64_t value = 0;
    for (unsigned i = 0; i < num_bytes; i++) {
        value |= (uint64_t)at[i] << 8 * i;
    }
    return value;
}

static inline uint8_t *put_double(uint8_t *at, double value) {
    uint64_t bits;
    _Static_assert(sizeof bits == sizeof value, "a double has 64 bits (IEEE 754)");
    memcpy(&bits, &value, sizeof bits);
    return put_uint(at, bits, sizeof bits);
}

static inline double get_double(const uint8_t *at) {
    const uint64_t bits = get_uint(at, 8);
    double value;
    memcpy(&value, &bits, sizeof value);
    return value;
}

#endif
