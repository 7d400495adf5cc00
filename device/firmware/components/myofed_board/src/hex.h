// Hexadecimal digits.
#ifndef MYOFED_BOARD_HEX_H
#define MYOFED_BOARD_HEX_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

// `size` bytes of exactly 2 × size digits; false: these are none.
bool mb_from_hex(const char *digits, uint8_t *bytes, size_t size);

#endif
