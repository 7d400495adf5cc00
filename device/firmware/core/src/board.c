#include "myofed/board.h"

#include <string.h>

#include "outbox.h"

// --- Setting up -------------------------------------------------------------------------------------------------

typedef struct {
    uint8_t *at;
    size_t left;
} room_t;

static void *part(room_t *room, size_t size) {
    void *at = room->at;
    room->at += size;
    room->left -= size;
    return at;
}

static void place_filters(myofed_board_t *board, room_t *room) {
    const myofed_config_t *config = &board->config;
    const size_t channels = config->num_channels;
    const size_t num_taps = MYOFED_TAPS(config->decimation);
    const float rate_hz = (float)config->sample_rate_hz;
    int16_t *taps = part(room, (num_taps * sizeof *taps + 3) / 4 * 4);
    int32_t *history = part(room, channels * num_taps * sizeof *history);
    myofed_decimator_init(&board->decimator, config->num_channels, config->decimation, taps, history);
    board->sample = part(room, channels * sizeof *board->sample);
    board->highpass_states = part(room, channels * sizeof *board->highpass_states);
    board->notch_states = part(room, channels * sizeof *board->notch_states);
    if (config->highpass_hz > 0) {
        board->highpass = myofed_highpass(config->highpass_hz, rate_hz);
    }
    if (config->mains_hz > 0) {
        board->notch = myofed_notch(config->mains_hz, MYOFED_NOTCH_QUALITY, rate_hz);
    }
}

static void place_rings(myofed_board_t *board, const room_t *room, size_t slot_bytes) {
    myofed_ring_init(&board->ring, room->at, slot_bytes, (uint32_t)(room->left / slot_bytes));
    myofed_ring_init(&board->outbox, (uint8_t *)board->letters, sizeof board->letters[0], MYOFED_OUTBOX_FRAMES + 1);
    myofed_line_init(&board->line, board->line_buffer, sizeof board->line_buffer);
}

myofed_err_t myofed_board_init(myofed_board_t *board, const myofed_config_t *config, const myofed_hooks_t *hooks,
                               void *memory, size_t memory_bytes) {
    if (myofed_config_problem(config) != NULL) {
        return MYOFED_ERR_CONFIG;
    }
    const uint8_t channels = config->num_channels;
    const uint8_t sample_bytes = config->sample_bytes;
    const uint16_t samples = config->samples_per_frame;
    if ((uintptr_t)memory % 4 != 0 ||
        memory_bytes < MYOFED_BOARD_MEMORY_BYTES(channels, sample_bytes, samples, config->decimation, 1)) {
        return MYOFED_ERR_SIZE;
    }
    memset(board, 0, sizeof *board);
    board->config = *config;
    board->hooks = *hooks;
    board->version = MYOFED_NEWEST_VERSION;
    room_t room = {memory, memory_bytes};
    place_filters(board, &room);
    place_rings(board, &room, MYOFED_SLOT_BYTES(channels, sample_bytes, samples));
    myofed_board_announce(board);
    return MYOFED_OK;
}

// --- Outbox -----------------------------------------------------------------------------------------------------

void myofed_outbox_post(myofed_board_t *board, const myofed_frame_t *frame) {
    myofed_letter_t *letter = (void *)myofed_ring_filling(&board->outbox);
    size_t size;
    if (myofed_frame_encode(frame, letter->payload, sizeof letter->payload, &size) == MYOFED_OK) {
        letter->size = (uint16_t)size;
        board->sequences[frame->kind]++;
        myofed_ring_push(&board->outbox);
    }
}

myofed_frame_t myofed_outbox_frame(const myofed_board_t *board, myofed_kind_t kind, uint64_t time_us) {
    return (myofed_frame_t){.version = board->version,
                            .kind = (uint8_t)kind,
                            .sequence = board->sequences[kind],
                            .time_us = time_us};
}

const char *myofed_outbox_clean(const char *message) {
    return myofed_is_utf8(message, strlen(message)) ? message : "(a message that is no UTF-8)";
}

