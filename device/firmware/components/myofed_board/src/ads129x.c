#include "ads129x.h"

enum { CONFIG1 = 0x01, CONFIG3 = 0x03, CH1SET = 0x05, BIAS_SENSP = 0x0D, BIAS_SENSN = 0x0E };

// CONFIG1: bit 7 is high resolution (ADS1298) or must be one (ADS1299), bits 4:3 of the ADS1299 must be 10.
// Bit 6 at zero chains; bit 5 puts the clock out, which the second device of a chain runs on.
#define CONFIG1_ADS1298 0x80
#define CONFIG1_ADS1299 0x90
#define CONFIG1_CLOCK_OUT 0x20
// CONFIG3: reference buffer on, bias (right leg) amplifier on with its internal reference; the ADS1298 stays at
// its 2.4 V reference, the ADS1299 has 4.5 V.
#define CONFIG3_ADS1298 0xCC
#define CONFIG3_ADS1299 0xEC
#define REFERENCE_UV_ADS1298 2.4e6
#define REFERENCE_UV_ADS1299 4.5e6
#define CHANNEL_OFF 0x81  // powered down, inputs shorted
#define FULL_SCALE 8388608.0  // 2^23

#define NUM_RATES 7

// The code of a gain in bits 6:4 of CHnSET, -1: none.
static int gain_code(mb_ads_chip_t chip, uint32_t gain)
{
    static const uint8_t gains[2][7] = {[MB_ADS1298] = {6, 1, 2, 3, 4, 8, 12}, [MB_ADS1299] = {1, 2, 4, 6, 8, 12, 24}};
    for (int code = 0; code < 7; code++) {
        if (gains[chip][code] == gain) {
            return code;
        }
    }
    return -1;
}

// The code of a rate in bits 2:0 of CONFIG1, -1: none. Each code halves the rate.
static int rate_code(mb_ads_chip_t chip, uint32_t sample_rate_hz)
{
    uint32_t fastest_hz = chip == MB_ADS1298 ? 32000 : 16000;
    for (int code = 0; code < NUM_RATES; code++) {
        if (fastest_hz >> code == sample_rate_hz) {
            return code;
        }
    }
    return -1;
}

bool mb_ads_registers(const mb_ads_setup_t *setup, mb_ads_register_t registers[MB_ADS_NUM_REGISTERS])
{
    int rate = rate_code(setup->chip, setup->sample_rate_hz), gain = gain_code(setup->chip, setup->gain);
    if (rate < 0 || gain < 0) {
        return false;
    }
    bool is_1298 = setup->chip == MB_ADS1298;
    int clock = setup->num_devices > 1 ? CONFIG1_CLOCK_OUT : 0;
    // A chain is written to as one: where it has two devices, all their channels are on.
    uint8_t num_on = setup->num_devices > 1 ? MB_ADS_CHANNELS : setup->num_channels;
    uint8_t biased = (uint8_t)((1u << num_on) - 1);
    size_t n = 0;
    registers[n++] = (mb_ads_register_t){CONFIG1, (uint8_t)((is_1298 ? CONFIG1_ADS1298 : CONFIG1_ADS1299) | clock | rate)};
    registers[n++] = (mb_ads_register_t){CONFIG3, is_1298 ? CONFIG3_ADS1298 : CONFIG3_ADS1299};
    for (uint8_t channel = 0; channel < MB_ADS_CHANNELS; channel++) {
        registers[n++] = (mb_ads_register_t){(uint8_t)(CH1SET + channel),
                                             channel < num_on ? (uint8_t)(gain << 4) : CHANNEL_OFF};
    }
    registers[n++] = (mb_ads_register_t){BIAS_SENSP, biased};
    registers[n++] = (mb_ads_register_t){BIAS_SENSN, biased};
    return true;
}

bool mb_ads_is_chip(mb_ads_chip_t chip, uint8_t id)
{
    // Bits 7:5 are 100 for the ADS129x and a revision for the ADS1299.
    return chip == MB_ADS1298 ? (id & 0xE7) == 0x82 : (id & 0x1F) == 0x1E;
}

double mb_ads_uv_per_count(mb_ads_chip_t chip, uint32_t gain)
{
    return (chip == MB_ADS1298 ? REFERENCE_UV_ADS1298 : REFERENCE_UV_ADS1299) / gain / FULL_SCALE;
}

bool mb_ads_parse(const uint8_t *frame, uint8_t num_devices, uint8_t num_channels, int32_t *counts)
{
    for (uint8_t device = 0; device < num_devices; device++) {
        const uint8_t *bytes = frame + device * MB_ADS_FRAME_BYTES;
        if (bytes[0] >> 4 != 0xC) {  // a status word begins with 1100
            return false;
        }
        for (uint8_t channel = 0; channel < MB_ADS_CHANNELS && device * MB_ADS_CHANNELS + channel < num_channels; channel++) {
            const uint8_t *word = bytes + 3 + 3 * channel;  // big-endian, two's complement
            uint32_t count = (uint32_t)word[0] << 16 | (uint32_t)word[1] << 8 | word[2];
            counts[device * MB_ADS_CHANNELS + channel] = (int32_t)(count ^ 0x800000) - 0x800000;
        }
    }
    return true;
}
