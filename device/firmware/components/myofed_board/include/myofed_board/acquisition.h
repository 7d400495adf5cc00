// Where counts come from: one struct of functions for each kind of converter.
#ifndef MYOFED_BOARD_ACQUISITION_H
#define MYOFED_BOARD_ACQUISITION_H

#include <stddef.h>
#include <stdint.h>

#include "esp_err.h"

#define MB_MAX_CHANNELS 16

// In: what the settings wish for. Out, from open(): what the converter gives.
typedef struct {
    uint8_t num_channels;   // in: 0 for all that are wired
    double sample_rate_hz;  // in: 0 for the converter's default; after decimation
    uint32_t gain;          // in: 0 for the converter's default
    uint8_t decimation;     // out: input samples for one that is sent
    uint8_t sample_bytes;   // out: 2 or 3
    double uv_per_count;    // out
} mb_signal_t;

// A stretch of consecutive samples at the input rate.
typedef struct {
    const int32_t *counts;  // (num_samples, num_channels), the converter's until the next read
    size_t num_samples;
    uint64_t time_us;   // esp_timer's clock at the first sample
    uint32_t num_lost;  // input samples lost right before this stretch
} mb_block_t;

typedef struct {
    const char *name;
    // Set up and start converting. On failure `problem` says what is wrong and what to do, in one sentence.
    esp_err_t (*open)(mb_signal_t *signal, char *problem, size_t capacity);
    // Wait up to timeout_ms for the next stretch. ESP_ERR_TIMEOUT: none came.
    esp_err_t (*read)(mb_block_t *block, uint32_t timeout_ms);
} mb_acquisition_t;

// The one that was chosen in menuconfig.
extern const mb_acquisition_t mb_acquisition;

#endif
