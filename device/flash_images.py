"""The bytes that go into the flash of an ESP32: images and the partition table. Only parsing, no port.

Source: ESP-IDF, "App Image Format" and "Partition Tables" (docs.espressif.com).
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from protocols.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

CHIPS = {
    0: "esp32",
    2: "esp32s2",
    5: "esp32c3",
    9: "esp32s3",
    12: "esp32c2",
    13: "esp32c6",
    16: "esp32h2",
    18: "esp32p4",
    20: "esp32c61",
    23: "esp32c5",
}
IMAGE_MAGIC = 0xE9
HEADER = struct.Struct("<BBBBI BBBB H BHH 4x B")  # esp_image_header_t
SEGMENT = struct.Struct("<II")  # load address, bytes
CHECKSUM_BLOCK = 16
DIGEST_BYTES = 32
APP_MAGIC = 0xABCD5432
APP = struct.Struct("<II8x 32s 32s 16s 16s 32s")  # esp_app_desc_t up to idf_ver

ENTRY = struct.Struct("<2s BB II 16s I")
ENTRY_MAGIC, DIGEST_MAGIC = b"\xaa\x50", b"\xeb\xeb" + 14 * b"\xff"
APP_TYPE, DATA_TYPE = 0, 1
APP_ALIGNMENT, DATA_ALIGNMENT = 0x10000, 0x1000


@dataclass(frozen=True, slots=True)
class App:
    """What an application image says of itself."""

    chip: str
    project: str
    version: str
    idf_version: str


@dataclass(frozen=True, slots=True)
class Partition:
    """One row of the partition table; offset and size in bytes."""

    name: str
    type: int
    subtype: int
    offset: int
    size: int

    @property
    def end(self) -> int:
        """The first byte behind it."""
        return self.offset + self.size

    @property
    def is_app(self) -> bool:
        """Whether firmware goes there."""
        return self.type == APP_TYPE


def read_app(path: Path) -> App:
    """Read an application image: whole, undamaged, and what it says of itself.

    Raises:
        DataError: it is none, is cut short, or its digest does not fit.
    """
    image = _read(path)
    chip = _chip_of(path, image)
    _check_whole(path, image)
    if len(image) < HEADER.size + SEGMENT.size + APP.size:
        raise DataError(f"{path} has {len(image)} bytes: too short for an app")
    magic, _, version, project, _, _, idf = APP.unpack_from(image, HEADER.size + SEGMENT.size)
    if magic != APP_MAGIC:
        raise DataError(f"{path} holds no app description: an image, but of no app of ESP-IDF")
    return App(chip, _text(project), _text(version), _text(idf))


def image_chip(path: Path) -> str:
    """The chip that an image is for, of a boot loader or an app.

    Raises:
        DataError: it is no whole image.
    """
    image = _read(path)
    _check_whole(path, image)
    return _chip_of(path, image)


def read_partitions(path: Path) -> tuple[Partition, ...]:
    """Read and check a partition table.

    Returns:
        The partitions, by offset.

    Raises:
        DataError: it is none, is damaged, or its partitions overlap.
    """
    table = _read(path)
    partitions: list[Partition] = []
    for at in range(0, len(table) - ENTRY.size + 1, ENTRY.size):
        row = table[at : at + ENTRY.size]
        if row.startswith(DIGEST_MAGIC):
            if row[16:] != hashlib.md5(table[:at], usedforsecurity=False).digest():
                raise DataError(f"{path}: the MD5 of the partition table does not fit: it is damaged")
            break
        if not row.startswith(ENTRY_MAGIC):
            raise DataError(
                f"{path}: row {at // ENTRY.size} begins with {row[:2].hex()}, expected aa50: no partition table"
            )
        _, kind, subtype, offset, size, name, _ = ENTRY.unpack(row)
        partitions.append(Partition(_text(name), kind, subtype, offset, size))
    else:
        raise DataError(f"{path}: no MD5 at its end: no whole partition table")
    return _checked(path, sorted(partitions, key=lambda partition: partition.offset))


def _checked(path: Path, partitions: list[Partition]) -> tuple[Partition, ...]:
    if not partitions:
        raise DataError(f"{path}: the partition table is empty")
    for partition in partitions:
        alignment = APP_ALIGNMENT if partition.is_app else DATA_ALIGNMENT
        if partition.offset % alignment:
            raise DataError(
                f"{path}: {partition.name} begins at {partition.offset:#x}, expected a multiple of {alignment:#x}"
            )
    for before, after in pairwise(partitions):
        if before.end > after.offset:
            raise DataError(
                f"{path}: {before.name} ends at {before.end:#x}, behind the start of {after.name} at {after.offset:#x}"
            )
    return tuple(partitions)


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read ({error.strerror})") from None


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "replace")


def _chip_of(path: Path, image: bytes) -> str:
    if len(image) < HEADER.size or image[0] != IMAGE_MAGIC:
        raise DataError(
            f"{path} begins with {image[:1].hex() or 'nothing'}, expected e9: no image for an ESP32"
        )
    number = HEADER.unpack_from(image)[9]
    return CHIPS.get(number, f"an unknown chip (number {number})")


def _check_whole(path: Path, image: bytes) -> None:
    """Walk the segments to the checksum and, where there is one, the digest behind it."""
    _chip_of(path, image)
    header = HEADER.unpack_from(image)
    at = HEADER.size
    for _ in range(header[1]):
        if at + SEGMENT.size > len(image):
            raise DataError(f"{path} is cut short, at {len(image):,} bytes; build it anew: idf.py build")
        at += SEGMENT.size + SEGMENT.unpack_from(image, at)[1]
    end = (at // CHECKSUM_BLOCK + 1) * CHECKSUM_BLOCK  # the checksum is the last byte of a block
    has_digest = bool(header[-1])
    if end + has_digest * DIGEST_BYTES > len(image):
        raise DataError(f"{path} is cut short, at {len(image):,} bytes; build it anew: idf.py build")
    if has_digest and image[end : end + DIGEST_BYTES] != hashlib.sha256(image[:end]).digest():
        raise DataError(f"{path} is damaged: its SHA-256 does not fit; build it anew: idf.py build")
