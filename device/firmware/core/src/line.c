#include "myofed/line.h"

#include <string.h>

#include "myofed/stuffing.h"

void myofed_line_init(myofed_line_t *line, uint8_t *buffer, size_t capacity) {
    *line = (myofed_line_t){.buffer = buffer, .capacity = capacity};
}

// A stretch that is too long stays so: of it only its size counts.
static void append(myofed_line_t *line, const uint8_t *bytes, size_t size) {
    if (line->size > line->capacity || size > line->capacity - line->size) {
        line->size = line->capacity + 1;
        return;
    }
    memcpy(line->buffer + line->size, bytes, size);
    line->size += size;
}

// The stretch is over: whether a payload came out of it.
static bool finish(myofed_line_t *line, size_t *payload_size) {
    const size_t size = line->size;
    line->size = 0;
    if (size == 0) {  // a delimiter came twice: not an error
        return false;
    }
    if (size > line->capacity || myofed_unstuff(line->buffer, size, payload_size) != MYOFED_OK) {
        line->num_rejected++;
        return false;
    }
    return true;
}

bool myofed_line_next(myofed_line_t *line, const uint8_t **chunk, size_t *left, const uint8_t **payload,
                      size_t *payload_size) {
    while (*left > 0) {
        const uint8_t *delimiter = memchr(*chunk, 0, *left);
        const size_t size = delimiter == NULL ? *left : (size_t)(delimiter - *chunk);
        append(line, *chunk, size);
        const size_t used = delimiter == NULL ? size : size + 1;
        *chunk += used;
        *left -= used;
        if (delimiter != NULL && finish(line, payload_size)) {
            *payload = line->buffer;
            return true;
        }
    }
    return false;
}
