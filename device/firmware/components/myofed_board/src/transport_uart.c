// A serial line over UART0, behind the USB bridge of a devkit.
#include "sdkconfig.h"

#ifdef CONFIG_MYOFED_SERIAL_UART

#include <stdlib.h>

#include "driver/uart.h"
#include "freertos/FreeRTOS.h"
#include "myofed/stuffing.h"
#include "myofed_board/transport.h"

#if defined(CONFIG_ESP_CONSOLE_UART) && CONFIG_ESP_CONSOLE_UART_NUM == 0
#error "UART0 carries frames: set ESP System Settings, Channel for console output, to None in menuconfig"
#endif

#define PORT UART_NUM_0
#define RX_BUFFER_BYTES 2048
#define TX_BUFFER_BYTES 16384  // 175 ms at 921,600 baud
// The driver's ring keeps a header with each piece; so much room is asked for beyond the bytes.
#define RING_HEADERS_BYTES 64

static uint8_t *stuffed;

static esp_err_t uart_open(const char *board_id, size_t max_payload_bytes)
{
    (void)board_id;
    uart_config_t config = {
        .baud_rate = CONFIG_MYOFED_UART_BAUD,
        .data_bits = UART_DATA_8_BITS,
        .parity = UART_PARITY_DISABLE,
        .stop_bits = UART_STOP_BITS_1,
        .flow_ctrl = UART_HW_FLOWCTRL_DISABLE,
        .source_clk = UART_SCLK_DEFAULT,
    };
    stuffed = malloc(MYOFED_STUFFED_BYTES(max_payload_bytes) + 1);
    esp_err_t error = stuffed ? uart_driver_install(PORT, RX_BUFFER_BYTES, TX_BUFFER_BYTES, 0, NULL, 0) : ESP_ERR_NO_MEM;
    if (error == ESP_OK) {
        error = uart_param_config(PORT, &config);
    }
    if (error == ESP_OK) {
        error = uart_set_pin(PORT, CONFIG_MYOFED_UART_TX_GPIO, CONFIG_MYOFED_UART_RX_GPIO, UART_PIN_NO_CHANGE,
                             UART_PIN_NO_CHANGE);
    }
    if (error == ESP_OK) {
        uart_write_bytes(PORT, "", 1);  // a delimiter: what the boot loader said before costs no frame
    }
    return error;
}

static size_t uart_receive(uint8_t *bytes, size_t capacity)
{
    int n = uart_read_bytes(PORT, bytes, capacity, 0);
    return n > 0 ? (size_t)n : 0;
}

static bool uart_send(const uint8_t *payload, size_t size)
{
    size_t room = 0;
    if (uart_get_tx_buffer_free_size(PORT, &room) != ESP_OK || room < MYOFED_STUFFED_BYTES(size) + 1 + RING_HEADERS_BYTES) {
        return false;
    }
    size_t stuffed_bytes = myofed_stuff(payload, size, stuffed);
    return uart_write_bytes(PORT, stuffed, stuffed_bytes) == (int)stuffed_bytes;
}

static bool uart_greet(void)
{
    return false;  // nobody can see that a port was opened: the gateway asks for a hello
}

const mb_transport_t mb_serial = {
    .name = "uart", .is_stream = true, .open = uart_open, .receive = uart_receive, .send = uart_send, .greet = uart_greet};

#endif
