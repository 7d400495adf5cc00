#include "host.h"

#include <stdlib.h>
#include <string.h>

enum { SIZE_BYTES = 2 };

struct myofed_host {
    myofed_board_t board;
    void *memory;
    uint8_t *output;
    size_t output_size;
    size_t output_capacity;
};

static bool collect(void *context, myofed_kind_t kind, const uint8_t *payload, size_t size) {
    myofed_host_t *host = context;
    (void)kind;  // the second byte of the payload
    if (size + SIZE_BYTES > host->output_capacity - host->output_size) {
        return false;
    }
    uint8_t *at = host->output + host->output_size;
    at[0] = (uint8_t)size;
    at[1] = (uint8_t)(size >> 8);
    memcpy(at + SIZE_BYTES, payload, size);
    host->output_size += SIZE_BYTES + size;
    return true;
}

// All that a poll can send: hello, status, answers and a full ring.
static size_t most_output(size_t ring_bytes, uint32_t ring_frames) {
    return ring_bytes + SIZE_BYTES * ((size_t)ring_frames + 1) +
           2 * (SIZE_BYTES + MYOFED_MAX_HELLO_BYTES) + (MYOFED_OUTBOX_FRAMES + 1) * sizeof(myofed_letter_t);
}

static bool furnish(myofed_host_t *host, const myofed_config_t *config, uint32_t ring_frames,
                    myofed_host_command_fn command) {
    const size_t size = MYOFED_BOARD_MEMORY_BYTES(config->num_channels, config->sample_bytes,
                                                  config->samples_per_frame, config->decimation, ring_frames);
    const myofed_hooks_t hooks = {.context = host, .send = collect, .command = command};
    host->memory = malloc(size);
    host->output_capacity = most_output(size, ring_frames);
    host->output = malloc(host->output_capacity);
    return host->memory != NULL && host->output != NULL &&
           myofed_board_init(&host->board, config, &hooks, host->memory, size) == MYOFED_OK;
}

myofed_host_t *myofed_host_new(const myofed_config_t *config, uint32_t ring_frames, myofed_host_command_fn command) {
    myofed_host_t *host = calloc(1, sizeof *host);
    if (host != NULL && furnish(host, config, ring_frames, command)) {
        return host;
    }
    myofed_host_free(host);
    return NULL;
}

void myofed_host_free(myofed_host_t *host) {
    if (host != NULL) {
        free(host->memory);
        free(host->output);
        free(host);
    }
}

size_t myofed_host_poll(myofed_host_t *host, uint64_t now_us, const uint8_t **output) {
    host->output_size = 0;
    myofed_board_poll(&host->board, now_us);
    *output = host->output;
    return host->output_size;
}
