#include "hex.h"

#include <string.h>

static int value_of(char digit)
{
    if (digit >= '0' && digit <= '9') {
        return digit - '0';
    }
    char lower = (char)(digit | 0x20);
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

bool mb_from_hex(const char *digits, uint8_t *bytes, size_t size)
{
    if (strlen(digits) != 2 * size) {
        return false;
    }
    for (size_t i = 0; i < size; i++) {
        int high = value_of(digits[2 * i]), low = value_of(digits[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}
