// The least that tests need: a check that says where it failed, and reproducible noise.
#ifndef MYOFED_TEST_H
#define MYOFED_TEST_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CHECK(condition) check((condition), #condition, __FILE__, __LINE__)

void check(bool holds, const char *what, const char *file, int line);

// The next number of a seeded sequence (xorshift32).
uint32_t noise(void);

void test_frames(void);
void test_lines(void);
void test_rings(void);
void test_filters(void);
void test_commands(void);
void test_boards(void);
void test_noise(void);

#endif
