// The ADS1298 and ADS1299 of Texas Instruments as bytes: registers to write, data to read. No port, no clock.
//
// Sources: data sheets SBAS459K (ADS129x) and SBAS499C (ADS1299).
#ifndef MYOFED_BOARD_ADS129X_H
#define MYOFED_BOARD_ADS129X_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define MB_ADS_CHANNELS 8                              // of one device
#define MB_ADS_FRAME_BYTES (3 + 3 * MB_ADS_CHANNELS)   // of one device: status, then channels
#define MB_ADS_MAX_DEVICES 2
#define MB_ADS_NUM_REGISTERS 12
#define MB_ADS_WREG 0x40
#define MB_ADS_RREG 0x20

typedef enum { MB_ADS1298, MB_ADS1299 } mb_ads_chip_t;

enum {
    MB_ADS_RESET = 0x06,
    MB_ADS_START = 0x08,
    MB_ADS_RDATAC = 0x10,
    MB_ADS_SDATAC = 0x11,
};

typedef struct {
    mb_ads_chip_t chip;
    uint8_t num_devices;
    uint8_t num_channels;  // of all devices together
    uint32_t sample_rate_hz;
    uint32_t gain;
} mb_ads_setup_t;

typedef struct {
    uint8_t address;
    uint8_t value;
} mb_ads_register_t;

// The registers for a set-up, the same for both devices of a daisy chain. False: a rate or gain the chip lacks.
bool mb_ads_registers(const mb_ads_setup_t *setup, mb_ads_register_t registers[MB_ADS_NUM_REGISTERS]);

// Whether the ID register is that of this chip with 8 channels.
bool mb_ads_is_chip(mb_ads_chip_t chip, uint8_t id);

double mb_ads_uv_per_count(mb_ads_chip_t chip, uint32_t gain);

// The data of all devices into num_channels counts. False: a status word is not one, so the bytes are shifted.
bool mb_ads_parse(const uint8_t *frame, uint8_t num_devices, uint8_t num_channels, int32_t *counts);

#endif
