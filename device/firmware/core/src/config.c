// What a board's configuration can be.
#include <math.h>
#include <string.h>

#include "myofed/board.h"

static bool is_text(const char *string) {
    return string != NULL && strlen(string) <= MYOFED_MAX_TEXT_BYTES && myofed_is_utf8(string, strlen(string));
}

// A level of MQTT topics, and nothing that no terminal shows.
static bool is_level(const char *text) {
    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f || c == '/' || c == '+' || c == '#') {
            return false;
        }
    }
    return true;
}

static bool is_board_id(const char *id) {
    return is_text(id) && id[0] != '\0' && strlen(id) <= MYOFED_MAX_BOARD_ID_BYTES && is_level(id);
}

static bool are_words(const char *words) {
    const size_t size = is_text(words) ? strlen(words) : 0;
    return is_text(words) && strstr(words, "  ") == NULL &&
           (size == 0 || (words[0] != ' ' && words[size - 1] != ' '));
}

static bool is_positive(double number) {
    return number > 0 && isfinite(number);
}

// Off, or a frequency that samples at this rate can hold.
static bool is_frequency(float frequency_hz, double sample_rate_hz) {
    return frequency_hz == 0 || (frequency_hz > 0 && frequency_hz < sample_rate_hz / 2);
}

static size_t frame_bytes(const myofed_config_t *config) {
    return MYOFED_SAMPLES_OVERHEAD_BYTES +
           (size_t)config->num_channels * config->sample_bytes * config->samples_per_frame;
}

const char *myofed_config_problem(const myofed_config_t *config) {
    const struct {
        bool holds;
        const char *otherwise;
    } rules[] = {
        {is_board_id(config->board_id), "board_id: expected 1 to 64 bytes of UTF-8 without '/', '+', '#' or control characters"},
        {is_text(config->firmware), "firmware: expected at most 255 bytes of UTF-8"},
        {are_words(config->capabilities), "capabilities: expected words with one space between two, at most 255 bytes"},
        {config->num_channels >= 1, "num_channels: expected 1 to 255"},
        {config->sample_bytes == 2 || config->sample_bytes == 3, "sample_bytes: expected 2 (int16) or 3 (int24)"},
        {config->decimation >= 1 && config->decimation <= MYOFED_MAX_DECIMATION, "decimation: expected 1 to 32"},
        {config->samples_per_frame >= 1, "samples_per_frame: expected at least 1"},
        {frame_bytes(config) <= MYOFED_MAX_PAYLOAD_BYTES,
         "samples_per_frame: a frame has at most 11,450 bytes, 20 + channels × bytes × samples"},
        {is_positive(config->sample_rate_hz), "sample_rate_hz: expected a positive number"},
        {is_positive(config->uv_per_count), "uv_per_count: expected a positive number"},
        {is_frequency(config->highpass_hz, config->sample_rate_hz),
         "highpass_hz: expected 0 (none) or less than half the sample rate"},
        {is_frequency(config->mains_hz, config->sample_rate_hz),
         "mains_hz: expected 0 (none) or less than half the sample rate"},
    };
    for (size_t i = 0; i < sizeof rules / sizeof rules[0]; i++) {
        if (!rules[i].holds) {
            return rules[i].otherwise;
        }
    }
    return NULL;
}
