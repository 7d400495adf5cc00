#include "network.h"

#include <stdatomic.h>
#include <string.h>

#include "esp_event.h"
#include "esp_netif.h"
#include "esp_timer.h"
#include "esp_wifi.h"
#include "notice.h"
#include "settings.h"

// Joining at once again and again draws a current that weak supplies do not have.
#define RETRY_US 2000000
// 11 dBm instead of 20: a metre or two from the router it costs nothing, and the peaks are half as high. In 0.25 dBm.
#define MAX_POWER 44

static atomic_bool is_up;
static esp_timer_handle_t retry;

static void join(void *context)
{
    (void)context;
    esp_wifi_connect();
}

static void on_wifi(void *context, esp_event_base_t base, int32_t id, void *data)
{
    (void)context, (void)base;
    if (id == WIFI_EVENT_STA_START) {
        esp_wifi_connect();
    } else if (id == WIFI_EVENT_STA_DISCONNECTED) {
        const wifi_event_sta_disconnected_t *event = data;
        atomic_store(&is_up, false);
        mb_notice(MB_NOTICE_NETWORK, "Wi-Fi lost or refused (reason %u): check wifi_ssid and wifi_password",
                  (unsigned)event->reason);
        esp_timer_start_once(retry, RETRY_US);
    }
}

static void on_address(void *context, esp_event_base_t base, int32_t id, void *data)
{
    (void)context, (void)base, (void)id, (void)data;
    atomic_store(&is_up, true);
    mb_notice(MB_NOTICE_NETWORK, "%s", "");
}

static esp_err_t prepare(void)
{
    const esp_timer_create_args_t timer = {.callback = join, .name = "wifi"};
    esp_err_t error = esp_timer_create(&timer, &retry);
    if (error == ESP_OK) {
        error = esp_netif_init();
    }
    if (error == ESP_OK) {
        error = esp_event_loop_create_default();
    }
    if (error == ESP_OK && !esp_netif_create_default_wifi_sta()) {
        error = ESP_ERR_NO_MEM;
    }
    if (error == ESP_OK) {
        error = esp_event_handler_register(WIFI_EVENT, ESP_EVENT_ANY_ID, on_wifi, NULL);
    }
    return error == ESP_OK ? esp_event_handler_register(IP_EVENT, IP_EVENT_STA_GOT_IP, on_address, NULL) : error;
}

// Fill a field of zeros; a text that fills it whole has no zero behind it, as esp_wifi takes it.
static void put(uint8_t *field, size_t capacity, const char *text)
{
    size_t size = strlen(text);
    memcpy(field, text, size < capacity ? size : capacity);
}

static esp_err_t start_station(void)
{
    wifi_init_config_t memory = WIFI_INIT_CONFIG_DEFAULT();
    wifi_config_t station = {0};
    put(station.sta.ssid, sizeof station.sta.ssid, mb_setting_text(MB_WIFI_SSID));
    put(station.sta.password, sizeof station.sta.password, mb_setting_text(MB_WIFI_PASSWORD));
    station.sta.sae_pwe_h2e = WPA3_SAE_PWE_BOTH;
    esp_err_t error = esp_wifi_init(&memory);
    if (error == ESP_OK) {
        error = esp_wifi_set_storage(WIFI_STORAGE_RAM);  // the settings are kept by us, once
    }
    if (error == ESP_OK) {
        error = esp_wifi_set_mode(WIFI_MODE_STA);
    }
    if (error == ESP_OK) {
        error = esp_wifi_set_config(WIFI_IF_STA, &station);
    }
    if (error == ESP_OK) {
        error = esp_wifi_start();
    }
    if (error == ESP_OK) {
        error = esp_wifi_set_ps(WIFI_PS_NONE);  // modem sleep would hold samples back for 100 ms and more
    }
    return error == ESP_OK ? esp_wifi_set_max_tx_power(MAX_POWER) : error;
}

esp_err_t mb_network_start(void)
{
    if (!*mb_setting_text(MB_WIFI_SSID)) {
        return ESP_OK;
    }
    esp_err_t error = prepare();
    return error == ESP_OK ? start_station() : error;
}

bool mb_network_is_up(void)
{
    return atomic_load(&is_up);
}
