"""Build folders as ESP-IDF leaves them, packed here byte by byte: shares no code with device.flash_images."""

import hashlib
import json
import struct

PARTITIONS = (
    ("nvs", 1, 2, 0x9000, 0x6000),
    ("otadata", 1, 0, 0xF000, 0x2000),
    ("phy_init", 1, 1, 0x11000, 0x1000),
    ("ota_0", 0, 0x10, 0x20000, 0x180000),
    ("ota_1", 0, 0x11, 0x1A0000, 0x180000),
    ("student", 1, 6, 0x320000, 0xE0000),
)
CHIP_NUMBERS = {"esp32": 0, "esp32c3": 5, "esp32s3": 9, "esp32c6": 13}
# An address of memory-mapped flash data of each chip: esptool looks at it.
FLASH_DATA = {"esp32": 0x3F400020, "esp32c3": 0x3C000020, "esp32s3": 0x3C000020, "esp32c6": 0x42000020}


def app_description(project="myofed", version="0.1.0", idf="v5.5.1"):
    """esp_app_desc_t: 256 bytes."""
    texts = b"".join(
        text.encode().ljust(size, b"\0")
        for text, size in ((version, 32), (project, 32), ("12:00:00", 16), ("Jan  1 2026", 16), (idf, 32))
    )
    return (struct.pack("<IIII", 0xABCD5432, 0, 0, 0) + texts + bytes(32)).ljust(256, b"\0")


def image(chip, data, *, digest=True):
    """One segment, the checksum, the digest."""
    body = bytearray([0xE9, 1, 2, 0x20]) + struct.pack("<I", 0x40380000) + bytes([0xEE, 0, 0, 0])
    body += struct.pack("<HBHH4xB", CHIP_NUMBERS[chip], 0, 0, 99, digest)
    body += struct.pack("<II", FLASH_DATA[chip], len(data)) + data
    checksum = 0xEF
    for byte in data:
        checksum ^= byte
    body += bytes(15 - len(body) % 16) + bytes([checksum])
    return bytes(body) + (hashlib.sha256(body).digest() if digest else b"")


def partition_table(partitions=PARTITIONS):
    rows = b"".join(
        b"\xaa\x50"
        + struct.pack("<BBII", kind, subtype, offset, size)
        + name.encode().ljust(16, b"\0")
        + bytes(4)
        for name, kind, subtype, offset, size in partitions
    )
    return (rows + b"\xeb\xeb" + 14 * b"\xff" + hashlib.md5(rows, usedforsecurity=False).digest()).ljust(
        0xC00, b"\xff"
    )


def write_build(
    folder, *, chip="esp32c3", app=None, table=None, loader=None, project="myofed", version="0.1.0"
):
    """A build folder; returns it."""
    parts = {
        "bootloader": (0x1000 if chip == "esp32" else 0, "bootloader/bootloader.bin"),
        "partition-table": (0x8000, "partition_table/partition-table.bin"),
        "otadata": (0xF000, "ota_data_initial.bin"),
        "app": (0x20000, "myofed.bin"),
    }
    contents = {
        "bootloader": loader or image(chip, bytes(4096)),
        "partition-table": table or partition_table(),
        "otadata": 0x2000 * b"\xff",
        "app": app or image(chip, app_description(project, version) + bytes(5000)),
    }
    for part, (_, name) in parts.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(contents[part])
    described = {
        "version": "1.3",
        "project_name": project,
        "project_version": version,
        "target": chip,
        "app_bin": "myofed.bin",
    }
    args = {
        "write_flash_args": ["--flash_mode", "dio", "--flash_size", "4MB", "--flash_freq", "80m"],
        "flash_settings": {"flash_mode": "dio", "flash_size": "4MB", "flash_freq": "80m"},
        "flash_files": {hex(offset): name for offset, name in parts.values()},
        **{
            part: {"offset": hex(offset), "file": name, "encrypted": "false"}
            for part, (offset, name) in parts.items()
        },
        "extra_esptool_args": {"after": "hard_reset", "before": "default_reset", "stub": True, "chip": chip},
    }
    (folder / "project_description.json").write_text(json.dumps(described))
    (folder / "flasher_args.json").write_text(json.dumps(args))
    return folder
