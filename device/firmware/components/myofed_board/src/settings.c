#include "settings.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SHOWN_BYTES 20  // of a name that does not exist

typedef enum { TEXT, NUMBER, CHOICE, ID, URI, PEM } kind_t;

// `low` and `high`: of a number its range beside 0 (the default), of the others bytes.
typedef struct {
    const char *key;
    kind_t kind;
    bool is_secret;
    long low, high;
    const char *choices;  // with a space around each
} entry_t;

static const entry_t table[MB_NUM_SETTINGS] = {
    [MB_BOARD_ID] = {"board_id", ID, false, 0, 64, NULL},
    [MB_CHANNELS] = {"channels", NUMBER, false, 1, 16, NULL},
    [MB_RATE] = {"rate", NUMBER, false, 100, 4000, NULL},
    [MB_GAIN] = {"gain", NUMBER, false, 1, 10000, NULL},
    [MB_FRAME_MS] = {"frame_ms", NUMBER, false, 5, 100, NULL},
    [MB_HIGHPASS] = {"highpass", NUMBER, false, 1, 100, NULL},
    [MB_MAINS] = {"mains", CHOICE, false, 0, 2, " 0 50 60 "},
    [MB_TRANSPORT] = {"transport", CHOICE, false, 0, 6, " serial mqtt "},
    [MB_WIFI_SSID] = {"wifi_ssid", TEXT, false, 0, 32, NULL},
    [MB_WIFI_PASSWORD] = {"wifi_password", TEXT, true, 0, 63, NULL},
    [MB_MQTT_URI] = {"mqtt_uri", URI, false, 0, 200, NULL},
    [MB_MQTT_USER] = {"mqtt_user", TEXT, false, 0, 128, NULL},
    [MB_MQTT_PASSWORD] = {"mqtt_password", TEXT, true, 0, 128, NULL},
    [MB_CA] = {"ca", PEM, false, 0, MB_SETTING_MAX_BYTES, NULL},
};

static char *values[MB_NUM_SETTINGS];  // NULL: never set

const char *mb_setting_key(mb_setting_t setting)
{
    return table[setting].key;
}

const char *mb_setting_text(mb_setting_t setting)
{
    return values[setting] ? values[setting] : "";
}

long mb_setting_number(mb_setting_t setting)
{
    return strtol(mb_setting_text(setting), NULL, 10);
}

static char *copy(const char *text)
{
    char *made = malloc(strlen(text) + 1);
    return made ? strcpy(made, text) : NULL;
}

char *mb_setting_copy(mb_setting_t setting)
{
    return values[setting] && *values[setting] ? copy(values[setting]) : NULL;
}

static bool is_number(const entry_t *entry, const char *value)
{
    char *end;
    long number = strtol(value, &end, 10);
    return end != value && *end == '\0' && (number == 0 || (number >= entry->low && number <= entry->high));
}

// A level of MQTT topics, and nothing that no terminal shows.
static bool is_level(const char *text) {
    for (; *text != '\0'; text++) {
        const unsigned char c = (unsigned char)*text;
        if (c < 0x20 || c == 0x7f || c == '/' || c == '+' || c == '#') {
            return false;
        }
    }
    return true;
}

static bool is_choice(const entry_t *entry, const char *value)
{
    char padded[16];
    snprintf(padded, sizeof padded, " %s ", value);
    return *value && !strchr(value, ' ') && strstr(entry->choices, padded);
}

// Why a value does not fit its setting, into `answer`.
static bool fits(const entry_t *entry, const char *value, char *answer, size_t capacity)
{
    if (entry->kind == NUMBER && *value && !is_number(entry, value)) {
        snprintf(answer, capacity, "%s: expected a number from %ld to %ld, or 0 for the default", entry->key, entry->low,
                 entry->high);
        return false;
    }
    if (entry->kind == CHOICE && *value && !is_choice(entry, value)) {
        snprintf(answer, capacity, "%s: expected one of%s", entry->key, entry->choices);
        return false;
    }
    if (entry->kind == ID && !is_level(value)) {
        snprintf(answer, capacity, "%s: expected no '/', '+', '#' or control characters, it is a level of MQTT topics", entry->key);
        return false;
    }
    if (entry->kind == URI && (strchr(value, '@') || (*value && !strstr(value, "://")))) {  // it can be read back
        snprintf(answer, capacity, "%s: expected mqtt(s)://HOST:PORT; the user goes into mqtt_user and mqtt_password",
                 entry->key);
        return false;
    }
    if (entry->kind != NUMBER && strlen(value) > (size_t)entry->high) {
        snprintf(answer, capacity, "%s: %u bytes, expected at most %ld", entry->key, (unsigned)strlen(value), entry->high);
        return false;
    }
    return true;
}

