// A board: takes counts and commands, gives frames. Owns no port, no clock, no heap and no task; the platform
// calls it from one task, and gives it all of them.
//
//     static uint32_t memory[MYOFED_BOARD_MEMORY_BYTES(8, 2, 20, 4, 32) / 4];
//     static myofed_board_t board;
//     myofed_board_init(&board, &config, &hooks, memory, sizeof memory);
//     for (;;) {
//         myofed_board_take(&board, time_us, counts, n);              // from the converter
//         myofed_board_receive_serial(&board, bytes, size, now_us);   // from the gateway, any chunking
//         myofed_board_poll(&board, now_us);                          // calls hooks.send
//     }
#ifndef MYOFED_BOARD_H
#define MYOFED_BOARD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "myofed/command.h"
#include "myofed/error.h"
#include "myofed/filter.h"
#include "myofed/frame.h"
#include "myofed/line.h"
#include "myofed/ring.h"
#include "myofed/stuffing.h"

#ifdef __cplusplus
extern "C" {
#endif

#define MYOFED_STATUS_PERIOD_US 1000000
#define MYOFED_NOTCH_QUALITY 30.0f
#define MYOFED_MAX_BOARD_ID_BYTES 64  // it is a level of MQTT topics
// Answers and markers that wait for the next poll; the oldest gives way.
#ifndef MYOFED_OUTBOX_FRAMES
#define MYOFED_OUTBOX_FRAMES 6
#endif

// Strings are not copied: they outlive the board.
typedef struct {
    const char *board_id;      // unique and lasting, such as the MAC address; no '/', '+', '#'
    const char *firmware;      // name and version
    const char *capabilities;  // words with one space between two, or ""
    uint8_t num_channels;
    uint8_t sample_bytes;        // 2 (int16) or 3 (int24); counts beyond are clipped
    uint8_t decimation;          // input samples for one that is sent; 1: none
    uint16_t samples_per_frame;  // 20 ms: sample_rate_hz / 50
    double sample_rate_hz;       // of what is sent; the input's is this × decimation
    double uv_per_count;
    float highpass_hz;  // 0: none
    float mains_hz;     // notch at 50 or 60; 0: none
} myofed_config_t;

typedef struct {
    void *context;  // handed to each
    // Send a bare payload (over a serial line: myofed_stuff() it); false: not now, it is offered again at the
    // next poll. The payload is valid during the call only.
    bool (*send)(void *context, myofed_kind_t kind, const uint8_t *payload, size_t size);
    // What the platform knows: settings (get, set, save), restart, identify, … NULL: nothing. It is asked first:
    // it may refuse or add to the core's own commands (hello, start, stop, status), which are then done all the
    // same. The acknowledgement leaves at the next poll: restart after that one, not in here.
    myofed_result_t (*command)(void *context, const char *name, const char *argument, char *answer,
                               size_t capacity);
} myofed_hooks_t;

typedef struct {
    uint16_t size;
    uint8_t payload[MYOFED_MAX_ACKNOWLEDGE_BYTES];
} myofed_letter_t;

// To be read, not written, from outside.
typedef struct {
    myofed_config_t config;
    myofed_hooks_t hooks;
    myofed_decimator_t decimator;
    myofed_biquad_t highpass, notch;
    myofed_biquad_state_t *highpass_states, *notch_states;  // (num_channels,), NULL where off
    int32_t *sample;                                        // (num_channels,) at the lower rate
    myofed_ring_t ring;                                     // of samples payloads
    myofed_ring_t outbox;                                   // of myofed_letter_t
    myofed_letter_t letters[MYOFED_OUTBOX_FRAMES + 1];
    myofed_line_t line;
    uint8_t line_buffer[MYOFED_STUFFED_BYTES(MYOFED_MAX_COMMAND_BYTES)];
    uint8_t scratch[MYOFED_MAX_HELLO_BYTES];
    uint32_t sequences[MYOFED_NUM_KINDS + 1];  // the next one of each kind
    uint64_t frame_us;                         // instant of the first sample of the frame being filled
    uint64_t status_us;                        // when the last status was made
    uint64_t num_samples;
    uint32_t num_dropped;
    uint32_t num_rejected;  // beside the line's own
    uint16_t num_filled;    // samples in the frame being filled
    uint16_t battery_mv;
    uint8_t version;  // of the latest command
    bool streaming;
    bool settled;  // whether the filters have seen a sample
    bool hello_due;
    bool status_due;
    char message[MYOFED_MAX_TEXT_BYTES + 1];
} myofed_board_t;

// Bytes of one ring slot (a multiple of 4), and of a board's memory with a ring that holds `frames` frames.
#define MYOFED_SLOT_BYTES(channels, sample_bytes, samples_per_frame) \
    ((MYOFED_SAMPLES_OVERHEAD_BYTES + (size_t)(channels) * (sample_bytes) * (samples_per_frame) + 3) / 4 * 4)
#define MYOFED_FILTER_BYTES(channels, decimation)                                                              \
    ((size_t)(channels) * (4 * MYOFED_TAPS(decimation) + 4 + 2 * sizeof(myofed_biquad_state_t)) + \
     (MYOFED_TAPS(decimation) * 2 + 3) / 4 * 4)
#define MYOFED_BOARD_MEMORY_BYTES(channels, sample_bytes, samples_per_frame, decimation, frames) \
    (MYOFED_FILTER_BYTES(channels, decimation) +                                                 \
     ((size_t)(frames) + 1) * MYOFED_SLOT_BYTES(channels, sample_bytes, samples_per_frame))

// What is wrong with a configuration, as a sentence for people; NULL: nothing.
const char *myofed_config_problem(const myofed_config_t *config);

// Set a board up; a hello and a status leave with the first poll, samples after the command `start`.
// `memory`: aligned to 4, the board's from now on; the filters take their part, the ring all the rest.
// MYOFED_ERR_CONFIG: see above. MYOFED_ERR_SIZE: not aligned, or less than MYOFED_BOARD_MEMORY_BYTES for one frame.
myofed_err_t myofed_board_init(myofed_board_t *board, const myofed_config_t *config, const myofed_hooks_t *hooks,
                               void *memory, size_t memory_bytes);

// Take n samples of all channels, (n, num_channels) counts (within ±2^30) at the input rate, evenly spaced from
// `time_us` on.
// Counts of less than 16 bits may be shifted up before (and uv_per_count down): decimation then adds resolution.
void myofed_board_take(myofed_board_t *board, uint64_t time_us, const int32_t *counts, size_t n);

// n samples, at the rate that is sent, were lost before they could be taken (such as an overrun converter): they
// are counted, and the sequence jumps, so that the gateway sees the gap.
void myofed_board_lose(myofed_board_t *board, uint32_t n);

// Take one bare payload, as MQTT brings it.
void myofed_board_receive(myofed_board_t *board, const uint8_t *payload, size_t size, uint64_t now_us);

// Take bytes of a serial line, cut anywhere.
void myofed_board_receive_serial(myofed_board_t *board, const uint8_t *chunk, size_t size, uint64_t now_us);

// Hand what is due to hooks.send: hello, answers and markers, samples, and a status once a second.
void myofed_board_poll(myofed_board_t *board, uint64_t now_us);

// A gateway may be new (connected to a broker, a port was opened): hello and status leave with the next poll.
void myofed_board_announce(myofed_board_t *board);

// Put a marker into the outbox: a button, a trigger. The label is UTF-8.
void myofed_board_mark(myofed_board_t *board, uint64_t time_us, const char *label);

// What the next status says beside the counters; the message (a warning for people, or "") is copied.
void myofed_board_report(myofed_board_t *board, uint16_t battery_mv, const char *message);

#ifdef __cplusplus
}
#endif
#endif
