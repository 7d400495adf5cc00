// What a board says when.
#include <string.h>

#include "board.h"
#include "test.h"

static const myofed_config_t CONFIG = {.board_id = "24:6f:28:aa:bb:cc",
                                       .firmware = "myofed 0.1.0",
                                       .capabilities = "identify restart",
                                       .num_channels = 4,
                                       .sample_bytes = 2,
                                       .decimation = 1,
                                       .samples_per_frame = 5,
                                       .sample_rate_hz = 1000,
                                       .uv_per_count = 0.195};
static heard_t heard;

static bool hear(void *context, myofed_kind_t kind, const uint8_t *payload, size_t size) {
    heard_t *into = context;
    if (into->blocked) {
        return false;
    }
    CHECK(into->num_sent < MAX_SENT && size <= sizeof into->payloads[0]);
    const int i = into->num_sent++;
    memcpy(into->payloads[i], payload, size);
    CHECK(myofed_frame_decode(into->payloads[i], size, &into->frames[i]) == MYOFED_OK);
    CHECK(into->frames[i].kind == (uint8_t)kind);
    into->num_of_kind[kind]++;
    return true;
}

static myofed_result_t platform(void *context, const char *name, const char *argument, char *answer, size_t capacity) {
    (void)context;
    if (strcmp(name, "identify") == 0) {
        myofed_answer(answer, capacity, "blinking ", argument, "");
        return MYOFED_DONE;
    }
    if (strcmp(name, "start") == 0 && strcmp(argument, "without electrodes") == 0) {
        myofed_answer(answer, capacity, "no electrodes", "", "");
        return MYOFED_REFUSED;
    }
    if (strcmp(name, "garble") == 0) {
        memset(answer, 0xff, capacity);
        return MYOFED_DONE;
    }
    return MYOFED_UNKNOWN;
}

static uint32_t memory[MYOFED_BOARD_MEMORY_BYTES(4, 2, 5, 1, 8) / 4];

void start_board(heard_t *into) {
    const myofed_hooks_t hooks = {.context = into, .send = hear, .command = platform};
    memset(into, 0, sizeof *into);
    CHECK(myofed_board_init(&into->board, &CONFIG, &hooks, memory, sizeof memory) == MYOFED_OK);
    poll_board(into, 0);
    CHECK(into->num_sent == 2 && into->num_of_kind[MYOFED_HELLO] == 1 && into->num_of_kind[MYOFED_STATUS] == 1);
}

void poll_board(heard_t *into, uint64_t now_us) {
    into->num_sent = 0;
    memset(into->num_of_kind, 0, sizeof into->num_of_kind);
    myofed_board_poll(&into->board, now_us);
}

void send_command(heard_t *into, uint32_t sequence, const char *name, const char *argument, uint64_t now_us) {
    const myofed_frame_t frame = {.version = 1,
                                  .kind = MYOFED_COMMAND,
                                  .sequence = sequence,
                                  .as.command = {myofed_text(name), myofed_text(argument)}};
    uint8_t payload[MYOFED_MAX_COMMAND_BYTES];
    size_t size = 0;
    CHECK(myofed_frame_encode(&frame, payload, sizeof payload, &size) == MYOFED_OK);
    myofed_board_receive(&into->board, payload, size, now_us);
}

static bool says(const myofed_frame_t *frame, uint32_t answers, bool accepted, const char *message) {
    const myofed_acknowledge_t *said = &frame->as.acknowledge;
    return frame->kind == MYOFED_ACKNOWLEDGE && said->answers == answers && said->accepted == accepted &&
           said->message.size == strlen(message) && memcmp(said->message.bytes, message, strlen(message)) == 0;
}

static void take(uint64_t time_us, size_t n) {
    static int32_t counts[1000 * 4];
    for (size_t i = 0; i < n * 4; i++) {
        counts[i] = (int32_t)i - 1000;
    }
    myofed_board_take(&heard.board, time_us, counts, n);
}

static void test_a_hello_says_what_was_configured(void) {
    start_board(&heard);
    const myofed_hello_t *hello = &heard.frames[0].as.hello;
    CHECK(hello->num_channels == 4 && hello->sample_bytes == 2 && hello->sample_rate_hz == 1000);
    CHECK(memcmp(hello->board_id.bytes, CONFIG.board_id, hello->board_id.size) == 0);
}