bool mb_setting_set(mb_setting_t setting, const char *value, char *answer, size_t capacity)
{
    if (!fits(&table[setting], value, answer, capacity)) {
        return false;
    }
    char *made = copy(value);
    if (!made) {
        snprintf(answer, capacity, "%s: out of memory", table[setting].key);
        return false;
    }
    free(values[setting]);
    values[setting] = made;
    return true;
}

// The setting of that name, MB_NUM_SETTINGS: none.
static mb_setting_t find(const char *key, size_t size)
{
    mb_setting_t setting = 0;
    while (setting < MB_NUM_SETTINGS && (strlen(table[setting].key) != size || memcmp(table[setting].key, key, size))) {
        setting++;
    }
    return setting;
}

static void list_keys(char *answer, size_t capacity)
{
    *answer = '\0';
    for (mb_setting_t setting = 0; setting < MB_NUM_SETTINGS; setting++) {
        size_t used = strlen(answer);
        snprintf(answer + used, capacity - used, setting ? " %s" : "%s", table[setting].key);
    }
}

static bool unknown(const char *key, size_t size, char *answer, size_t capacity)
{
    size = size < SHOWN_BYTES ? size : SHOWN_BYTES;
    while (size > 0 && (key[size] & 0xC0) == 0x80) {
        size--;  // cut at a whole character of UTF-8
    }
    int used = snprintf(answer, capacity, "no setting %.*s, expected one of ", (int)size, key);
    if (used > 0 && (size_t)used < capacity) {
        list_keys(answer + used, capacity - (size_t)used);
    }
    return false;
}

static bool append(mb_setting_t setting, const char *more, char *answer, size_t capacity)
{
    const char *before = mb_setting_text(setting);
    size_t size = strlen(before) + strlen(more) + 1;
    char *joined = malloc(size);
    if (!joined) {
        snprintf(answer, capacity, "%s: out of memory", table[setting].key);
        return false;
    }
    snprintf(joined, size, "%s%s", before, more);
    bool is_set = mb_setting_set(setting, joined, answer, capacity);
    free(joined);
    return is_set;
}

bool mb_settings_set(const char *argument, char *answer, size_t capacity)
{
    const char *equals = strchr(argument, '=');
    if (!equals || equals == argument) {
        snprintf(answer, capacity, "expected KEY=VALUE");
        return false;
    }
    bool appends = equals[-1] == '+';
    size_t size = (size_t)(equals - argument) - (appends ? 1 : 0);
    mb_setting_t setting = find(argument, size);
    if (setting == MB_NUM_SETTINGS) {
        return unknown(argument, size, answer, capacity);
    }
    bool is_set = appends ? append(setting, equals + 1, answer, capacity)
                          : mb_setting_set(setting, equals + 1, answer, capacity);
    if (is_set) {
        snprintf(answer, capacity, "%s is set; `save`, then `restart`", table[setting].key);
    }
    return is_set;
}

bool mb_settings_get(const char *argument, char *answer, size_t capacity)
{
    if (!*argument) {
        list_keys(answer, capacity);
        return true;
    }
    mb_setting_t setting = find(argument, strlen(argument));
    if (setting == MB_NUM_SETTINGS) {
        return unknown(argument, strlen(argument), answer, capacity);
    }
    const char *value = mb_setting_text(setting);
    if (table[setting].is_secret || table[setting].kind == PEM) {
        snprintf(answer, capacity, "%s is %s", table[setting].key, *value ? "set" : "not set");
    } else {
        snprintf(answer, capacity, "%s=%s", table[setting].key, value);
    }
    return true;
}
