// Any bytes, cut anywhere: a board neither reads nor writes out of bounds, counts, and obeys the next command.
#include <stdlib.h>
#include <string.h>

#include "board.h"
#include "test.h"

#ifndef NOISE_BYTES
#define NOISE_BYTES 2000000
#endif
enum { MAX_CHUNK = 700 };

static heard_t heard;

// Bytes that end where their memory ends.
static void feed(const uint8_t *bytes, size_t size) {
    uint8_t *chunk = malloc(size > 0 ? size : 1);
    memcpy(chunk, bytes, size);
    myofed_board_receive_serial(&heard.board, chunk, size, 1);
    free(chunk);
}

// A body with the right CRC around it: what only a sender with a bug makes, and what gets furthest inside.
static size_t sealed_noise(uint8_t *wire) {
    uint8_t payload[128];
    const size_t body_size = noise() % 100;
    for (size_t i = 0; i < body_size; i++) {
        payload[MYOFED_HEADER_BYTES + i] = (uint8_t)(noise() % (noise() % 2 == 0 ? 8 : 256));
    }
    const size_t size = myofed_frame_seal(payload, body_size, (uint8_t)(noise() % 3), noise() % 8, noise(), noise());
    return myofed_stuff(payload, size, wire);
}

// A valid command, hit in some places or none.
static size_t hit_command(uint8_t *wire) {
    uint8_t payload[MYOFED_MAX_COMMAND_BYTES];
    static const char *names[] = {"hello", "start", "stop", "status", "identify", "dance"};
    const myofed_frame_t frame = {.version = 1,
                                  .kind = MYOFED_COMMAND,
                                  .as.command = {myofed_text(names[noise() % 6]), myofed_text("argument")}};
    size_t size = 0;
    CHECK(myofed_frame_encode(&frame, payload, sizeof payload, &size) == MYOFED_OK);
    const size_t sent = myofed_stuff(payload, size, wire);
    for (uint32_t hits = noise() % 4; hits > 0; hits--) {
        wire[noise() % sent] ^= (uint8_t)(1u << noise() % 8);
    }
    return sent;
}

static size_t plain_noise(uint8_t *wire) {
    const size_t size = noise() % MAX_CHUNK;
    const uint32_t zeros = noise() % 2 == 0 ? 16 : 100000;  // many delimiters, or next to none
    for (size_t i = 0; i < size; i++) {
        wire[i] = noise() % zeros == 0 ? 0 : (uint8_t)noise();
    }
    return size;
}

void test_noise(void) {
    static size_t (*const makers[])(uint8_t *) = {plain_noise, sealed_noise, hit_command};
    start_board(&heard);
    uint8_t wire[MAX_CHUNK];
    int32_t counts[4 * 8];
    for (long fed = 0; fed < NOISE_BYTES;) {
        const size_t size = makers[noise() % 3](wire);
        const size_t cut = size > 0 ? noise() % size : 0;
        feed(wire, cut);
        feed(wire + cut, size - cut);
        fed += (long)size;
        for (int i = 0; i < 32; i++) {
            counts[i] = (int32_t)noise() >> 1;
        }
        myofed_board_take(&heard.board, noise(), counts, noise() % 9);
        poll_board(&heard, (uint64_t)fed * 100);  // which decodes all that is sent
    }
    CHECK(heard.board.num_rejected > NOISE_BYTES / 2000 && heard.board.line.num_rejected > NOISE_BYTES / 2000);
    feed((const uint8_t *)"", 1);
    poll_board(&heard, 0);
    send_command(&heard, 99, "status", "", 1);
    poll_board(&heard, 1);
    CHECK(heard.num_of_kind[MYOFED_ACKNOWLEDGE] == 1 && heard.num_of_kind[MYOFED_STATUS] == 1);
}
