#include "notice.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "freertos/FreeRTOS.h"

static char lines[MB_NUM_NOTICES][MB_NOTICE_BYTES];
static bool changed = true;
static portMUX_TYPE lock = portMUX_INITIALIZER_UNLOCKED;

void mb_notice(mb_notice_t part, const char *format, ...)
{
    char line[MB_NOTICE_BYTES];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    portENTER_CRITICAL(&lock);
    memcpy(lines[part], line, sizeof line);
    changed = true;
    portEXIT_CRITICAL(&lock);
}

bool mb_notices(char *text, size_t capacity)
{
    char copied[MB_NUM_NOTICES][MB_NOTICE_BYTES];
    portENTER_CRITICAL(&lock);
    bool is_new = changed;
    changed = false;
    memcpy(copied, lines, sizeof copied);
    portEXIT_CRITICAL(&lock);
    *text = '\0';
    for (int part = 0; part < MB_NUM_NOTICES; part++) {
        size_t used = strlen(text);
        if (*copied[part]) {
            snprintf(text + used, capacity - used, used ? "; %s" : "%s", copied[part]);
        }
    }
    return is_new;
}
