// Where frames go: one struct of functions for each kind of line. All of them are called by the board's task only,
// and none of them waits.
#ifndef MYOFED_BOARD_TRANSPORT_H
#define MYOFED_BOARD_TRANSPORT_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "esp_err.h"

typedef struct {
    const char *name;
    bool is_stream;  // bytes cut anywhere (a serial line), not whole payloads (MQTT)
    // max_payload_bytes: of the longest frame that will be sent. board_id outlives the board.
    esp_err_t (*open)(const char *board_id, size_t max_payload_bytes);
    // Bytes that came since the last call, up to capacity, or one payload; 0: nothing.
    size_t (*receive)(uint8_t *bytes, size_t capacity);
    // Take a bare payload over; false: no room now, offer it again.
    bool (*send)(const uint8_t *payload, size_t size);
    // Whether somebody new may be listening since the last call (a broker was connected to).
    bool (*greet)(void);
} mb_transport_t;

extern const mb_transport_t mb_serial;  // UART or USB, as chosen in menuconfig
extern const mb_transport_t mb_mqtt;

#endif
