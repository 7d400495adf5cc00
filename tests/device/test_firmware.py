"""The core's own C tests pass, here under sanitizers and on the ESP32-C3's instruction set, with the same bytes."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
from parts import need

ROOT = Path(__file__).parents[2]
CORE = ROOT / "device/firmware/core"


@pytest.fixture(scope="module")
def build(tmp_path_factory):
    """A build folder of this run, so that runs at the same time do not meet."""
    need("gcc")
    need("make")
    return tmp_path_factory.mktemp("core")


def make(target, build):
    command = ["make", "-s", "-C", str(CORE), target, f"BUILD={build}", f"PYTHON={sys.executable}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def passed(output):
    """How many checks a test program made; all of them held."""
    (checks, failed) = map(int, re.search(r"(\d+) checks, (\d+) failed", output).groups())
    assert failed == 0
    return checks


def test_the_unit_tests_pass_under_sanitizers(build):
    """Golden vectors, filters, commands, and two million bytes of noise into a board."""
    assert passed(make("test", build)) > 50_000


def test_the_same_tests_pass_on_rv32_and_make_the_same_bytes(build):
    need("riscv64-unknown-elf-gcc")
    need("qemu-system-riscv32")
    here, there = make("bench", build), make("rv32", build)
    assert passed(there) > 30_000
    made = re.findall(r"^bytes .*$", here, re.MULTILINE)
    assert len(made) >= 7
    assert re.findall(r"^bytes .*$", there, re.MULTILINE) == made
    costs = {name: int(cost) for name, cost in re.findall(r"^cost (\S+) (\d+)$", there, re.MULTILINE)}
    assert costs["frame_8x1kHz"] > costs["crc_8x1kHz"] > 0


def test_the_benchmark_prints_its_figures(build):
    need("riscv64-unknown-elf-gcc")
    need("qemu-system-riscv32")
    command = [
        sys.executable,
        str(ROOT / "benchmarks/firmware_core.py"),
        "--json",
        "--seconds=1",
        f"--build={build}",
    ]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout)
    assert figures["same_bytes_as_here"]
    assert figures["instructions"]["frame_16x2kHz"] > 0
    assert 0 < figures["text_bytes"] < 32_000
    assert figures["emulated_boards_core_percent"] > 0


def test_every_source_is_in_the_component():
    listed = re.findall(r"src/\w+\.c", (CORE / "CMakeLists.txt").read_text())
    assert sorted(listed) == sorted(f"src/{path.name}" for path in CORE.glob("src/*.c"))


def test_the_core_needs_no_more_than_the_c_library_s_least():
    """No heap, no files, no clock: what it includes is stdint, stddef, stdbool, string and math."""
    files = [*CORE.glob("src/*"), *CORE.glob("include/myofed/*")]
    included = {
        name for path in files for name in re.findall(r"^#include <(.*)>", path.read_text(), re.MULTILINE)
    }
    assert included == {"stdint.h", "stddef.h", "stdbool.h", "string.h", "math.h"}


def test_the_core_holds_no_state_of_its_own(build):
    """Nothing in data or bss: everything is in the board that the caller gives."""
    need("riscv64-unknown-elf-gcc")
    make("core.a", build)
    sizes = subprocess.run(
        ["riscv64-unknown-elf-size", "-t", str(build / "core.a")], capture_output=True, text=True, check=True
    )
    _text, data, bss = sizes.stdout.splitlines()[-1].split()[:3]
    assert (data, bss) == ("0", "0")


def test_headers_stand_alone_also_in_cpp(build):
    """Each public header compiles by itself, as C and as C++ (Arduino, ESP-IDF components in C++)."""
    for header in CORE.glob("include/myofed/*.h"):
        for language, standard in (("c", "c11"), ("c++", "c++17")):
            command = [
                "gcc",
                "-x",
                language,
                f"-std={standard}",
                "-Wall",
                "-Wextra",
                "-Werror",
                "-fsyntax-only",
            ]
            done = subprocess.run(
                [*command, f"-I{CORE / 'include'}", str(header)], capture_output=True, text=True, check=False
            )
            if "cc1plus" not in done.stderr:  # a gcc without C++
                assert done.returncode == 0, done.stderr
