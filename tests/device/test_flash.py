"""What `myofed board flash` looks at before it writes, with real esptool at the other end of a pty."""

import json
import os
import struct
import subprocess
import sys
import threading
from contextlib import contextmanager

import pytest
from esp_build import PARTITIONS, app_description, image, partition_table, write_build
from parts import need

from device.build_folder import read_build_folder
from device.flash import FlashJob, run_flash
from device.flash_images import read_app, read_partitions
from protocols.errors import ConfigError, DataError, LinkError

CHIP_IDS = {"esp32c3": 5, "esp32s3": 9}
SYNC, SECURITY_INFO = 0x08, 0x14


def flash(*args):
    """The command line: exit code, standard output, standard error."""
    done = subprocess.run(
        [sys.executable, "-m", "myofed", "board", "flash", *map(str, args)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


@contextmanager
def pty():
    """A port with nobody at its end."""
    board, port = os.openpty()
    try:
        yield board, os.ttyname(port)
    finally:
        os.close(board)
        os.close(port)


def boot_loader(board, chip):
    """Answer as the boot loader in a chip's ROM does, until the port closes: SLIP, one answer a command."""
    received = b""
    while True:
        try:
            received += os.read(board, 4096)
        except OSError:
            return
        *packets, received = received.split(b"\xc0")
        for packet in filter(None, packets):
            operation = packet[1]
            data = (
                struct.pack("<IB7sII", 0, 0, bytes(7), CHIP_IDS[chip], 0)
                if operation == SECURITY_INFO
                else b""
            )
            answer = struct.pack("<BBHI", 1, operation, len(data) + 4, 0) + data + bytes(4)
            escaped = answer.replace(b"\xdb", b"\xdb\xdd").replace(b"\xc0", b"\xdb\xdc")
            os.write(board, (b"\xc0" + escaped + b"\xc0") * (8 if operation == SYNC else 1))


# --- what is in a build -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("chip", ["esp32", "esp32c3", "esp32s3"])
def test_a_build_is_read_whole(tmp_path, chip):
    """Chip, project, version, files by address and partitions come from the bytes."""
    build = read_build_folder(write_build(tmp_path, chip=chip))
    assert (build.chip, build.app.project, build.app.version, build.app.idf_version) == (
        chip,
        "myofed",
        "0.1.0",
        "v5.5.1",
    )
    assert [file.offset for file in build.files] == [
        0x1000 if chip == "esp32" else 0,
        0x8000,
        0xF000,
        0x20000,
    ]
    assert [(part.name, part.offset, part.size) for part in build.partitions] == [
        (p[0], p[3], p[4]) for p in PARTITIONS
    ]


@pytest.mark.parametrize("chip", ["esp32", "esp32c3", "esp32s3"])
def test_esptool_takes_the_images_of_these_tests_for_real(tmp_path, chip):
    """The images made here are right by the judgement of another program."""
    app = write_build(tmp_path, chip=chip) / "myofed.bin"
    told = subprocess.run(
        [sys.executable, "-m", "esptool", "--chip", chip, "image-info", app],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    assert "Project name: myofed" in told
    assert told.count("(valid)") == 2
    assert "(invalid" not in told


def test_an_image_of_a_real_compiler_and_esptool_is_read(tmp_path):
    """An ELF for rv32, turned into an image by esptool elf2image."""
    gcc = need("riscv64-unknown-elf-gcc")
    description = ", ".join(map(str, app_description("myofed", "1.2.3")))
    (tmp_path / "app.c").write_text(
        f'__attribute__((section(".appdesc"), used)) const unsigned char app[] = {{{description}}};\n'
        '__attribute__((section(".iram"), used)) void start(void) { for (;;) { } }\n'
    )
    (tmp_path / "app.ld").write_text(
        "ENTRY(start)\nSECTIONS { .flash.appdesc 0x3C000020 : { *(.appdesc) } .iram0.text 0x40380000 : { *(.iram) } }\n"
    )
    elf, made = tmp_path / "app.elf", tmp_path / "app.bin"
    subprocess.run(
        [
            gcc,
            "-march=rv32imc",
            "-mabi=ilp32",
            "-nostdlib",
            "-T",
            tmp_path / "app.ld",
            tmp_path / "app.c",
            "-o",
            elf,
        ],
        check=True,
        capture_output=True,
    )
    subprocess.run(
        [sys.executable, "-m", "esptool", "--chip", "esp32c3", "elf2image", "-o", made, elf],
        check=True,
        capture_output=True,
    )
    app = read_app(made)
    assert (app.chip, app.project, app.version) == ("esp32c3", "myofed", "1.2.3")


# --- what is wrong with one ---------------------------------------------------------------------------------------


def damaged(name, change):
    """A build folder in which `change` was done to the bytes of one file."""

    def make(folder):
        file = write_build(folder) / name
        file.write_bytes(change(bytearray(file.read_bytes())))

    return make


def changed_json(name, change):
    def make(folder):
        file = write_build(folder) / name
        content = json.loads(file.read_text())
        change(content)
        file.write_text(json.dumps(content))

    return make


def flip(at):
    def change(content):
        content[at] ^= 1
        return content

    return change


def moved(name, **to):
    """The partition table with one row changed."""
    rows = [
        (row[0], row[1], row[2], to.get("offset", row[3]), to.get("size", row[4])) if row[0] == name else row
        for row in PARTITIONS
    ]
    return lambda folder: write_build(folder, table=partition_table(rows))


TABLE = "partition_table/partition-table.bin"
WRONG = {
    "empty folder": (lambda folder: folder.mkdir(exist_ok=True), "has no project_description.json"),
    "half a folder": (
        lambda folder: (write_build(folder) / "flasher_args.json").unlink(),
        "has no flasher_args.json",
    ),
    "no json": (lambda folder: (write_build(folder) / "flasher_args.json").write_text("{"), "cannot be read"),
    "json of another shape": (
        lambda folder: (write_build(folder) / "flasher_args.json").write_text("[]"),
        "no JSON object",
    ),
    "nothing to flash": (
        changed_json("flasher_args.json", lambda args: args.update(flash_files={})),
        "names no flash_files",
    ),
    "no chip": (
        changed_json("flasher_args.json", lambda args: args.pop("extra_esptool_args")),
        "has no extra_esptool_args.chip",
    ),
    "app missing": (lambda folder: (write_build(folder) / "myofed.bin").unlink(), "myofed.bin is missing"),
    "app named twice": (
        changed_json("flasher_args.json", lambda args: args["app"].update(offset="0x30000")),
        "flash_files says otherwise",
    ),
    "another chip's project": (
        changed_json("project_description.json", lambda it: it.update(target="esp32s3")),
        "is for esp32s3, its flasher_args.json for esp32c3",
    ),
    "another chip's app": (
        lambda folder: write_build(folder, app=image("esp32s3", app_description())),
        "image for esp32s3, the build is for esp32c3",
    ),
    "another chip's boot loader": (
        lambda folder: write_build(folder, loader=image("esp32", bytes(64))),
        "image for esp32, the build is for esp32c3",
    ),
    "a chip without a board": (
        lambda folder: write_build(folder, chip="esp32c6"),
        "expected one of esp32, esp32s3, esp32c3",
    ),
    "another project": (
        lambda folder: write_build(folder, project="hello_world"),
        "a build of 'hello_world', expected 'myofed'",
    ),
    "an older image": (
        changed_json("project_description.json", lambda it: it.update(project_version="9")),
        "project_version '0.1.0', project_description.json '9'",
    ),
    "no image": (damaged("myofed.bin", lambda content: b"\x00" + content[1:]), "expected e9"),
    "cut image": (damaged("myofed.bin", lambda content: content[:-40]), "is cut short"),
    "bit flip in the app": (damaged("myofed.bin", flip(3000)), "its SHA-256 does not fit"),
    "bit flip in the boot loader": (
        damaged("bootloader/bootloader.bin", flip(300)),
        "its SHA-256 does not fit",
    ),
    "no app description": (
        lambda folder: write_build(folder, app=image("esp32c3", bytes(999))),
        "no app description",
    ),
    "bit flip in the table": (damaged(TABLE, flip(0x24)), "MD5 of the partition table does not fit"),
    "no table": (damaged(TABLE, lambda content: b"\x00" * len(content)), "expected aa50"),
    "cut table": (damaged(TABLE, lambda content: content[:64]), "no whole partition table"),
    "empty table": (lambda folder: write_build(folder, table=partition_table(())), "is empty"),
    "overlap": (moved("ota_0", size=0x190000), "ota_0 ends at 0x1b0000, behind the start of ota_1"),
    "crooked app": (moved("ota_1", offset=0x1A1000, size=0x17F000), "multiple of 0x10000"),
    "beyond the flash": (moved("student", size=0x100000), "beyond the flash of 4MB"),
    "no student": (
        lambda folder: write_build(folder, table=partition_table(PARTITIONS[:-1])),
        "no partition 'student'",
    ),
    "app too large": (moved("ota_0", size=0x1000), "its partition ota_0 only 4,096"),
    "app nowhere": (
        lambda folder: write_build(folder, table=partition_table([*PARTITIONS[:3], *PARTITIONS[4:]])),
        "where no partition for apps begins",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_a_build_is_told_before_a_port_is_touched(tmp_path, case):
    """One sentence that names the file and what was expected."""
    make, message = WRONG[case]
    make(tmp_path)
    with pytest.raises(DataError) as caught:
        run_flash(FlashJob(tmp_path, port="/dev/null"))
    assert message in str(caught.value)
    assert "\n" not in str(caught.value)


def test_partitions_come_sorted_whatever_the_order_of_rows(tmp_path):
    (tmp_path / "table").write_bytes(partition_table(PARTITIONS[::-1]))
    assert [part.name for part in read_partitions(tmp_path / "table")] == [row[0] for row in PARTITIONS]


@pytest.mark.parametrize("size", range(0, 0xC00, 97))
def test_no_cut_of_a_table_or_an_image_raises_anything_else(tmp_path, size):
    """Only DataError, wherever a file ends."""
    for content, read in (
        (partition_table(), read_partitions),
        (image("esp32c3", app_description() + bytes(3000)), read_app),
    ):
        (tmp_path / "cut").write_bytes(content[:size])
        if read is read_app or size < 32 * (len(PARTITIONS) + 1):
            with pytest.raises(DataError):
                read(tmp_path / "cut")


# --- the command ---------------------------------------------------------------------------------------------------


def test_a_dry_run_tells_and_needs_no_port(tmp_path):
    code, out, _ = flash(write_build(tmp_path), "--dry-run", "--json")
    told = json.loads(out)
    assert (code, told["flashed"], told["chip"], told["version"], told["port"]) == (
        0,
        False,
        "esp32c3",
        "0.1.0",
        None,
    )
    assert [(file["offset"], file["bytes"]) for file in told["files"]][1:3] == [
        (0x8000, 0xC00),
        (0xF000, 0x2000),
    ]


def test_a_port_that_is_not_there_is_named(tmp_path):
    code, out, told = flash(write_build(tmp_path), "--port", "/dev/ttyNOTHING")
    assert (code, out) == (1, "")
    assert "/dev/ttyNOTHING: there is no such port" in told.splitlines()[-1]


def test_a_port_that_another_program_holds_is_told(tmp_path):
    import serial

    with (
        pty() as (_, port),
        serial.Serial(port, exclusive=True),
        pytest.raises(LinkError, match="another program holds"),
    ):
        run_flash(FlashJob(write_build(tmp_path), port=port))


def test_nobody_at_the_port_ends_in_time_with_what_to_do(tmp_path):
    with pty() as (_, port):
        code, out, told = flash(write_build(tmp_path), "--port", port, "--json")
    assert (code, out) == (1, "")
    assert f"{port}: no esp32c3 answers; hold BOOT" in told.splitlines()[-1]
    assert "Traceback" not in told


def test_a_board_of_another_chip_is_refused(tmp_path):
    """Real esptool talks to a boot loader that says it is an ESP32-S3."""
    with pty() as (board, port):
        threading.Thread(target=boot_loader, args=(board, "esp32s3"), daemon=True).start()
        code, _, told = flash(write_build(tmp_path), "--port", port)
    assert code == 1
    assert f"{port}: This chip is ESP32-S3, not ESP32-C3; build for the chip" in told.splitlines()[-1]


def test_without_esptool_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pty() as (_, port), pytest.raises(ConfigError, match=r'pip install "myofed\[flash\]"'):
        run_flash(FlashJob(write_build(tmp_path), port=port))


@pytest.mark.parametrize(
    ("there", "message"), [((), "no board is plugged in"), (("/dev/a", "/dev/b"), "2 boards are plugged in")]
)
def test_without_a_port_the_only_board_is_meant(tmp_path, monkeypatch, there, message):
    found = [type("Port", (), {"device": device, "vid": 0x303A}) for device in there]
    monkeypatch.setattr("serial.tools.list_ports.comports", lambda: found)
    with pytest.raises((ConfigError, LinkError), match=message):
        run_flash(FlashJob(write_build(tmp_path)))


def test_a_baud_that_no_port_has_is_refused(tmp_path):
    code, _, told = flash(write_build(tmp_path), "--baud", "12")
    assert (code, told) == (2, "myofed: --baud is 12, expected 9600 to 5000000\n")
