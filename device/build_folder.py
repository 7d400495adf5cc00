"""A build folder of ESP-IDF: which chip and version it is for, and whether its files fit together.

Read from the bytes that will be written, not only from what the folder says about itself.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from device.flash_images import App, Partition, image_chip, read_app, read_partitions
from protocols.errors import DataError

if TYPE_CHECKING:
    from pathlib import Path

PROJECT = "myofed"
STUDENT = "student"
# Where the boot loader of each chip begins (ESP-IDF, components/bootloader/Kconfig.projbuild).
BOOTLOADER_AT = {"esp32": 0x1000, "esp32s3": 0x0, "esp32c3": 0x0}
HOW_TO_BUILD = "build one: idf.py -C device/firmware set-target esp32s3 build"


@dataclass(frozen=True, slots=True)
class FlashFile:
    """A file of the build and where it goes.

    Attributes:
        offset: address in the flash, in bytes.
        path: the file.
        size: bytes.
    """

    offset: int
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class BuildFolder:
    """A build that was checked whole.

    Attributes:
        path: the folder.
        chip: such as esp32s3.
        app: project, version and chip, from the image itself.
        files: all that is written, by offset.
        partitions: the table, by offset.
        flash_settings: mode, size and frequency, as esptool takes them.
    """

    path: Path
    chip: str
    app: App
    files: tuple[FlashFile, ...]
    partitions: tuple[Partition, ...]
    flash_settings: dict[str, str]


def read_build_folder(path: Path) -> BuildFolder:
    """Read and check a build folder.

    Raises:
        DataError: it is none, is of another project or chip, or its files do not fit together.
    """
    described, args = _read_json(path, "project_description.json"), _read_json(path, "flasher_args.json")
    chip = _chip(path, described, args)
    files = _files(path, args)
    settings = {
        name: str(_member(path, args, "flash_settings", name))
        for name in ("flash_mode", "flash_size", "flash_freq")
    }
    app_file, table_file, loader_file = (
        _part(path, args, files, part) for part in ("app", "partition-table", "bootloader")
    )
    app = read_app(app_file.path)
    partitions = read_partitions(table_file.path)
    _check_chips(chip, app, app_file, loader_file)
    _check_project(path, described, app)
    _check_flash_size(partitions, settings["flash_size"], table_file.path)
    _check_places(files, partitions, app_file, table_file, loader_file)
    return BuildFolder(path, chip, app, files, partitions, settings)


def _read_json(path: Path, name: str) -> dict[str, Any]:
    file = path / name
    try:
        found = json.loads(file.read_text("utf-8"))
    except FileNotFoundError:
        raise DataError(
            f"{path} has no {name}: no build folder of ESP-IDF, or an unfinished one; {HOW_TO_BUILD}"
        ) from None
    except (ValueError, OSError) as error:
        raise DataError(f"{file} cannot be read ({error}); {HOW_TO_BUILD}") from None
    if not isinstance(found, dict):
        raise DataError(f"{file} is no JSON object; {HOW_TO_BUILD}")
    return found


def _member(path: Path, args: dict[str, Any], *keys: str) -> Any:
    found: Any = args
    for key in keys:
        if not isinstance(found, dict) or key not in found:
            raise DataError(f"{path / 'flasher_args.json'} has no {'.'.join(keys)}; {HOW_TO_BUILD}")
        found = found[key]
    return found


def _chip(path: Path, described: dict[str, Any], args: dict[str, Any]) -> str:
    target, chip = described.get("target"), _member(path, args, "extra_esptool_args", "chip")
    if target != chip:
        raise DataError(
            f"{path}: the project is for {target}, its flasher_args.json for {chip}; "
            "build it anew: idf.py fullclean build"
        )
    if chip not in BOOTLOADER_AT:
        raise DataError(f"{path} is for {chip}, expected one of {', '.join(BOOTLOADER_AT)}; {HOW_TO_BUILD}")
    return str(chip)


def _files(path: Path, args: dict[str, Any]) -> tuple[FlashFile, ...]:
    named = _member(path, args, "flash_files")
    if not isinstance(named, dict) or not named:
        raise DataError(f"{path / 'flasher_args.json'} names no flash_files; {HOW_TO_BUILD}")
    return tuple(
        sorted(
            (_file(path, str(offset), str(name)) for offset, name in named.items()),
            key=lambda file: file.offset,
        )
    )


def _file(path: Path, offset: str, name: str) -> FlashFile:
    file = path / name
    try:
        return FlashFile(int(offset, 0), file, file.stat().st_size)
    except ValueError:
        raise DataError(
            f"{path / 'flasher_args.json'}: offset {offset!r} of {name}, expected a number"
        ) from None
    except OSError:
        raise DataError(
            f"{file} is missing, though flasher_args.json names it; build it anew: idf.py build"
        ) from None


def _part(path: Path, args: dict[str, Any], files: tuple[FlashFile, ...], part: str) -> FlashFile:
    """The file of one part, as named beside `flash_files`."""
    offset, name = str(_member(path, args, part, "offset")), str(_member(path, args, part, "file"))
    found = _file(path, offset, name)
    if found not in files:
        raise DataError(
            f"{path / 'flasher_args.json'}: {part} is {name} at {offset}, but flash_files says otherwise"
        )
    return found


def _check_chips(chip: str, app: App, app_file: FlashFile, loader_file: FlashFile) -> None:
    for file, found in ((app_file, app.chip), (loader_file, image_chip(loader_file.path))):
        if found != chip:
            raise DataError(
                f"{file.path} is an image for {found}, the build is for {chip}; build it anew: idf.py fullclean build"
            )
    if loader_file.offset != BOOTLOADER_AT[chip]:
        raise DataError(
            f"boot loader at {loader_file.offset:#x}, expected {BOOTLOADER_AT[chip]:#x} on {chip}"
        )


def _check_project(path: Path, described: dict[str, Any], app: App) -> None:
    if app.project != PROJECT:
        raise DataError(f"{path} is a build of {app.project!r}, expected {PROJECT!r}; {HOW_TO_BUILD}")
    for key, found in (("project_name", app.project), ("project_version", app.version)):
        if described.get(key) != found:
            raise DataError(
                f"{path}: the image says {key} {found!r}, project_description.json {described.get(key)!r}; "
                "build it anew: idf.py build"
            )


def _check_flash_size(partitions: tuple[Partition, ...], flash_size: str, table: Path) -> None:
    try:
        size = int(flash_size.removesuffix("MB")) << 20
    except ValueError:
        raise DataError(f"flash size {flash_size!r}, expected such as 4MB") from None
    if partitions[-1].end > size:
        raise DataError(
            f"{table}: {partitions[-1].name} ends at {partitions[-1].end:#x}, beyond the flash of {flash_size}"
        )


def _check_places(
    files: tuple[FlashFile, ...],
    partitions: tuple[Partition, ...],
    app_file: FlashFile,
    table_file: FlashFile,
    loader_file: FlashFile,
) -> None:
    """Files neither overlap nor leave their partition; the app stands in a slot for apps; the student has its own."""
    for before, after in pairwise(files):
        if before.offset + before.size > after.offset:
            raise DataError(
                f"{before.path.name} ends at {before.offset + before.size:#x}, behind the start of {after.path.name}"
            )
    if table_file.offset + table_file.size > partitions[0].offset:
        raise DataError(
            f"partition {partitions[0].name} begins at {partitions[0].offset:#x}, within the partition table"
        )
    for file in files:
        if file not in (table_file, loader_file):
            _check_slot(file, partitions, is_app=file == app_file)
    if STUDENT not in {partition.name for partition in partitions if not partition.is_app}:
        raise DataError(
            f"{table_file.path} has no partition {STUDENT!r}: set partitions.csv of device/firmware in menuconfig"
        )


def _check_slot(file: FlashFile, partitions: tuple[Partition, ...], *, is_app: bool) -> None:
    slot = next((partition for partition in partitions if partition.offset == file.offset), None)
    if slot is None or (is_app and not slot.is_app):
        raise DataError(
            f"{file.path.name} goes to {file.offset:#x}, where no partition{' for apps' if is_app else ''} begins"
        )
    if file.size > slot.size:
        raise DataError(
            f"{file.path.name} has {file.size:,} bytes, its partition {slot.name} only {slot.size:,}"
        )
