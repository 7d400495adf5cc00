// The commands that this board knows beside the core's own.
#ifndef MYOFED_BOARD_COMMANDS_H
#define MYOFED_BOARD_COMMANDS_H

#include <stddef.h>
#include <stdint.h>

#include "myofed/command.h"

// As words of the hello.
#define MB_CAPABILITIES "get set save restart identify student"

myofed_result_t mb_command(const char *name, const char *argument, char *answer, size_t capacity);

// Do what is due after a command: restart, blink. Called by the board's task in every turn.
void mb_commands_poll(int64_t now_us);

#endif
