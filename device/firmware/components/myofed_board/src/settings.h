// What a person may set on a board: a table of keys, texts with limits, and `KEY=VALUE` in and out. Portable; the
// flash is in settings_store.h.
//
// One task at a time: all are read at the start, before other tasks run, and changed by the board's task only.
#ifndef MYOFED_BOARD_SETTINGS_H
#define MYOFED_BOARD_SETTINGS_H

#include <stdbool.h>
#include <stddef.h>

#define MB_SETTING_MAX_BYTES 3900  // of the longest, a certificate; NVS takes strings of 4000

// The order of the table.
typedef enum {
    MB_BOARD_ID,
    MB_CHANNELS,
    MB_RATE,
    MB_GAIN,
    MB_FRAME_MS,
    MB_HIGHPASS,
    MB_MAINS,
    MB_TRANSPORT,
    MB_WIFI_SSID,
    MB_WIFI_PASSWORD,
    MB_MQTT_URI,
    MB_MQTT_USER,
    MB_MQTT_PASSWORD,
    MB_CA,
    MB_NUM_SETTINGS,
} mb_setting_t;

// The name of a setting, at most 15 bytes (an NVS key).
const char *mb_setting_key(mb_setting_t setting);
// Its value; "" where it was never set: the default of the board.
const char *mb_setting_text(mb_setting_t setting);
// Its value as a number; 0 where it was never set.
long mb_setting_number(mb_setting_t setting);
// A copy for what keeps a pointer while people go on setting; NULL where the value is "" (or memory is full).
char *mb_setting_copy(mb_setting_t setting);

// Set it. False: `answer` says why not. A secret never stands in an answer.
bool mb_setting_set(mb_setting_t setting, const char *value, char *answer, size_t capacity);

// `KEY=VALUE`, or `KEY+=VALUE` to append what is too long for one command.
bool mb_settings_set(const char *argument, char *answer, size_t capacity);
// `KEY` -> `KEY=VALUE`; of secrets and certificates only whether they are set. "" -> all keys.
bool mb_settings_get(const char *argument, char *answer, size_t capacity);

#endif
