// What happens to counts before they are framed: decimation, high-pass, notch.
//
// Decimation is integer arithmetic, because an ESP32-C3 has no floating-point unit and because it makes every
// machine send the same bytes; high-pass and notch, at the lower rate, are float32.
#ifndef MYOFED_FILTER_H
#define MYOFED_FILTER_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define MYOFED_MAX_DECIMATION 32
// A Kaiser window of 20 output samples and beta = 6.2: flat to 0.4 of the output rate, and at least 60 dB down
// from 0.6 of it on, which is all that could alias into that band. Delay: 10 output samples, taken off the times.
#define MYOFED_TAPS_PER_PHASE 20
#define MYOFED_TAPS(decimation) ((decimation) > 1 ? (size_t)MYOFED_TAPS_PER_PHASE * (decimation) + 1 : 0)

typedef struct {
    const int16_t *taps;  // MYOFED_TAPS(decimation), Q15, sum 32768; the same for all channels
    int32_t *history;     // (num_channels, MYOFED_TAPS(decimation)), a ring each
    uint16_t num_taps;
    uint16_t oldest;  // where in the rings
    uint8_t num_channels;
    uint8_t decimation;
    uint8_t phase;  // input samples since the last output
    bool settled;   // whether the history holds a signal
} myofed_decimator_t;

// Design the filter into `taps` and start with an empty history; decimation 1 to MYOFED_MAX_DECIMATION.
void myofed_decimator_init(myofed_decimator_t *decimator, uint8_t num_channels, uint8_t decimation, int16_t *taps,
                           int32_t *history);

// Take one sample of all channels; true: `output` holds one sample at the lower rate, whose instant lies
// myofed_decimator_delay() input samples before this one. The first sample ever counts as having stood forever.
// Counts lie within ±2^30.
bool myofed_decimator_take(myofed_decimator_t *decimator, const int32_t *sample, int32_t *output);

// 10 output samples, in input samples.
uint32_t myofed_decimator_delay(const myofed_decimator_t *decimator);

// A second-order section in transposed direct form II.
typedef struct {
    float b0, b1, b2, a1, a2;
} myofed_biquad_t;

typedef struct {
    float s1, s2;
} myofed_biquad_state_t;

// Butterworth high-pass that takes the electrodes' offset away; 0 < cutoff_hz < sample_rate_hz / 2.
// Source: Bristow-Johnson, Cookbook formulae for audio EQ biquad filter coefficients.
myofed_biquad_t myofed_highpass(float cutoff_hz, float sample_rate_hz);

// Notch at the mains' frequency; the band between its points at 3 dB is mains_hz / quality wide.
// Source: Orfanidis 1996, Introduction to Signal Processing, section 11.3.
myofed_biquad_t myofed_notch(float mains_hz, float quality, float sample_rate_hz);

float myofed_biquad_run(const myofed_biquad_t *filter, myofed_biquad_state_t *state, float input);

// The state after the input stood at `input` forever: no transient at the start.
myofed_biquad_state_t myofed_biquad_settled(const myofed_biquad_t *filter, float input);

#ifdef __cplusplus
}
#endif
#endif