static void test_commands_are_answered_in_order(void) {
    start_board(&heard);
    send_command(&heard, 7, "hello", "", 10);
    send_command(&heard, 8, "identify", "red", 11);
    send_command(&heard, 9, "dance", "", 12);
    send_command(&heard, 10, "start", "without electrodes", 13);
    send_command(&heard, 11, "garble", "", 14);
    poll_board(&heard, 20);
    CHECK(heard.num_sent == 6 && heard.frames[0].kind == MYOFED_HELLO && heard.frames[0].sequence == 1);
    CHECK(says(&heard.frames[1], 7, true, "") && heard.frames[1].time_us == 10 && heard.frames[1].sequence == 0);
    CHECK(says(&heard.frames[2], 8, true, "blinking red") && heard.frames[2].sequence == 1);
    CHECK(says(&heard.frames[3], 9, false, "unknown command 'dance'"));
    CHECK(says(&heard.frames[4], 10, false, "no electrodes") && !heard.board.streaming);
    CHECK(says(&heard.frames[5], 11, true, "(a message that is no UTF-8)"));
}

static void test_samples_come_between_start_and_stop(void) {
    start_board(&heard);
    take(1000, 7);
    poll_board(&heard, 10);
    CHECK(heard.num_sent == 0);
    send_command(&heard, 0, "start", "", 10);
    take(20000, 12);
    poll_board(&heard, 30);
    CHECK(heard.num_of_kind[MYOFED_SAMPLES] == 2 && heard.num_of_kind[MYOFED_ACKNOWLEDGE] == 1);
    CHECK(heard.frames[1].time_us == 20000 && heard.frames[2].time_us == 25000);
    CHECK(heard.frames[1].sequence == 0 && heard.frames[2].sequence == 1);
    const uint8_t *data = heard.frames[1].as.samples.data;
    CHECK((int16_t)(data[0] | data[1] << 8) == -1000 && (int16_t)(data[38] | data[39] << 8) == -981);
    take(32000, 5);
    send_command(&heard, 1, "stop", "", 40);
    poll_board(&heard, 40);
    CHECK(heard.num_sent == 1 && says(&heard.frames[0], 1, true, ""));
    send_command(&heard, 2, "start", "", 50);
    take(50000, 5);
    poll_board(&heard, 50);
    CHECK(heard.num_sent == 2 && heard.frames[1].time_us == 50000);  // nothing left from before
    CHECK(heard.board.num_samples == 7 + 12 + 5 + 5 && heard.board.num_dropped == 0);
}

static void test_what_comes_late_is_counted_and_jumps_the_sequence(void) {
    start_board(&heard);
    send_command(&heard, 0, "start", "", 10);
    take(0, 60);  // 12 frames for a ring of 8
    send_command(&heard, 1, "status", "", 10);
    poll_board(&heard, 20);
    CHECK(heard.num_of_kind[MYOFED_SAMPLES] == 8 && heard.num_of_kind[MYOFED_STATUS] == 1);
    CHECK(heard.frames[2].as.status.num_dropped == 20 && heard.frames[2].as.status.num_samples == 60);
    CHECK(heard.frames[3].kind == MYOFED_SAMPLES && heard.frames[3].sequence == 4);
    CHECK(heard.frames[3].time_us == 20000);
    take(60000, 3);
    myofed_board_lose(&heard.board, 2);
    take(65000, 5);
    poll_board(&heard, 30);
    CHECK(heard.num_sent == 1 && heard.frames[0].sequence == 13 && heard.frames[0].time_us == 65000);
    CHECK(heard.board.num_dropped == 25 && heard.board.num_samples == 70);
}

static void test_what_cannot_be_sent_now_is_sent_later(void) {
    start_board(&heard);
    heard.blocked = true;
    send_command(&heard, 0, "hello", "", 10);
    send_command(&heard, 1, "start", "", 10);
    take(0, 10);
    poll_board(&heard, 2000000);
    CHECK(heard.num_sent == 0);
    heard.blocked = false;
    poll_board(&heard, 2000001);
    CHECK(heard.num_sent == 6 && heard.frames[0].kind == MYOFED_HELLO && heard.frames[0].sequence == 1);
    CHECK(heard.frames[3].kind == MYOFED_STATUS && heard.frames[5].kind == MYOFED_SAMPLES);
}

static void test_a_status_comes_once_a_second(void) {
    start_board(&heard);
    int num = 0;
    for (uint64_t now_us = 10000; now_us <= 10000000; now_us += 10000) {
        poll_board(&heard, now_us);
        num += heard.num_of_kind[MYOFED_STATUS];
    }
    CHECK(num == 10);
    poll_board(&heard, 5);  // a clock that jumped back
    CHECK(heard.num_of_kind[MYOFED_STATUS] == 1);
    myofed_board_report(&heard.board, 3700, "channel 2 clips");
    poll_board(&heard, 1000005);
    CHECK(heard.frames[0].as.status.battery_mv == 3700 && heard.frames[0].as.status.message.size == 15);
}

