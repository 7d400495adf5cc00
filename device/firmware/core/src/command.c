#include "myofed/command.h"

#include <stdint.h>
#include <string.h>

myofed_result_t myofed_command_run(const myofed_command_t *table, size_t table_size, void *context, const char *name,
                                   const char *argument, char *answer, size_t capacity) {
    for (size_t i = 0; i < table_size; i++) {
        if (strcmp(table[i].name, name) == 0) {
            return table[i].run(context, argument, answer, capacity);
        }
    }
    return MYOFED_UNKNOWN;
}

const char *myofed_command_value(const char *argument, char *key, size_t capacity) {
    const char *equals = strchr(argument, '=');
    const size_t size = equals == NULL ? 0 : (size_t)(equals - argument);
    if (size == 0 || size >= capacity) {
        return NULL;
    }
    memcpy(key, argument, size);
    key[size] = '\0';
    return equals + 1;
}

void myofed_answer(char *answer, size_t capacity, const char *first, const char *second, const char *third) {
    const char *parts[] = {first, second, third};
    size_t room = capacity - 1;
    for (size_t i = 0; i < 3; i++) {
        size_t size = strlen(parts[i]);
        if (size > room) {
            for (size = room; size > 0 && ((uint8_t)parts[i][size] & 0xc0) == 0x80; size--) {  // inside a character
            }
            room = size;  // nothing more behind a cut
        }
        memcpy(answer, parts[i], size);
        answer += size;
        room -= size;
    }
    *answer = '\0';
}
