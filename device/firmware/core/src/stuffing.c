#include "myofed/stuffing.h"

#include <string.h>

enum { FULL_GROUP = 0xff };  // a code byte and 254 bytes without a zero behind them

size_t myofed_stuff(const uint8_t *payload, size_t size, uint8_t *stuffed) {
    uint8_t *code = stuffed;
    uint8_t *at = stuffed + 1;
    for (size_t i = 0; i < size; i++) {
        if (at - code == FULL_GROUP) {
            *code = FULL_GROUP;
            code = at++;
        }
        if (payload[i] != 0) {
            *at++ = payload[i];
        } else {
            *code = (uint8_t)(at - code);
            code = at++;
        }
    }
    *code = (uint8_t)(at - code);
    *at++ = 0;
    return (size_t)(at - stuffed);
}

myofed_err_t myofed_unstuff(uint8_t *bytes, size_t size, size_t *payload_size) {
    size_t from = 0;
    size_t to = 0;
    while (from < size) {
        const uint8_t code = bytes[from++];
        if (code == 0 || (size_t)code - 1 > size - from) {
            return MYOFED_ERR_STUFFING;
        }
        memmove(bytes + to, bytes + from, code - 1u);
        from += code - 1u;
        to += code - 1u;
        if (code < FULL_GROUP && from < size) {
            bytes[to++] = 0;
        }
    }
    *payload_size = to;
    return MYOFED_OK;
}
