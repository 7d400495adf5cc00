#include "settings_store.h"

#include <stdlib.h>
#include <string.h>

#include "nvs.h"
#include "nvs_flash.h"
#include "settings.h"

static esp_err_t start_flash(void)
{
    esp_err_t error = nvs_flash_init();
    if (error == ESP_ERR_NVS_NO_FREE_PAGES || error == ESP_ERR_NVS_NEW_VERSION_FOUND) {
        error = nvs_flash_erase();
        if (error == ESP_OK) {
            error = nvs_flash_init();
        }
    }
    return error;
}

// The stored text, to be freed; NULL: none.
static char *read_text(nvs_handle_t flash, const char *key)
{
    size_t size = 0;
    if (nvs_get_str(flash, key, NULL, &size) != ESP_OK) {
        return NULL;
    }
    char *text = malloc(size);
    if (text && nvs_get_str(flash, key, text, &size) != ESP_OK) {
        free(text);
        text = NULL;
    }
    return text;
}

esp_err_t mb_settings_load(void)
{
    esp_err_t error = start_flash();
    if (error != ESP_OK) {
        return error;
    }
    nvs_handle_t flash;
    error = nvs_open(MB_NVS_NAMESPACE, NVS_READONLY, &flash);
    if (error != ESP_OK) {
        return error == ESP_ERR_NVS_NOT_FOUND ? ESP_OK : error;  // nothing was ever saved
    }
    for (mb_setting_t setting = 0; setting < MB_NUM_SETTINGS; setting++) {
        char *text = read_text(flash, mb_setting_key(setting));
        if (text) {
            char problem[80];  // what no longer fits is left at its default
            mb_setting_set(setting, text, problem, sizeof problem);
            free(text);
        }
    }
    nvs_close(flash);
    return ESP_OK;
}

static esp_err_t save_one(nvs_handle_t flash, mb_setting_t setting)
{
    char *stored = read_text(flash, mb_setting_key(setting));
    bool is_same = strcmp(stored ? stored : "", mb_setting_text(setting)) == 0;
    free(stored);
    return is_same ? ESP_OK : nvs_set_str(flash, mb_setting_key(setting), mb_setting_text(setting));
}

esp_err_t mb_settings_save(void)
{
    nvs_handle_t flash;
    esp_err_t error = nvs_open(MB_NVS_NAMESPACE, NVS_READWRITE, &flash);
    if (error != ESP_OK) {
        return error;
    }
    for (mb_setting_t setting = 0; setting < MB_NUM_SETTINGS && error == ESP_OK; setting++) {
        error = save_one(flash, setting);
    }
    if (error == ESP_OK) {
        error = nvs_commit(flash);
    }
    nvs_close(flash);
    return error;
}