static void test_another_version_is_answered_with_a_hello(void) {
    start_board(&heard);
    uint8_t payload[MYOFED_MAX_COMMAND_BYTES];
    memcpy(payload + MYOFED_HEADER_BYTES, "\5start\0", 7);
    const size_t size = myofed_frame_seal(payload, 7, 2, MYOFED_COMMAND, 0, 0);
    myofed_board_receive(&heard.board, payload, size, 10);
    poll_board(&heard, 10);
    CHECK(heard.num_sent == 1 && heard.frames[0].kind == MYOFED_HELLO && heard.frames[0].version == 1);
    CHECK(!heard.board.streaming && heard.board.num_rejected == 1);
}

static void test_markers_and_a_full_outbox(void) {
    start_board(&heard);
    for (uint32_t i = 0; i < 20; i++) {
        myofed_board_mark(&heard.board, i, "Faust \xe2\x9c\x8a");
    }
    poll_board(&heard, 10);
    CHECK(heard.num_of_kind[MYOFED_MARKER] == MYOFED_OUTBOX_FRAMES);
    CHECK(heard.frames[MYOFED_OUTBOX_FRAMES - 1].sequence == 19);
}

static void test_zero_bytes_in_commands(void) {
    start_board(&heard);
    uint8_t payload[MYOFED_MAX_COMMAND_BYTES];
    memcpy(payload + MYOFED_HEADER_BYTES, "\6start\0\0", 8);
    myofed_board_receive(&heard.board, payload, myofed_frame_seal(payload, 8, 1, MYOFED_COMMAND, 5, 0), 10);
    poll_board(&heard, 10);
    CHECK(says(&heard.frames[0], 5, false, "a command with a zero byte in it") && !heard.board.streaming);
}

static void test_configurations_that_cannot_be(void) {
    myofed_config_t wrong[8];
    for (int i = 0; i < 8; i++) {
        wrong[i] = CONFIG;
    }
    wrong[0].board_id = "a/b";
    wrong[1].capabilities = "two  spaces";
    wrong[2].sample_bytes = 4;
    wrong[3].decimation = MYOFED_MAX_DECIMATION + 1;
    wrong[4].samples_per_frame = 1429;  // 11,452 bytes
    wrong[5].sample_rate_hz = 0;
    wrong[6].mains_hz = 500;
    wrong[7].firmware = "\xff";
    const myofed_hooks_t hooks = {.context = &heard, .send = hear};
    for (int i = 0; i < 8; i++) {
        CHECK(myofed_config_problem(&wrong[i]) != NULL);
        CHECK(myofed_board_init(&heard.board, &wrong[i], &hooks, memory, sizeof memory) == MYOFED_ERR_CONFIG);
    }
    CHECK(myofed_config_problem(&CONFIG) == NULL);
    const size_t least = MYOFED_BOARD_MEMORY_BYTES(4, 2, 5, 1, 1);
    CHECK(myofed_board_init(&heard.board, &CONFIG, &hooks, memory, least) == MYOFED_OK);
    CHECK(myofed_board_init(&heard.board, &CONFIG, &hooks, memory, least - 1) == MYOFED_ERR_SIZE);
    CHECK(myofed_board_init(&heard.board, &CONFIG, &hooks, (uint8_t *)memory + 2, least) == MYOFED_ERR_SIZE);
}

static void test_the_loudest_input_goes_through_all_filters(void) {
    static uint32_t room[MYOFED_BOARD_MEMORY_BYTES(4, 3, 5, 3, 8) / 4];
    myofed_config_t config = CONFIG;
    config.sample_bytes = 3;
    config.decimation = 3;
    config.highpass_hz = 20;
    config.mains_hz = 50;
    const myofed_hooks_t hooks = {.context = &heard, .send = hear};
    CHECK(myofed_board_init(&heard.board, &config, &hooks, room, sizeof room) == MYOFED_OK);
    send_command(&heard, 0, "start", "", 0);
    int32_t counts[15 * 4];
    for (uint64_t block = 0; block < 2000; block++) {
        for (int i = 0; i < 15 * 4; i++) {  // noise, then steps from end to end
            const int32_t step = (block / 7) % 2 == 0 ? 1 << 30 : -(1 << 30);
            counts[i] = block < 1000 ? (int32_t)noise() >> 1 : step;
        }
        myofed_board_take(&heard.board, 5000 * block, counts, 15);
        poll_board(&heard, 5000 * block);
        CHECK(heard.num_of_kind[MYOFED_SAMPLES] == 1);
    }
    CHECK(heard.board.num_samples == 10000 && heard.board.num_dropped == 0);
}

void test_boards(void) {
    test_the_loudest_input_goes_through_all_filters();
    test_a_hello_says_what_was_configured();
    test_commands_are_answered_in_order();
    test_samples_come_between_start_and_stop();
    test_what_comes_late_is_counted_and_jumps_the_sequence();
    test_what_cannot_be_sent_now_is_sent_later();
    test_a_status_comes_once_a_second();
    test_another_version_is_answered_with_a_hello();
    test_markers_and_a_full_outbox();
    test_zero_bytes_in_commands();
    test_configurations_that_cannot_be();
}
