// Finds payloads in the bytes of a serial line, whatever the line did to the bytes between. Owns no port.
//
//     while (myofed_line_next(&line, &chunk, &left, &payload, &size)) {
//         error = myofed_frame_decode(payload, size, &frame);
//     }
#ifndef MYOFED_LINE_H
#define MYOFED_LINE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct {
    uint8_t *buffer;        // the stretch since the last delimiter
    size_t capacity;        // longer stretches are rejected
    size_t size;            // of the stretch; capacity + 1 once it is too long
    uint32_t num_rejected;  // stretches that were too long or no COBS
} myofed_line_t;

// `buffer` holds MYOFED_STUFFED_BYTES(the longest payload expected) and is the line's from now on.
void myofed_line_init(myofed_line_t *line, uint8_t *buffer, size_t capacity);

// Take bytes from the front of the chunk (any cut of the stream) up to the next payload.
// True: *payload, of *payload_size bytes, is valid until the next call. False: the chunk is used up.
bool myofed_line_next(myofed_line_t *line, const uint8_t **chunk, size_t *left, const uint8_t **payload,
                      size_t *payload_size);

#ifdef __cplusplus
}
#endif
#endif
