// What the next status tells people: one line from each part of the board, from any task.
#ifndef MYOFED_BOARD_NOTICE_H
#define MYOFED_BOARD_NOTICE_H

#include <stdbool.h>
#include <stddef.h>

#define MB_NOTICE_BYTES 120

typedef enum { MB_NOTICE_POWER, MB_NOTICE_SIGNAL, MB_NOTICE_NETWORK, MB_NOTICE_STUDENT, MB_NUM_NOTICES } mb_notice_t;

// Say something, printf-like; "": all is well again. Cut to MB_NOTICE_BYTES - 1.
void mb_notice(mb_notice_t part, const char *format, ...) __attribute__((format(printf, 2, 3)));

// All of them, joined with "; ". False: as at the last call.
bool mb_notices(char *text, size_t capacity);

#endif
