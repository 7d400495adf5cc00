// A board whose frames land here.
#ifndef MYOFED_TEST_BOARD_H
#define MYOFED_TEST_BOARD_H

#include "myofed/board.h"

enum { MAX_SENT = 128 };

typedef struct {
    myofed_board_t board;
    bool blocked;  // whether the line takes nothing now
    int num_sent;
    int num_of_kind[MYOFED_NUM_KINDS + 1];
    uint8_t payloads[MAX_SENT][1024];
    myofed_frame_t frames[MAX_SENT];
} heard_t;

// 4 channels, 1 kHz, int16, frames of 5 samples, a ring of 8 frames; hello and status are sent already.
void start_board(heard_t *heard);

void send_command(heard_t *heard, uint32_t sequence, const char *name, const char *argument, uint64_t now_us);

// Forget what was sent, poll, and decode what comes.
void poll_board(heard_t *heard, uint64_t now_us);

#endif
