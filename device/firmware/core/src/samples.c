// From counts to samples frames in the ring.
#include <string.h>

#include "myofed/board.h"

static void settle(myofed_board_t *board, size_t channel, float input) {
    board->highpass_states[channel] = myofed_biquad_settled(&board->highpass, input);
    const float passed = board->config.highpass_hz > 0 ? 0 : input;
    board->notch_states[channel] = myofed_biquad_settled(&board->notch, passed);
}

// Clipped to ±2^30, like all counts.
static int32_t rounded(float value) {
    const float limit = 1073741824.0f;
    if (!(value > -limit && value < limit)) {
        return value < 0 ? -(INT32_C(1) << 30) : INT32_C(1) << 30;
    }
    return (int32_t)(value < 0 ? value - 0.5f : value + 0.5f);
}

// High-pass and notch, in place.
static void filter(myofed_board_t *board, int32_t *sample) {
    for (size_t c = 0; c < board->config.num_channels; c++) {
        float value = (float)sample[c];
        if (!board->settled) {
            settle(board, c, value);
        }
        if (board->config.highpass_hz > 0) {
            value = myofed_biquad_run(&board->highpass, &board->highpass_states[c], value);
        }
        if (board->config.mains_hz > 0) {
            value = myofed_biquad_run(&board->notch, &board->notch_states[c], value);
        }
        sample[c] = rounded(value);
    }
    board->settled = true;
}

static void finish_frame(myofed_board_t *board) {
    const myofed_config_t *config = &board->config;
    uint8_t *payload = myofed_ring_filling(&board->ring);
    const size_t size = (size_t)config->samples_per_frame * config->num_channels * config->sample_bytes;
    payload[MYOFED_HEADER_BYTES] = config->sample_bytes;
    payload[MYOFED_HEADER_BYTES + 1] = config->num_channels;
    // Numbered now, not when it is sent: a frame that gives way leaves a jump in the sequence.
    myofed_frame_seal(payload, MYOFED_SAMPLES_BODY_AT - MYOFED_HEADER_BYTES + size, board->version, MYOFED_SAMPLES,
                      board->sequences[MYOFED_SAMPLES]++, board->frame_us);
    if (myofed_ring_push(&board->ring)) {
        board->num_dropped += config->samples_per_frame;
    }
    board->num_filled = 0;
}

static void pack(myofed_board_t *board, const int32_t *sample) {
    const uint8_t num_bytes = board->config.sample_bytes;
    const int32_t limit = INT32_C(1) << (8 * num_bytes - 1);
    const size_t size = (size_t)board->config.num_channels * num_bytes;
    uint8_t *at = myofed_ring_filling(&board->ring) + MYOFED_SAMPLES_BODY_AT + board->num_filled * size;
    for (size_t c = 0; c < board->config.num_channels; c++) {
        const int32_t count = sample[c] < -limit ? -limit : sample[c] >= limit ? limit - 1 : sample[c];
        at[0] = (uint8_t)count;
        at[1] = (uint8_t)((uint32_t)count >> 8);
        if (num_bytes == 3) {
            at[2] = (uint8_t)((uint32_t)count >> 16);
        }
        at += num_bytes;
    }
    if (++board->num_filled == board->config.samples_per_frame) {
        finish_frame(board);
    }
}

// The instant of what leaves the decimator with input sample i of a block that begins at time_us.
static uint64_t instant(const myofed_board_t *board, uint64_t time_us, size_t i) {
    const double period_us = 1e6 / (board->config.sample_rate_hz * board->config.decimation);
    const uint64_t late_us = (uint64_t)(myofed_decimator_delay(&board->decimator) * period_us + 0.5);
    const uint64_t now_us = time_us + (uint64_t)((double)i * period_us + 0.5);
    return now_us > late_us ? now_us - late_us : 0;
}

void myofed_board_take(myofed_board_t *board, uint64_t time_us, const int32_t *counts, size_t n) {
    const myofed_config_t *config = &board->config;
    const bool filters = config->highpass_hz > 0 || config->mains_hz > 0;
    const size_t bytes = config->num_channels * sizeof *counts;
    for (size_t i = 0; i < n; i++) {
        const int32_t *sample = counts + i * config->num_channels;
        if (config->decimation > 1) {
            if (!myofed_decimator_take(&board->decimator, sample, board->sample)) {
                continue;
            }
            sample = board->sample;
        }
        if (filters) {  // also while nobody listens: a stream starts settled
            memmove(board->sample, sample, bytes);
            filter(board, board->sample);
            sample = board->sample;
        }
        board->num_samples++;
        if (board->streaming) {
            board->frame_us = board->num_filled == 0 ? instant(board, time_us, i) : board->frame_us;
            pack(board, sample);
        }
    }
}

void myofed_board_lose(myofed_board_t *board, uint32_t n) {
    board->num_samples += n;
    board->num_dropped += n;
    if (board->streaming) {  // samples of one frame are evenly spaced: the one begun cannot be gone on with
        board->num_dropped += board->num_filled;
        board->num_filled = 0;
        board->sequences[MYOFED_SAMPLES]++;
    }
    board->decimator.settled = false;
    board->decimator.phase = 0;
    board->settled = false;
}
