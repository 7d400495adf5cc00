"""The ESP-IDF project agrees with itself: what Kconfig defines, C uses, CMake lists, and the README says."""

import re
from itertools import pairwise
from pathlib import Path

import pytest

FIRMWARE = Path(__file__).parents[2] / "device/firmware"
COMPONENT = FIRMWARE / "components/myofed_board"
SOURCES = sorted((COMPONENT / "src").glob("*.c"))
CODE = {path.name: path.read_text() for path in [*COMPONENT.rglob("*.[ch]"), *FIRMWARE.glob("main/*.[ch]")]}
KCONFIG = (COMPONENT / "Kconfig").read_text()
README = (FIRMWARE / "README.md").read_text()
TARGETS = {"ESP32": "esp32", "ESP32-S3": "esp32s3", "ESP32-C3": "esp32c3"}
FLASH_BYTES = 4 << 20


def kconfig_entries():
    """Body of each config and choice, by symbol."""
    parts = re.split(r"^\s*(?:config|choice) (\w+)$", KCONFIG, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def default_of(symbol, target):
    """The first default whose condition holds, as Kconfig takes it."""
    for value, condition in re.findall(
        r'^\s*default "?([-\w,]+)"?(?: if (\w+))?$', kconfig_entries()[symbol], re.MULTILINE
    ):
        if condition in ("", f"IDF_TARGET_{target.upper()}"):
            return value
    return None


def partitions():
    rows = [
        line for line in (FIRMWARE / "partitions.csv").read_text().splitlines() if line and line[0] != "#"
    ]
    fields = [[field.strip() for field in row.split(",")] for row in rows]
    return [(name, kind, int(offset, 0), int(size, 0)) for name, kind, _, offset, size in fields]


def test_every_symbol_of_ours_in_c_is_defined():
    used = {symbol for text in CODE.values() for symbol in re.findall(r"\bCONFIG_(MYOFED_\w+)", text)}
    assert used
    assert used <= set(kconfig_entries())


def test_every_symbol_defined_is_used():
    """Members of a choice that are the only other way, and the choices themselves, speak by their absence."""
    used = {symbol for text in CODE.values() for symbol in re.findall(r"\bCONFIG_(MYOFED_\w+)", text)}
    assert set(kconfig_entries()) - used == {"MYOFED_FRONT_END", "MYOFED_FRONT_END_ADS1299", "MYOFED_SERIAL"}


def test_cmake_lists_every_source_and_no_other():
    listed = re.findall(r"src/(\w+\.c)", (COMPONENT / "CMakeLists.txt").read_text())
    assert listed == sorted(listed)
    assert listed == [path.name for path in SOURCES]


def test_every_header_of_ours_that_is_included_is_there():
    folders = [COMPONENT / "src", COMPONENT / "include", FIRMWARE / "core/include"]
    ours = {path.relative_to(folder).as_posix() for folder in folders for path in folder.rglob("*.h")}
    wanted = {
        name
        for text in CODE.values()
        for name in re.findall(r'#include "((?:myofed|myofed_board)/[\w.]+|[\w]+\.h)"', text)
    }
    local = {name for name in wanted if "/" in name}
    assert local
    assert local <= ours


@pytest.mark.parametrize("name", [path.name for path in SOURCES])
def test_every_file_stays_within_300_lines(name):
    assert len(CODE[name].splitlines()) < 300


def test_partitions_are_aligned_apart_and_fit_4_mb():
    rows = sorted(partitions(), key=lambda row: row[2])
    for name, kind, offset, size in rows:
        assert offset % (0x10000 if kind == "app" else 0x1000) == 0, name
        assert size % 0x1000 == 0, name
    for before, after in pairwise(rows):
        assert before[2] + before[3] <= after[2], f"{before[0]} and {after[0]} overlap"
    assert rows[0][2] >= 0x9000  # the partition table stands at 0x8000
    assert rows[-1][2] + rows[-1][3] <= FLASH_BYTES


def test_there_are_two_slots_for_firmware_and_one_for_the_student():
    assert [row[0] for row in partitions() if row[1] == "app"] == ["ota_0", "ota_1"]
    label = re.search(r'PARTITION_LABEL "(\w+)"', CODE["student.c"]).group(1)
    assert label in {row[0] for row in partitions() if row[1] == "data"}


def test_the_table_for_partitions_in_the_readme_is_the_file():
    told = dict(re.findall(r"^\| (student|ota_0).*?\| (0x\w+) \|", README, re.MULTILINE))
    assert {name: int(offset, 0) for name, offset in told.items()} == {
        name: offset for name, _, offset, _ in partitions() if name in told
    }
    assert len(told) == 2


def test_the_pins_in_the_readme_are_kconfigs_defaults():
    head = next(line for line in README.splitlines() if line.startswith("| | ESP32 |"))
    targets = [TARGETS[cell.strip()] for cell in head.strip("|").split("|")[1:]]
    rows = re.findall(r"^\| `(MYOFED_\w+)` \| (.*?) \|$", README, re.MULTILINE)
    assert {symbol for symbol, _ in rows} == {symbol for symbol in kconfig_entries() if "GPIO" in symbol}
    for symbol, cells in rows:
        for target, told in zip(targets, cells.split(" | "), strict=True):
            assert default_of(symbol, target) == told, f"{symbol} on {target}"


def test_no_pin_of_a_converter_is_given_twice():
    for target in TARGETS.values():
        pins = [
            default_of(symbol, target)
            for symbol in kconfig_entries()
            if "_SPI_" in symbol or re.search(r"ADS_\w+GPIO", symbol)
        ]
        assert len(pins) == len(set(pins)) == 6


def test_the_settings_in_the_readme_are_those_of_the_firmware():
    known = re.findall(r'^    \[MB_\w+\] = \{"(\w+)", \w+, (true|false)', CODE["settings.c"], re.MULTILINE)
    told = re.findall(
        r"^\| `(\w+)` \| [^|]*\| ([^|]*)\|$",
        README.split("## Settings")[1].split("### MQTT")[0],
        re.MULTILINE,
    )
    assert [key for key, _ in told] == [key for key, _ in known]
    assert [key for key, what in told if "never read back" in what] == [
        key for key, hidden in known if hidden == "true"
    ]


def test_setting_names_fit_nvs():
    for key in re.findall(r'^    \[MB_\w+\] = \{"(\w+)"', CODE["settings.c"], re.MULTILINE):
        assert len(key) <= 15


def test_the_hello_names_every_command_of_the_table():
    words = re.search(r'MB_CAPABILITIES "([^"]+)"', CODE["commands.h"]).group(1).split()
    assert words == re.findall(r'\{"(\w+)", \w+\}', CODE["commands.c"])


def test_the_topics_are_those_of_the_protocol():
    """The table of transport_mqtt.c against protocols/topics.py."""
    from protocols.frame import Kind
    from protocols.topics import DELIVERY

    rows = re.findall(r'\[MYOFED_(\w+)\] = \{"(\w+)", (\d), (\d)\}', CODE["transport_mqtt.c"])
    sent = {kind: delivery for kind, delivery in DELIVERY.items() if kind is not Kind.COMMAND}
    assert {Kind[name]: (level, int(qos), int(kept)) for name, level, qos, kept in rows} == {
        kind: (kind.name.lower(), delivery.qos, int(delivery.retained)) for kind, delivery in sent.items()
    }
    assert "esp_mqtt_client_enqueue" not in re.sub(r"//.*", "", CODE["transport_mqtt.c"])


def test_the_version_is_said_once_for_the_image_and_the_component():
    version = re.search(r"PROJECT_VER (\S+)\)", (FIRMWARE / "CMakeLists.txt").read_text()).group(1)
    assert f'version: "{version}"' in (COMPONENT / "idf_component.yml").read_text()
