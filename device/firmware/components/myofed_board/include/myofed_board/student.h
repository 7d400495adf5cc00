// The slot for a student in flash: a file (such as a .tflite) that counts as there only once its SHA-256 was
// verified in place. What runs it asks mb_student_find() and maps the partition.
#ifndef MYOFED_BOARD_STUDENT_H
#define MYOFED_BOARD_STUDENT_H

#include <stdbool.h>
#include <stddef.h>

#include "esp_err.h"
#include "esp_partition.h"

// The verified student: the partition whose first *size bytes are the file.
// ESP_ERR_NOT_FOUND: none, or the partition table has no place for one.
esp_err_t mb_student_find(const esp_partition_t **partition, size_t *size);

// Check the slot at the start of the board; a student that has changed since it was verified is forgotten.
void mb_student_check(void);

// "URL SHA256" (64 hexadecimal digits): download in a task of its own; status messages tell how it goes.
// False: `answer` says why it does not begin.
bool mb_student_download(const char *argument, char *answer, size_t capacity);

#endif
