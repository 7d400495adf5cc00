#include "rate.h"

void mb_rate_add(mb_rate_t *rate, uint64_t time_us, uint32_t num_samples, uint32_t num_lost)
{
    if (rate->num_pending == 0) {
        rate->first_us = time_us;
    } else {
        rate->num_samples += rate->num_pending + num_lost;
    }
    rate->last_us = time_us;
    rate->num_pending = num_samples;
}

uint64_t mb_rate_span_us(const mb_rate_t *rate)
{
    return rate->last_us - rate->first_us;
}

double mb_rate_hz(const mb_rate_t *rate)
{
    uint64_t span_us = mb_rate_span_us(rate);
    return span_us > 0 ? 1e6 * (double)rate->num_samples / (double)span_us : 0;
}
