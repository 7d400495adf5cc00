// Commands by name: a table for what is known, one function for each.
#ifndef MYOFED_COMMAND_H
#define MYOFED_COMMAND_H

#include <stddef.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    MYOFED_DONE,     // accepted
    MYOFED_REFUSED,  // the answer says why
    MYOFED_UNKNOWN,  // not known here
} myofed_result_t;

// `answer` is a string (empty before) for the acknowledgement: the result, or why not; UTF-8, at most
// capacity - 1 bytes.
typedef myofed_result_t (*myofed_command_fn)(void *context, const char *argument, char *answer, size_t capacity);

typedef struct {
    const char *name;
    myofed_command_fn run;
} myofed_command_t;

// Run the command of that name, if the table has it.
myofed_result_t myofed_command_run(const myofed_command_t *table, size_t table_size, void *context, const char *name,
                                   const char *argument, char *answer, size_t capacity);

// KEY=VALUE: copy the key and return where the value starts, or NULL where there is no '=', no key, or one of
// more than capacity - 1 bytes.
const char *myofed_command_value(const char *argument, char *key, size_t capacity);

// Join three strings ("" for none) as the answer, cut at a whole character; capacity at least 1.
void myofed_answer(char *answer, size_t capacity, const char *first, const char *second, const char *third);

#ifdef __cplusplus
}
#endif
#endif
