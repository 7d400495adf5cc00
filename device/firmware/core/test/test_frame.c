// Frames and lines agree with the golden vectors that every implementation has to agree with.
#include <stdlib.h>
#include <string.h>

#include "myofed/crc32.h"
#include "myofed/frame.h"
#include "myofed/line.h"
#include "myofed/stuffing.h"
#include "test.h"

typedef struct {
    const uint8_t *bytes;
    size_t size;
} golden_bytes_t;

typedef struct {
    myofed_frame_t frame;
    golden_bytes_t payload, wire;
} golden_frame_t;

typedef struct {
    golden_bytes_t payload;
    int common_version;  // 0: none
} golden_newer_t;

typedef struct {
    golden_bytes_t bytes;
    int num_frames;
    const int *frames;
    uint32_t num_rejected;
} golden_stream_t;

#include "vectors.h"

static uint8_t stuffed[MYOFED_MAX_STUFFED_BYTES + 1];
static uint8_t buffer[MYOFED_MAX_STUFFED_BYTES];
static uint8_t written[MYOFED_MAX_PAYLOAD_BYTES];

static bool equal(golden_bytes_t golden, const uint8_t *bytes, size_t size) {
    return golden.size == size && memcmp(golden.bytes, bytes, size) == 0;
}

// A copy that ends where its memory ends, so that a sanitizer sees what reads beyond.
static myofed_err_t decode_exactly(golden_bytes_t payload, uint8_t **copy, myofed_frame_t *frame) {
    *copy = malloc(payload.size > 0 ? payload.size : 1);
    memcpy(*copy, payload.bytes, payload.size);
    return myofed_frame_decode(*copy, payload.size, frame);
}

static void test_golden_frames(void) {
    for (int i = 0; i < NUM_FRAMES; i++) {
        size_t size = 0;
        CHECK(myofed_frame_encode(&FRAMES[i].frame, written, sizeof written, &size) == MYOFED_OK);
        CHECK(equal(FRAMES[i].payload, written, size));
        CHECK(equal(FRAMES[i].wire, stuffed, myofed_stuff(written, size, stuffed)));
        CHECK(myofed_frame_encode(&FRAMES[i].frame, written, size - 1, &size) == MYOFED_ERR_SIZE);
        uint8_t *copy;
        myofed_frame_t frame;
        CHECK(decode_exactly(FRAMES[i].payload, &copy, &frame) == MYOFED_OK);
        CHECK(myofed_frame_encode(&frame, written, sizeof written, &size) == MYOFED_OK);
        CHECK(equal(FRAMES[i].payload, written, size));
        free(copy);
    }
}

static void test_every_cut_of_a_golden_frame_is_refused(void) {
    for (int i = 0; i < NUM_FRAMES; i++) {
        const size_t size = FRAMES[i].payload.size < 400 ? FRAMES[i].payload.size : 400;
        for (size_t cut = 0; cut < size; cut++) {
            uint8_t *copy;
            myofed_frame_t frame;
            CHECK(decode_exactly((golden_bytes_t){FRAMES[i].payload.bytes, cut}, &copy, &frame) != MYOFED_OK);
            free(copy);
        }
    }
}

static void test_golden_payloads_that_are_no_frame(void) {
    for (int i = 0; i < NUM_REJECTED; i++) {
        uint8_t *copy;
        myofed_frame_t frame;
        CHECK(decode_exactly(REJECTED[i], &copy, &frame) != MYOFED_OK);
        free(copy);
    }
}

static void test_golden_frames_of_newer_versions(void) {
    for (int i = 0; i < NUM_NEWER; i++) {
        uint8_t *copy;
        myofed_frame_t frame;
        const myofed_err_t error = decode_exactly(NEWER[i].payload, &copy, &frame);
        CHECK(error == (frame.kind == MYOFED_HELLO ? MYOFED_OK : MYOFED_ERR_VERSION));
        if (error == MYOFED_OK) {
            const bool common = frame.as.hello.oldest_version <= MYOFED_NEWEST_VERSION;
            CHECK(common == (NEWER[i].common_version != 0));
        }
        free(copy);
    }
}

