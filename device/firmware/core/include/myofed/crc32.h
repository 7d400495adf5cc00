// CRC-32 as of zlib, Ethernet and PNG: reflected 0xEDB88320, begun with and inverted by 0xFFFFFFFF.
#ifndef MYOFED_CRC32_H
#define MYOFED_CRC32_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

// The CRC of any bytes with their own CRC (little-endian) behind them.
#define MYOFED_CRC32_RESIDUE UINT32_C(0x2144DF1C)

uint32_t myofed_crc32(const uint8_t *bytes, size_t size);

#ifdef __cplusplus
}
#endif
#endif
