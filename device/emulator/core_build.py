"""The firmware core as a shared library of this machine: compiled on first use, kept by the hash of its sources."""

from __future__ import annotations

import hashlib
import os
import platform
import shlex
import shutil
import subprocess
import tempfile
from pathlib import Path

from protocols.errors import ConfigError

FIRMWARE = Path(__file__).parents[1] / "firmware"
# Contraction to fused multiply-adds would make the bytes depend on the machine.
FLAGS = ("-std=c11", "-O2", "-ffp-contract=off", "-fPIC", "-shared")


def build_core(*, firmware: Path = FIRMWARE, cache: Path | None = None) -> Path:
    """The path of the shared library; compiles it where the cache holds none of these sources.

    Args:
        firmware: folder with `core` and `host`.
        cache: folder to keep it in; default `$XDG_CACHE_HOME/myofed`, else `~/.cache/myofed`.

    Raises:
        ConfigError: no C compiler, sources missing or not compilable, or a cache that cannot be written.
    """
    sources = sorted(firmware.glob("core/src/*.c")) + sorted(firmware.glob("host/*.c"))
    headers = sorted(firmware.glob("core/**/*.h")) + sorted(firmware.glob("host/*.h"))
    if not sources:
        raise ConfigError(f"firmware core: no C sources under {firmware}: install myofed again")
    command = [*compiler(), *FLAGS, f"-I{firmware / 'core/include'}", *map(str, sources), "-lm"]
    library = (cache or cache_folder()) / f"board-core-{_digest([*sources, *headers], command)}.so"
    if not library.exists():
        _compile(command, library)
    return library


def compiler() -> list[str]:
    """The command that calls the C compiler: `$CC`, or the first of cc, gcc and clang."""
    named = shlex.split(os.environ.get("CC", ""))
    if named and shutil.which(named[0]):
        return named
    if named:
        raise ConfigError(
            f"firmware core: $CC is {named[0]!r}, which is no program: unset it or name a C compiler"
        )
    for name in ("cc", "gcc", "clang"):
        if shutil.which(name):
            return [name]
    raise ConfigError(
        "firmware core: an emulated board needs a C compiler, none of cc, gcc and clang is here: "
        "install one, such as with `apt-get install gcc libc6-dev`"
    )


def cache_folder() -> Path:
    """Where compiled parts are kept.

    Raises:
        ConfigError: a user without a home, such as in a container.
    """
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "myofed"
    except RuntimeError as error:
        raise ConfigError(
            "firmware core: no home folder: set $XDG_CACHE_HOME to a folder of yours"
        ) from error


def _digest(files: list[Path], command: list[str]) -> str:
    digest = hashlib.sha256(repr((command, platform.machine(), platform.system())).encode())
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:16]


def _compile(command: list[str], library: Path) -> None:
    """Compile beside the library and rename: several processes may do so at once, each sees none or all of it."""
    try:
        library.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=library.parent) as folder:
            made = Path(folder) / library.name
            done = subprocess.run([*command, "-o", str(made)], capture_output=True, text=True, check=False)  # noqa: S603  (the user's compiler)
            if done.returncode:
                problem = next(
                    (line for line in done.stderr.splitlines() if "error" in line), done.stderr[-200:]
                )
                raise ConfigError(f"firmware core: {command[0]} failed: {problem}")
            made.replace(library)
    except OSError as error:
        raise ConfigError(
            f"firmware core: cannot compile into {library.parent} ({error.strerror}): "
            "set $XDG_CACHE_HOME to a folder of yours"
        ) from error
