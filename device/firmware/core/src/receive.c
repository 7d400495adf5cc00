// From what the gateway sends to answers in the outbox.
#include <string.h>

#include "outbox.h"

static myofed_result_t do_hello(void *board, const char *argument, char *answer, size_t capacity) {
    (void)argument, (void)answer, (void)capacity;
    ((myofed_board_t *)board)->hello_due = true;
    return MYOFED_DONE;
}

static myofed_result_t do_status(void *board, const char *argument, char *answer, size_t capacity) {
    (void)argument, (void)answer, (void)capacity;
    ((myofed_board_t *)board)->status_due = true;
    return MYOFED_DONE;
}

static myofed_result_t do_start(void *context, const char *argument, char *answer, size_t capacity) {
    (void)argument, (void)answer, (void)capacity;
    myofed_board_t *board = context;
    board->streaming = true;  // a stream that runs already goes on as it is
    return MYOFED_DONE;
}

static myofed_result_t do_stop(void *context, const char *argument, char *answer, size_t capacity) {
    (void)argument, (void)answer, (void)capacity;
    myofed_board_t *board = context;
    board->streaming = false;
    board->num_filled = 0;
    while (myofed_ring_oldest(&board->ring) != NULL) {  // nothing comes behind the answer
        myofed_ring_pop(&board->ring);
    }
    return MYOFED_DONE;
}

static const myofed_command_t COMMANDS[] = {
    {"hello", do_hello}, {"start", do_start}, {"status", do_status}, {"stop", do_stop}};

static myofed_result_t run(myofed_board_t *board, const char *name, const char *argument, char *answer,
                           size_t capacity) {
    const myofed_hooks_t *hooks = &board->hooks;
    const myofed_result_t platform =
        hooks->command == NULL ? MYOFED_UNKNOWN : hooks->command(hooks->context, name, argument, answer, capacity);
    if (platform == MYOFED_REFUSED) {
        return MYOFED_REFUSED;
    }
    const myofed_result_t core = myofed_command_run(COMMANDS, sizeof COMMANDS / sizeof COMMANDS[0], board, name,
                                                    argument, answer, capacity);
    if (core == MYOFED_UNKNOWN && platform == MYOFED_UNKNOWN) {
        myofed_answer(answer, capacity, "unknown command '", name, "'");
    }
    return core == MYOFED_UNKNOWN ? platform : core;
}

// A text as a string of MYOFED_MAX_TEXT_BYTES + 1; false where a zero stands in it.
static bool to_string(char *string, myofed_text_t text) {
    memcpy(string, text.bytes, text.size);
    string[text.size] = '\0';
    return memchr(text.bytes, 0, text.size) == NULL;
}

static void obey(myofed_board_t *board, const myofed_frame_t *command, uint64_t now_us) {
    enum { STRING = MYOFED_MAX_TEXT_BYTES + 1 };
    _Static_assert(sizeof board->scratch >= 3 * STRING, "name, argument and answer fit");
    char *name = (char *)board->scratch;
    char *argument = name + STRING;
    char *answer = argument + STRING;
    answer[0] = '\0';
    myofed_result_t result = MYOFED_REFUSED;
    if (to_string(name, command->as.command.name) && to_string(argument, command->as.command.argument)) {
        result = run(board, name, argument, answer, STRING);
    } else {
        myofed_answer(answer, STRING, "a command with a zero byte in it", "", "");
    }
    answer[STRING - 1] = '\0';
    myofed_frame_t frame = myofed_outbox_frame(board, MYOFED_ACKNOWLEDGE, now_us);
    frame.as.acknowledge =
        (myofed_acknowledge_t){command->sequence, result == MYOFED_DONE, myofed_text(myofed_outbox_clean(answer))};
    myofed_outbox_post(board, &frame);
}

void myofed_board_receive(myofed_board_t *board, const uint8_t *payload, size_t size, uint64_t now_us) {
    myofed_frame_t frame;
    const myofed_err_t error = myofed_frame_decode(payload, size, &frame);
    if (error == MYOFED_ERR_VERSION && frame.kind == MYOFED_COMMAND) {
        board->hello_due = true;  // which says what is spoken here
    }
    if (error != MYOFED_OK) {
        board->num_rejected++;
    } else if (frame.kind == MYOFED_COMMAND) {
        board->version = frame.version;
        obey(board, &frame, now_us);
    }
}

void myofed_board_receive_serial(myofed_board_t *board, const uint8_t *chunk, size_t size, uint64_t now_us) {
    const uint8_t *payload;
    size_t payload_size;
    while (myofed_line_next(&board->line, &chunk, &size, &payload, &payload_size)) {
        myofed_board_receive(board, payload, payload_size, now_us);
    }
}
