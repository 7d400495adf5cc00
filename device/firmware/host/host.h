// The core as a shared library of this machine: what another language needs beside the core's own functions.
#ifndef MYOFED_HOST_H
#define MYOFED_HOST_H

#include "myofed/board.h"

// Begins with a board: a pointer to one is a pointer to the other.
typedef struct myofed_host myofed_host_t;

typedef myofed_result_t (*myofed_host_command_fn)(void *context, const char *name, const char *argument, char *answer,
                                                  size_t capacity);

// A board whose ring holds `ring_frames` frames; NULL: the configuration has a problem, or no memory is left.
// The strings of `config` outlive it; `command` may be NULL.
myofed_host_t *myofed_host_new(const myofed_config_t *config, uint32_t ring_frames, myofed_host_command_fn command);

void myofed_host_free(myofed_host_t *host);

// Poll the board; returns how many bytes *output points to, valid until the next call: for each payload its size
// (u16, little-endian), then the payload.
size_t myofed_host_poll(myofed_host_t *host, uint64_t now_us, const uint8_t **output);

#endif
