"""`myofed board flash`: put a build of the firmware onto a board, after looking at it. The port is esptool's."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import serial
from serial.tools import list_ports

from device.build_folder import BuildFolder, read_build_folder
from device.links.serial_ports import named_device, port_trouble, serial_ports
from protocols.errors import ConfigError, LinkError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

DEFAULT_BAUD = 460_800
BAUDS = (9_600, 5_000_000)
# esptool tries to reach the boot loader so often; each try takes a few seconds.
CONNECT_ATTEMPTS = 3
# 4 MB at 115,200 baud take 6 minutes.
TIMEOUT_S = 900.0
# Espressif's own USB, and the bridges of the usual devkits: CP210x, CH34x, FTDI.
USB_VENDORS = (0x303A, 0x10C4, 0x1A86, 0x0403)
FATAL = "A fatal error occurred: "


@dataclass(frozen=True, slots=True)
class FlashJob:
    """What to flash, and where.

    Args:
        folder: a build folder of ESP-IDF.
        port: serial port; None: the only board that is plugged in.
        baud: of the transfer; USB Serial/JTAG has none and ignores it.
        dry_run: check and tell, write nothing.

    Raises:
        ConfigError: a baud that no port has.
    """

    folder: Path
    port: str | None = None
    baud: int = DEFAULT_BAUD
    dry_run: bool = False

    def __post_init__(self) -> None:
        """Refuse what esptool would refuse late."""
        if not BAUDS[0] <= self.baud <= BAUDS[1]:
            raise ConfigError(f"--baud is {self.baud}, expected {BAUDS[0]} to {BAUDS[1]}")


def run_flash(job: FlashJob) -> dict[str, Any]:
    """Check the build, say what will be written, write it.

    Returns:
        What was written where, as `--json` prints it.

    Raises:
        DataError: the folder is no build of this firmware, or a damaged one.
        ConfigError: esptool is missing, or several boards are there and none was named.
        LinkError: no such port, it is taken, nobody answers, or it is another chip.
    """
    build = read_build_folder(job.folder)
    port = None if job.dry_run and job.port is None else _port(job.port)
    described = _described(build, port, job)
    sys.stderr.writelines(f"{line}\n" for line in _plan_lines(described) if not job.dry_run)
    if not job.dry_run and port is not None:
        _check_port(port)
        _write(build, port, job.baud)
    return {**described, "flashed": not job.dry_run}


def flash_text(result: Mapping[str, Any]) -> str:
    """What was done, for people."""
    if result["flashed"]:
        return (
            f"{result['project']} {result['version']} is on the {result['chip']} at {result['port']}; "
            "next: myofed board list"
        )
    return "\n".join([*_plan_lines(result), "nothing was written (--dry-run)"])


def _described(build: BuildFolder, port: str | None, job: FlashJob) -> dict[str, Any]:
    return {
        "folder": str(build.path),
        "chip": build.chip,
        "project": build.app.project,
        "version": build.app.version,
        "idf_version": build.app.idf_version,
        "port": port,
        "baud": job.baud,
        "files": [
            {"offset": file.offset, "file": str(file.path), "bytes": file.size} for file in build.files
        ],
        "partitions": [
            {"name": part.name, "offset": part.offset, "bytes": part.size} for part in build.partitions
        ],
    }


def _plan_lines(described: Mapping[str, Any]) -> list[str]:
    first = (
        f"{described['project']} {described['version']} for {described['chip']} "
        f"(ESP-IDF {described['idf_version']}) to {described['port'] or 'no port yet'}"
    )
    return [
        first,
        *(f"  {file['offset']:#08x}  {file['bytes']:>9,} B  {file['file']}" for file in described["files"]),
    ]


def _port(named: str | None) -> str:
    """The port named, or the only board that is plugged in."""
    if named is not None:
        return named_device(named.removeprefix("serial://"))
    there = list_ports.comports()
    boards = sorted(port.device for port in there if port.vid in USB_VENDORS)
    if len(boards) > 1:
        raise ConfigError(
            f"{len(boards)} boards are plugged in, name one: --port {' or --port '.join(boards)}"
        )
    if not boards:
        others = " or ".join(sorted(port.device for port in there))
        named_there = f"; or name one with --port: {others}" if others else ""
        raise LinkError(f"no board is plugged in: plug one in with a cable that carries data{named_there}")
    return str(boards[0])


def _check_port(port: str) -> None:
    """Open it once: what is wrong with it is then told in our words; esptool opens it again."""
    try:
        serial.Serial(port, exclusive=True).close()
    except (OSError, ValueError) as error:
        raise port_trouble(port, error, serial_ports()) from None


def _command(build: BuildFolder, port: str, baud: int) -> list[str]:
    options = [
        item
        for name, value in build.flash_settings.items()
        for item in (f"--{name.replace('_', '-')}", value)
    ]
    files = [item for file in build.files for item in (hex(file.offset), str(file.path))]
    return [
        *(sys.executable, "-m", "esptool", "--chip", build.chip, "--port", port, "--baud", str(baud)),
        *("--before", "default-reset", "--after", "hard-reset", "--connect-attempts", str(CONNECT_ATTEMPTS)),
        *("write-flash", *options, *files),
    ]


def _write(build: BuildFolder, port: str, baud: int) -> None:
    """Run esptool, its lines onto stderr as they come."""
    if importlib.util.find_spec("esptool") is None:
        raise ConfigError('esptool is missing: pip install "myofed[flash]"')
    process = subprocess.Popen(  # noqa: S603  (our own command, of files that were checked)
        _command(build, port, baud),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env={**os.environ, "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"},
    )
    deadline = threading.Timer(TIMEOUT_S, process.kill)
    deadline.start()
    try:
        lines = _relayed(process)
    finally:
        deadline.cancel()
        if process.poll() is None:  # interrupted: a half-written board is flashed again
            process.terminate()
        process.wait()
    if process.returncode:
        raise LinkError(_trouble(lines, build, port))


def _relayed(process: subprocess.Popen[str]) -> list[str]:
    lines: list[str] = []
    for line in process.stdout or ():
        sys.stderr.write(line)
        sys.stderr.flush()
        lines.append(line.strip())
    return lines


def _trouble(lines: list[str], build: BuildFolder, port: str) -> str:
    """The one line that says what went wrong and what to do."""
    fatal = next((line.split(FATAL)[1] for line in reversed(lines) if FATAL in line), "")
    if "Wrong chip" in fatal:
        return f"{port}: {fatal.split('.')[0]}; build for the chip that is there: idf.py set-target"
    if "Failed to connect" in fatal or "No serial data received" in fatal:
        return (
            f"{port}: no {build.chip} answers; hold BOOT, press RESET, let go of BOOT, then flash again "
            "(and close other programs on that port)"
        )
    return (
        f"{port}: esptool failed ({fatal or next((line for line in reversed(lines) if line), 'no output')})"
    )
