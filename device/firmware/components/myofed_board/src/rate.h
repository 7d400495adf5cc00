// How fast a converter really is, by this board's clock. Arithmetic only.
#ifndef MYOFED_BOARD_RATE_H
#define MYOFED_BOARD_RATE_H

#include <stdint.h>

typedef struct {
    uint64_t first_us, last_us;
    uint64_t num_samples;  // from the first instant to the last
    uint64_t num_pending;  // of the latest stretch: they lie behind the last instant
} mb_rate_t;

// A stretch of num_samples began at time_us, num_lost after the one before.
void mb_rate_add(mb_rate_t *rate, uint64_t time_us, uint32_t num_samples, uint32_t num_lost);

// Microseconds from the first stretch to the latest.
uint64_t mb_rate_span_us(const mb_rate_t *rate);

// Samples a second; 0: not known yet.
double mb_rate_hz(const mb_rate_t *rate);

#endif
