// Oversampling: how fast the ADC converts, and how conversions become samples. Arithmetic only.
#ifndef MYOFED_BOARD_ADC_PLAN_H
#define MYOFED_BOARD_ADC_PLAN_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// Conversions a second, all channels together, beyond which oversampling only costs processor time.
#define MB_ADC_ENOUGH_HZ 64000u
// A block of conversions takes about so long.
#define MB_ADC_BLOCK_MS 5

typedef struct {
    uint8_t decimation;       // input samples for one that is sent
    uint32_t conversion_hz;   // of all channels together, as adc_continuous counts
    uint32_t block_samples;   // input samples of all channels in one block
} mb_adc_plan_t;

// Choose the oversampling: as much as fits into lowest_hz … highest_hz conversions a second, up to
// MB_ADC_ENOUGH_HZ. False: no decimation of 1 … max_decimation does.
bool mb_adc_plan(uint8_t num_channels, uint32_t sample_rate_hz, uint32_t lowest_hz, uint32_t highest_hz,
                 uint8_t max_decimation, mb_adc_plan_t *plan);

// Conversions of one block into (samples, num_channels) counts. The j-th conversion of a channel within the block
// belongs to its j-th sample: so a pattern may begin anywhere, and the 16-bit results of an ESP32 may stand in either
// order within a word of its DMA. (One channel alone then has neighbours in swapped order, at 5 or more times the rate
// that is sent: the decimator takes that out.)
typedef struct {
    uint8_t num_channels;
    uint32_t block_samples;
    int8_t place[16];     // of each ADC channel among ours, -1: none
    uint32_t num_of[16];  // conversions so far, for each of ours
    int32_t *counts;      // (block_samples, num_channels)
} mb_gather_t;

void mb_gather_begin(mb_gather_t *gather);
// Put one conversion (12 bits) in its place; false: of a channel that is not ours, or one too many.
bool mb_gather_take(mb_gather_t *gather, uint32_t adc_channel, uint32_t raw);
// Whether every channel has all its samples.
bool mb_gather_complete(const mb_gather_t *gather);

// "36,39,34" into numbers; 0: no such list, or more than capacity.
size_t mb_parse_gpios(const char *text, int *gpios, size_t capacity);

#endif
