// Inside a board: what its files share to make frames other than samples.
#ifndef MYOFED_OUTBOX_H
#define MYOFED_OUTBOX_H

#include "myofed/board.h"

// The next frame of a kind, its body still empty.
myofed_frame_t myofed_outbox_frame(const myofed_board_t *board, myofed_kind_t kind, uint64_t time_us);

// Encode a frame into the outbox.
void myofed_outbox_post(myofed_board_t *board, const myofed_frame_t *frame);

// The message, or one that says that it was no UTF-8.
const char *myofed_outbox_clean(const char *message);

#endif
