"""The core is compiled once, whole or not at all, and a machine that cannot is told what to do."""

import os
import shutil
import stat
import subprocess
import sys

import pytest
from parts import need

from device.emulator.core_build import FIRMWARE, build_core, cache_folder
from protocols.errors import ConfigError


@pytest.fixture(autouse=True, scope="module")
def _compiler():
    need("gcc")


@pytest.fixture
def sources(tmp_path):
    """A firmware folder of one's own that compiles in no time."""
    folder = tmp_path / "firmware"
    for name in ("core/src", "core/include", "host"):
        (folder / name).mkdir(parents=True)
    (folder / "core/src/one.c").write_text("int one(void);\nint one(void) { return 1; }\n")
    return folder


def test_sources_come_with_the_package():
    assert (FIRMWARE / "core/src/board.c").is_file()
    assert (FIRMWARE / "core/include/myofed/board.h").is_file()
    assert (FIRMWARE / "host/host.c").is_file()


def test_it_is_compiled_once_for_the_same_sources(sources, tmp_path):
    first = build_core(firmware=sources, cache=tmp_path / "cache")
    made = first.stat().st_mtime_ns
    assert build_core(firmware=sources, cache=tmp_path / "cache") == first
    assert first.stat().st_mtime_ns == made
    (sources / "host/other.h").write_text("// changes nothing, but it could\n")
    assert build_core(firmware=sources, cache=tmp_path / "cache") != first


def test_processes_may_race(tmp_path):
    """All begin without a cache, all end with a library that works, and nothing else is left."""
    program = (
        "from device.emulator.core import BoardConfig, BoardCore\n"
        "config = BoardConfig(board_id='b', channels=1, sample_rate_hz=1000, samples_per_frame=1, firmware='')\n"
        "print(len(BoardCore(config).poll(0)))"
    )
    environment = {**os.environ, "XDG_CACHE_HOME": str(tmp_path)}
    command = [sys.executable, "-c", program]
    running = [subprocess.Popen(command, env=environment, stdout=subprocess.PIPE) for _ in range(3)]
    assert [process.communicate(timeout=60)[0].strip() for process in running] == [b"2"] * 3
    assert [path.suffix for path in (tmp_path / "myofed").iterdir()] == [".so"]


def test_without_a_compiler(sources, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)
    with pytest.raises(ConfigError, match=r"needs a C compiler.*apt-get install gcc"):
        build_core(firmware=sources, cache=tmp_path / "cache")
    monkeypatch.setenv("CC", "tcc-9 -O2")
    with pytest.raises(ConfigError, match=r"\$CC is 'tcc-9', which is no program"):
        build_core(firmware=sources, cache=tmp_path / "cache")


def test_the_named_compiler_is_used(sources, tmp_path, monkeypatch):
    compiler = tmp_path / "my-cc"
    compiler.write_text(f'#!/bin/sh\ntouch {tmp_path}/called\nexec {shutil.which("gcc")} "$@"\n')
    compiler.chmod(compiler.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setenv("CC", f"{compiler} -g0")
    assert build_core(firmware=sources, cache=tmp_path / "cache").is_file()
    assert (tmp_path / "called").exists()


def test_sources_that_do_not_compile_leave_nothing(sources, tmp_path):
    (sources / "core/src/one.c").write_text("int one(void) { return two; }\n")
    with pytest.raises(ConfigError, match=r"failed: .*one\.c:1:.*error: .*two"):
        build_core(firmware=sources, cache=tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []


def test_missing_sources(tmp_path):
    with pytest.raises(ConfigError, match=r"no C sources under .*: install myofed again"):
        build_core(firmware=tmp_path)


def test_a_cache_that_cannot_be_written(sources, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match=r"cannot compile into .*file/cache.*set \$XDG_CACHE_HOME"):
        build_core(firmware=sources, cache=tmp_path / "file/cache")


def test_the_cache_is_the_users(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "myofed"
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path))
    assert cache_folder() == tmp_path / ".cache/myofed"