// What a stream gives when it comes in chunks of `step`.
static void check_stream(const golden_stream_t *stream, size_t step) {
    myofed_line_t line;
    myofed_line_init(&line, buffer, sizeof buffer);
    uint32_t num_rejected = 0;
    int num_frames = 0;
    for (size_t at = 0; at < stream->bytes.size; at += step) {
        const uint8_t *chunk = stream->bytes.bytes + at;
        size_t left = stream->bytes.size - at < step ? stream->bytes.size - at : step;
        const uint8_t *payload;
        size_t size;
        while (myofed_line_next(&line, &chunk, &left, &payload, &size)) {
            myofed_frame_t frame;
            if (myofed_frame_decode(payload, size, &frame) != MYOFED_OK) {
                num_rejected++;
            } else {
                CHECK(num_frames < stream->num_frames &&
                      equal(FRAMES[stream->frames[num_frames]].payload, payload, size));
                num_frames++;
            }
        }
        CHECK(left == 0);
    }
    CHECK(num_frames == stream->num_frames);
    CHECK(num_rejected + line.num_rejected == stream->num_rejected);
}

static void test_golden_streams(void) {
    for (int i = 0; i < NUM_STREAMS; i++) {
        check_stream(&STREAMS[i], 1);
        check_stream(&STREAMS[i], 7);
        check_stream(&STREAMS[i], 1000000);
    }
}

static void test_crc_by_hand(void) {
    CHECK(myofed_crc32((const uint8_t *)"123456789", 9) == 0xcbf43926u);  // the check value of CRC-32
    CHECK(myofed_crc32(NULL, 0) == 0);
}

static void test_every_size_survives_stuffing(void) {
    for (size_t size = 0; size < 1100; size++) {
        for (int zeros = 0; zeros < 3; zeros++) {  // none, some, only
            for (size_t i = 0; i < size; i++) {
                written[i] = zeros == 2 || (zeros == 1 && noise() % 300 == 0) ? 0 : (uint8_t)(1 + noise() % 255);
            }
            const size_t sent = myofed_stuff(written, size, stuffed);
            CHECK(sent <= MYOFED_STUFFED_BYTES(size) + 1);
            CHECK(memchr(stuffed, 0, sent) == stuffed + sent - 1);
            size_t payload_size = 0;
            CHECK(myofed_unstuff(stuffed, sent - 1, &payload_size) == MYOFED_OK);
            CHECK(equal((golden_bytes_t){written, size}, stuffed, payload_size));
        }
    }
}

static void test_texts_are_cut_at_a_whole_character(void) {
    char long_text[300];
    memset(long_text, 'x', sizeof long_text - 1);
    long_text[299] = '\0';
    CHECK(myofed_text(long_text).size == 255);
    memcpy(long_text + 253, "\xe6\x8b\xb3", 3);  // three bytes over the end
    CHECK(myofed_text(long_text).size == 253);
    CHECK(myofed_text("").size == 0);
}

static void test_utf8(void) {
    CHECK(myofed_is_utf8("a\xc3\xbc\xe6\x8b\xb3\xf0\x9f\x98\x80", 10));
    const char *wrong[] = {"\x80", "\xc0\xaf", "\xe0\x80\xaf", "\xed\xa0\x80", "\xf4\x90\x80\x80", "\xc3", "\xf5\x80\x80\x80"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        CHECK(!myofed_is_utf8(wrong[i], strlen(wrong[i])));
    }
}

void test_frames(void) {
    test_crc_by_hand();
    test_utf8();
    test_texts_are_cut_at_a_whole_character();
    test_golden_frames();
    test_every_cut_of_a_golden_frame_is_refused();
    test_golden_payloads_that_are_no_frame();
    test_golden_frames_of_newer_versions();
}

void test_lines(void) {
    test_every_size_survives_stuffing();
    test_golden_streams();
}
