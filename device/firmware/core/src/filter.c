#include "myofed/filter.h"

#include <math.h>

static const double PI = 3.14159265358979323846;
static const double KAISER_BETA = 6.2;  // 65 dB: Kaiser 1974, I0-sinh window
enum { TAP_BITS = 15 };

// Modified Bessel function of the first kind and order 0, by its series.
static double bessel_i0(double x) {
    double term = 1;
    double sum = 1;
    for (int k = 1; term > 1e-12 * sum; k++) {
        term *= x * x / (4.0 * k * k);
        sum += term;
    }
    return sum;
}

// Tap of a low-pass at half the output rate, `at` input samples from the middle.
static double windowed_sinc(int at, int half, int decimation) {
    const double x = PI * at / decimation;
    const double sinc = at == 0 ? 1 : sin(x) / x;
    const double edge = (double)at / half;
    return sinc / decimation * bessel_i0(KAISER_BETA * sqrt(1 - edge * edge)) / bessel_i0(KAISER_BETA);
}

static void design(int16_t *taps, int decimation) {
    const int half = MYOFED_TAPS_PER_PHASE * decimation / 2;
    int32_t rest = INT32_C(1) << TAP_BITS;
    for (int at = -half; at <= half; at++) {
        taps[half + at] = (int16_t)lround(windowed_sinc(at, half, decimation) * (1 << TAP_BITS));
        rest -= taps[half + at];
    }
    taps[half] = (int16_t)(taps[half] + rest);  // what stands still passes exactly
}

void myofed_decimator_init(myofed_decimator_t *decimator, uint8_t num_channels, uint8_t decimation, int16_t *taps,
                           int32_t *history) {
    *decimator = (myofed_decimator_t){.taps = taps,
                                      .history = history,
                                      .num_taps = (uint16_t)MYOFED_TAPS(decimation),
                                      .num_channels = num_channels,
                                      .decimation = decimation};
    if (decimation > 1) {
        design(taps, decimation);
    }
}

uint32_t myofed_decimator_delay(const myofed_decimator_t *decimator) {
    return decimator->num_taps / 2u;
}

// The filter is symmetric: one multiplication for two counts, whose sum fits 32 bits. They are met from both ends of
// the ring, whose oldest count stands at `oldest`.
static int32_t filtered(const int16_t *taps, const int32_t *history, size_t num_taps, size_t oldest) {
    size_t older = oldest;
    size_t newer = oldest == 0 ? num_taps - 1 : oldest - 1;
    int64_t sum = INT64_C(1) << (TAP_BITS - 1);  // rounds
    for (size_t i = 0; i < num_taps / 2; i++) {
        sum += (int64_t)taps[i] * (int32_t)((uint32_t)history[older] + (uint32_t)history[newer]);
        older = older + 1 == num_taps ? 0 : older + 1;
        newer = newer == 0 ? num_taps - 1 : newer - 1;
    }
    sum = (sum + (int64_t)taps[num_taps / 2] * history[older]) >> TAP_BITS;
    return sum > INT32_MAX ? INT32_MAX : sum < INT32_MIN ? INT32_MIN : (int32_t)sum;
}

static void settle(myofed_decimator_t *decimator, const int32_t *sample) {
    for (size_t c = 0; c < decimator->num_channels; c++) {
        for (size_t i = 0; i < decimator->num_taps; i++) {
            decimator->history[c * decimator->num_taps + i] = sample[c];
        }
    }
    decimator->settled = true;
}

bool myofed_decimator_take(myofed_decimator_t *decimator, const int32_t *sample, int32_t *output) {
    const size_t num_taps = decimator->num_taps;
    if (!decimator->settled) {
        settle(decimator, sample);
    }
    for (size_t c = 0; c < decimator->num_channels; c++) {
        decimator->history[c * num_taps + decimator->oldest] = sample[c];
    }
    decimator->oldest = (uint16_t)(decimator->oldest + 1u == num_taps ? 0 : decimator->oldest + 1u);
    if (++decimator->phase < decimator->decimation) {
        return false;
    }
    decimator->phase = 0;
    for (size_t c = 0; c < decimator->num_channels; c++) {
        output[c] = filtered(decimator->taps, decimator->history + c * num_taps, num_taps, decimator->oldest);
    }
    return true;
}

myofed_biquad_t myofed_highpass(float cutoff_hz, float sample_rate_hz) {
    const double omega = 2 * PI * cutoff_hz / sample_rate_hz;
    const double alpha = sin(omega) / sqrt(2.0);  // quality 1 / √2: Butterworth
    const double a0 = 1 + alpha;
    const double b = (1 + cos(omega)) / a0;
    return (myofed_biquad_t){(float)(b / 2), (float)-b, (float)(b / 2), (float)(-2 * cos(omega) / a0),
                             (float)((1 - alpha) / a0)};
}

myofed_biquad_t myofed_notch(float mains_hz, float quality, float sample_rate_hz) {
    const double omega = 2 * PI * mains_hz / sample_rate_hz;
    const double alpha = tan(omega / (2 * quality));
    const double a0 = 1 + alpha;
    const float middle = (float)(-2 * cos(omega) / a0);
    return (myofed_biquad_t){(float)(1 / a0), middle, (float)(1 / a0), middle, (float)((1 - alpha) / a0)};
}

float myofed_biquad_run(const myofed_biquad_t *filter, myofed_biquad_state_t *state, float input) {
    const float output = filter->b0 * input + state->s1;
    state->s1 = filter->b1 * input - filter->a1 * output + state->s2;
    state->s2 = filter->b2 * input - filter->a2 * output;
    return output;
}

myofed_biquad_state_t myofed_biquad_settled(const myofed_biquad_t *filter, float input) {
    const float gain = (filter->b0 + filter->b1 + filter->b2) / (1 + filter->a1 + filter->a2);
    const float output = gain * input;
    const float s2 = filter->b2 * input - filter->a2 * output;
    return (myofed_biquad_state_t){filter->b1 * input - filter->a1 * output + s2, s2};
}
