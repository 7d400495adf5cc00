// Settings in flash (NVS).
#ifndef MYOFED_BOARD_SETTINGS_STORE_H
#define MYOFED_BOARD_SETTINGS_STORE_H

#include "esp_err.h"

#define MB_NVS_NAMESPACE "myofed"

// Start NVS (erased where it cannot be read: settings are then lost, the board still starts) and read all settings.
esp_err_t mb_settings_load(void);

// Write what differs, so that saving twice wears nothing.
esp_err_t mb_settings_save(void);

#endif
