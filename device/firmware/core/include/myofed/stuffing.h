// COBS takes the zeros out of a payload, so that a zero can end it (Cheshire & Baker 1999, IEEE/ACM Trans.
// Networking 7(2), 159-172).
#ifndef MYOFED_STUFFING_H
#define MYOFED_STUFFING_H

#include <stddef.h>
#include <stdint.h>

#include "myofed/error.h"
#include "myofed/frame.h"

#ifdef __cplusplus
extern "C" {
#endif

// Bytes of a stuffed payload at most, without its delimiter: one more, and one for every 254.
#define MYOFED_STUFFED_BYTES(payload_bytes) ((payload_bytes) + (payload_bytes) / 254 + 1)
#define MYOFED_MAX_STUFFED_BYTES MYOFED_STUFFED_BYTES(MYOFED_MAX_PAYLOAD_BYTES)

// Write the payload without zeros, and the delimiter behind it, into `stuffed`, which holds
// MYOFED_STUFFED_BYTES(size) + 1; returns how many bytes to send.
size_t myofed_stuff(const uint8_t *payload, size_t size, uint8_t *stuffed);

// Undo it, in place, for the bytes between two delimiters; *payload_size is at most `size`.
// MYOFED_ERR_STUFFING: no COBS.
myofed_err_t myofed_unstuff(uint8_t *bytes, size_t size, size_t *payload_size);

#ifdef __cplusplus
}
#endif
#endif
