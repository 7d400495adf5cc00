// Wi-Fi as a station: joins the network of the settings and joins it again whenever it is lost.
#ifndef MYOFED_BOARD_NETWORK_H
#define MYOFED_BOARD_NETWORK_H

#include <stdbool.h>

#include "esp_err.h"

// Start, where wifi_ssid is set; ESP_OK without one, too.
esp_err_t mb_network_start(void);

// Whether the board has an address.
bool mb_network_is_up(void);

#endif
