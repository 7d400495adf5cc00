#include "adc_plan.h"

#include <stdlib.h>
#include <string.h>

// 12 bits around their middle, shifted up to 16: decimation then adds resolution.
#define MIDDLE 2048
#define SHIFT 4
// DMA descriptors move whole words, and ESP-IDF asks for multiples of 4 bytes; results have 2 or 4.
#define EVEN 2

bool mb_adc_plan(uint8_t num_channels, uint32_t sample_rate_hz, uint32_t lowest_hz, uint32_t highest_hz,
                 uint8_t max_decimation, mb_adc_plan_t *plan)
{
    uint32_t each_hz = num_channels * sample_rate_hz;
    if (each_hz == 0 || each_hz > highest_hz) {
        return false;
    }
    uint32_t target_hz = lowest_hz > MB_ADC_ENOUGH_HZ ? lowest_hz : MB_ADC_ENOUGH_HZ;
    if (target_hz > highest_hz) {
        target_hz = highest_hz;
    }
    uint32_t decimation = target_hz / each_hz;
    if (decimation * each_hz < lowest_hz) {
        decimation = (lowest_hz + each_hz - 1) / each_hz;
    }
    decimation = decimation < 1 ? 1 : decimation > max_decimation ? max_decimation : decimation;
    plan->decimation = (uint8_t)decimation;
    plan->conversion_hz = each_hz * decimation;
    uint32_t block_samples = sample_rate_hz * decimation * MB_ADC_BLOCK_MS / 1000 / EVEN * EVEN;
    plan->block_samples = block_samples < EVEN ? EVEN : block_samples;
    return plan->conversion_hz >= lowest_hz && plan->conversion_hz <= highest_hz;
}

void mb_gather_begin(mb_gather_t *gather)
{
    memset(gather->num_of, 0, sizeof gather->num_of);
}

bool mb_gather_take(mb_gather_t *gather, uint32_t adc_channel, uint32_t raw)
{
    int place = adc_channel < 16 ? gather->place[adc_channel] : -1;
    if (place < 0 || gather->num_of[place] >= gather->block_samples) {
        return false;
    }
    uint32_t sample = gather->num_of[place]++;
    gather->counts[sample * gather->num_channels + (uint32_t)place] = ((int32_t)raw - MIDDLE) * (1 << SHIFT);
    return true;
}

bool mb_gather_complete(const mb_gather_t *gather)
{
    for (uint8_t channel = 0; channel < gather->num_channels; channel++) {
        if (gather->num_of[channel] != gather->block_samples) {
            return false;
        }
    }
    return true;
}

size_t mb_parse_gpios(const char *text, int *gpios, size_t capacity)
{
    size_t num_gpios = 0;
    while (num_gpios < capacity) {
        char *end;
        long gpio = strtol(text, &end, 10);
        if (end == text || gpio < 0 || gpio > 255) {
            return 0;
        }
        gpios[num_gpios++] = (int)gpio;
        if (*end == '\0') {
            return num_gpios;
        }
        if (*end != ',') {
            return 0;
        }
        text = end + 1;
    }
    return 0;
}