void myofed_board_announce(myofed_board_t *board) {
    board->hello_due = true;
    board->status_due = true;
}

void myofed_board_mark(myofed_board_t *board, uint64_t time_us, const char *label) {
    myofed_frame_t frame = myofed_outbox_frame(board, MYOFED_MARKER, time_us);
    frame.as.marker.label = myofed_text(label);
    myofed_outbox_post(board, &frame);
}

void myofed_board_report(myofed_board_t *board, uint16_t battery_mv, const char *message) {
    board->battery_mv = battery_mv;
    myofed_answer(board->message, sizeof board->message, myofed_outbox_clean(message), "", "");
}

// --- Sending ----------------------------------------------------------------------------------------------------

static bool send(const myofed_board_t *board, myofed_kind_t kind, const uint8_t *payload, size_t size) {
    return board->hooks.send(board->hooks.context, kind, payload, size);
}

static bool send_frame(myofed_board_t *board, const myofed_frame_t *frame) {
    size_t size;
    const bool sent = myofed_frame_encode(frame, board->scratch, sizeof board->scratch, &size) == MYOFED_OK &&
                      send(board, (myofed_kind_t)frame->kind, board->scratch, size);
    board->sequences[frame->kind] += sent;
    return sent;
}

static bool send_hello(myofed_board_t *board, uint64_t now_us) {
    const myofed_config_t *config = &board->config;
    myofed_frame_t frame = myofed_outbox_frame(board, MYOFED_HELLO, now_us);
    frame.as.hello = (myofed_hello_t){.oldest_version = MYOFED_OLDEST_VERSION,
                                      .newest_version = MYOFED_NEWEST_VERSION,
                                      .sample_bytes = config->sample_bytes,
                                      .num_channels = config->num_channels,
                                      .sample_rate_hz = config->sample_rate_hz,
                                      .uv_per_count = config->uv_per_count,
                                      .board_id = myofed_text(config->board_id),
                                      .firmware = myofed_text(config->firmware),
                                      .capabilities = myofed_text(config->capabilities)};
    board->hello_due = !send_frame(board, &frame);
    return !board->hello_due;
}

static bool send_status(myofed_board_t *board, uint64_t now_us) {
    myofed_frame_t frame = myofed_outbox_frame(board, MYOFED_STATUS, now_us);
    frame.as.status = (myofed_status_t){.streaming = board->streaming,
                                        .num_samples = board->num_samples,
                                        .num_dropped = board->num_dropped,
                                        .num_rejected = board->num_rejected + board->line.num_rejected,
                                        .battery_mv = board->battery_mv,
                                        .message = myofed_text(board->message)};
    board->status_us = now_us;
    board->status_due = !send_frame(board, &frame);
    return !board->status_due;
}

static bool send_letters(myofed_board_t *board) {
    const myofed_letter_t *letter;
    while ((letter = (const void *)myofed_ring_oldest(&board->outbox)) != NULL) {
        if (!send(board, (myofed_kind_t)letter->payload[1], letter->payload, letter->size)) {
            return false;
        }
        myofed_ring_pop(&board->outbox);
    }
    return true;
}

static void send_samples(myofed_board_t *board) {
    const myofed_config_t *config = &board->config;
    const size_t size = MYOFED_SAMPLES_OVERHEAD_BYTES +
                        (size_t)config->samples_per_frame * config->num_channels * config->sample_bytes;
    const uint8_t *payload;
    while ((payload = myofed_ring_oldest(&board->ring)) != NULL && send(board, MYOFED_SAMPLES, payload, size)) {
        myofed_ring_pop(&board->ring);
    }
}

void myofed_board_poll(myofed_board_t *board, uint64_t now_us) {
    // Unsigned: a clock that jumped back makes a status due, too.
    const bool status = board->status_due || now_us - board->status_us >= MYOFED_STATUS_PERIOD_US;
    // Samples last: what a slow line leaves behind are they, and a status tells of it.
    if ((!board->hello_due || send_hello(board, now_us)) && send_letters(board) &&
        (!status || send_status(board, now_us))) {
        send_samples(board);
    }
}
