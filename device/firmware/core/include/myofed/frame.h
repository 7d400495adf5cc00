// Frames: the bytes that a board and its gateway exchange. The layout, in words, is in docs/frame.md.
//
// A payload is version, kind, sequence, time, body, CRC; MQTT carries it bare, a serial line as COBS with a zero
// behind it (stuffing.h, line.h).
#ifndef MYOFED_FRAME_H
#define MYOFED_FRAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "myofed/error.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MYOFED_OLDEST_VERSION 1
#define MYOFED_NEWEST_VERSION 1

#define MYOFED_HEADER_BYTES 14
#define MYOFED_CRC_BYTES 4
#define MYOFED_MIN_PAYLOAD_BYTES (MYOFED_HEADER_BYTES + MYOFED_CRC_BYTES)
// That far the CRC finds every error of three bits (Koopman 2002).
#define MYOFED_MAX_PAYLOAD_BYTES 11450
#define MYOFED_MAX_TEXT_BYTES 255
// The longest hello (three texts), command (two) and acknowledgement.
#define MYOFED_MAX_HELLO_BYTES (MYOFED_MIN_PAYLOAD_BYTES + 20 + 3 * (1 + MYOFED_MAX_TEXT_BYTES))
#define MYOFED_MAX_COMMAND_BYTES (MYOFED_MIN_PAYLOAD_BYTES + 2 * (1 + MYOFED_MAX_TEXT_BYTES))
#define MYOFED_MAX_ACKNOWLEDGE_BYTES (MYOFED_MIN_PAYLOAD_BYTES + 5 + 1 + MYOFED_MAX_TEXT_BYTES)
#define MYOFED_SAMPLES_BODY_AT (MYOFED_HEADER_BYTES + 2)
#define MYOFED_SAMPLES_OVERHEAD_BYTES (MYOFED_SAMPLES_BODY_AT + MYOFED_CRC_BYTES)

typedef enum {
    MYOFED_HELLO = 1,
    MYOFED_SAMPLES = 2,
    MYOFED_STATUS = 3,
    MYOFED_COMMAND = 4,
    MYOFED_ACKNOWLEDGE = 5,
    MYOFED_MARKER = 6,
} myofed_kind_t;
#define MYOFED_NUM_KINDS 6

// UTF-8 of at most 255 bytes, without a zero behind it; points into what it was read from.
typedef struct {
    const char *bytes;
    uint8_t size;
} myofed_text_t;

typedef struct {
    uint8_t oldest_version;
    uint8_t newest_version;
    uint8_t sample_bytes;  // 2 (int16) or 3 (int24)
    uint8_t num_channels;
    double sample_rate_hz;
    double uv_per_count;
    myofed_text_t board_id;
    myofed_text_t firmware;
    myofed_text_t capabilities;  // words with one space between two
} myofed_hello_t;

typedef struct {
    uint8_t sample_bytes;
    uint8_t num_channels;
    const uint8_t *data;  // little-endian counts, all channels of one sample side by side
    size_t size;          // bytes of data
} myofed_samples_t;

typedef struct {
    bool streaming;
    uint64_t num_samples;   // taken since the start
    uint32_t num_dropped;   // of these, lost on the board
    uint32_t num_rejected;  // frames from the gateway that were none
    uint16_t battery_mv;    // 0: none
    myofed_text_t message;
} myofed_status_t;

typedef struct {
    myofed_text_t name;
    myofed_text_t argument;
} myofed_command_frame_t;

typedef struct {
    uint32_t answers;  // sequence of the command
    bool accepted;
    myofed_text_t message;
} myofed_acknowledge_t;

typedef struct {
    myofed_text_t label;
} myofed_marker_t;

typedef struct {
    uint8_t version;
    uint8_t kind;       // myofed_kind_t
    uint32_t sequence;  // counts the frames of this kind; wraps
    uint64_t time_us;   // the sender's clock; of samples, the instant of the first
    union {
        myofed_hello_t hello;
        myofed_samples_t samples;
        myofed_status_t status;
        myofed_command_frame_t command;
        myofed_acknowledge_t acknowledge;
        myofed_marker_t marker;
    } as;
} myofed_frame_t;

// A zero-terminated string as a text: cut to 255 bytes at a whole character.
myofed_text_t myofed_text(const char *string);

// Whether these bytes are UTF-8 (shortest forms only, no surrogates, up to U+10FFFF).
bool myofed_is_utf8(const char *bytes, size_t size);

// Write the frame as one bare payload of *size bytes.
// MYOFED_ERR_SIZE: it exceeds capacity or MYOFED_MAX_PAYLOAD_BYTES. MYOFED_ERR_KIND, MYOFED_ERR_BODY: a frame
// that no decoder would accept.
myofed_err_t myofed_frame_encode(const myofed_frame_t *frame, uint8_t *payload, size_t capacity, size_t *size);

// Write version, kind, sequence and time in front of a body that stands at MYOFED_HEADER_BYTES already, and
// the CRC behind it; returns the payload's size. The buffer holds body_size + MYOFED_MIN_PAYLOAD_BYTES.
size_t myofed_frame_seal(uint8_t *payload, size_t body_size, uint8_t version, myofed_kind_t kind, uint32_t sequence,
                         uint64_t time_us);

// Read one bare payload; texts and samples of *frame point into it. Hellos are read whatever their version.
// With MYOFED_ERR_VERSION the version, kind, sequence and time of *frame are valid, with other errors nothing.
myofed_err_t myofed_frame_decode(const uint8_t *payload, size_t size, myofed_frame_t *frame);

#ifdef __cplusplus
}
#endif
#endif
