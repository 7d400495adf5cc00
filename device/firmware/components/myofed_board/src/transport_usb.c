// A serial line over the chip's own USB (USB Serial/JTAG of the ESP32-S3 and -C3); it has no baud.
#include "sdkconfig.h"

#ifdef CONFIG_MYOFED_SERIAL_USB

#include <stdbool.h>
#include <stdlib.h>

#include "driver/usb_serial_jtag.h"
#include "freertos/FreeRTOS.h"
#include "myofed/stuffing.h"
#include "myofed_board/transport.h"

#define RX_BUFFER_BYTES 2048
#define TX_BUFFER_BYTES 16384

static uint8_t *stuffed;
static bool was_connected;

static esp_err_t usb_open(const char *board_id, size_t max_payload_bytes)
{
    (void)board_id;
    usb_serial_jtag_driver_config_t config = {.tx_buffer_size = TX_BUFFER_BYTES, .rx_buffer_size = RX_BUFFER_BYTES};
    stuffed = malloc(MYOFED_STUFFED_BYTES(max_payload_bytes) + 1);
    esp_err_t error = stuffed ? usb_serial_jtag_driver_install(&config) : ESP_ERR_NO_MEM;
    if (error == ESP_OK) {
        usb_serial_jtag_write_bytes("", 1, 0);  // a delimiter: what the boot loader said before costs no frame
    }
    return error;
}

static size_t usb_receive(uint8_t *bytes, size_t capacity)
{
    int n = usb_serial_jtag_read_bytes(bytes, (uint32_t)capacity, 0);
    return n > 0 ? (size_t)n : 0;
}

// The driver takes all bytes or none.
static bool usb_send(const uint8_t *payload, size_t size)
{
    size_t stuffed_bytes = myofed_stuff(payload, size, stuffed);
    return usb_serial_jtag_write_bytes(stuffed, stuffed_bytes, 0) == (int)stuffed_bytes;
}

// A cable was plugged in.
static bool usb_greet(void)
{
    bool is_connected = usb_serial_jtag_is_connected(), is_new = is_connected && !was_connected;
    was_connected = is_connected;
    return is_new;
}

const mb_transport_t mb_serial = {
    .name = "usb", .is_stream = true, .open = usb_open, .receive = usb_receive, .send = usb_send, .greet = usb_greet};

#endif
