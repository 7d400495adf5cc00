#include <string.h>

#include "myofed/frame.h"

// Bytes of the UTF-8 character at the front, 0 where there is none. The ranges of the second byte exclude what
// could be shorter, surrogates, and what lies above U+10FFFF (Unicode 15, table 3-7).
static size_t character(const uint8_t *at, size_t left) {
    const uint8_t first = at[0];
    if (first < 0x80) {
        return 1;
    }
    const size_t size = first < 0xe0 ? 2 : first < 0xf0 ? 3 : 4;
    if (first < 0xc2 || first > 0xf4 || size > left) {
        return 0;
    }
    const uint8_t low = first == 0xe0 ? 0xa0 : first == 0xf0 ? 0x90 : 0x80;
    const uint8_t high = first == 0xed ? 0x9f : first == 0xf4 ? 0x8f : 0xbf;
    if (at[1] < low || at[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < size; i++) {
        if ((at[i] & 0xc0) != 0x80) {
            return 0;
        }
    }
    return size;
}

bool myofed_is_utf8(const char *bytes, size_t size) {
    const uint8_t *at = (const uint8_t *)bytes;
    for (size_t done = 0; done < size;) {
        const size_t step = character(at + done, size - done);
        if (step == 0) {
            return false;
        }
        done += step;
    }
    return true;
}

myofed_text_t myofed_text(const char *string) {
    size_t size = strlen(string);
    if (size > MYOFED_MAX_TEXT_BYTES) {
        for (size = MYOFED_MAX_TEXT_BYTES; size > 0 && ((uint8_t)string[size] & 0xc0) == 0x80; size--) {
        }
    }
    return (myofed_text_t){string, (uint8_t)size};
}
