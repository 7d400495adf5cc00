"""Files of a run, to keep: never one outside its folder, and none that is about one person."""

from __future__ import annotations

import asyncio
from itertools import islice
from typing import TYPE_CHECKING

from starlette.responses import FileResponse, PlainTextResponse, Response, StreamingResponse

from protocols.errors import DataError
from server.dashboard.state import follow, site

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from fastapi import FastAPI

# Named one by one, since a run's folder holds more than what may leave the machine: recordings (`people`), personal
# students (`stores`), the key that signs packs (`pack.key`), and windows whose licence may forbid passing on (`packs`).
FILES = ("run.json", "data.json", "result.json", "rounds.jsonl")
FOLDERS = ("results", "checkpoints", "plots", "tensorboard")
MAX_LISTED = 500
MAX_LOOKED_AT = 10_000  # files of one folder
PRIVATE = {"Cache-Control": "private, no-cache"}


def files_of(folder: Path) -> list[tuple[str, int]]:
    """What can be downloaded of a run: (path in its folder, bytes); the record first, at most `MAX_LISTED`."""
    found: list[tuple[str, int]] = []
    for path in _candidates(folder):
        name = path.relative_to(folder).as_posix()
        try:
            found.append((name, file_of(folder, name).stat().st_size))
        except (DataError, OSError):
            continue
        if len(found) == MAX_LISTED:
            break
    return found


def _candidates(folder: Path) -> Iterator[Path]:
    yield from (folder / name for name in FILES)
    for name in FOLDERS:
        yield from sorted(islice((folder / name).rglob("*"), MAX_LOOKED_AT))


def file_of(folder: Path, name: str) -> Path:
    """The regular file of a run that `name` means.

    Args:
        folder: the run's.
        name: untrusted; relative to it.

    Raises:
        DataError: there is no such file, it lies elsewhere (`..`, links), or it is not for download.
    """
    refusal = DataError(f"{folder.name}: no file {name!r:.200} to download")
    try:
        path, home = (folder / name).resolve(), folder.resolve()
        # No folder, pipe or device, and nothing with a second name, which may be one that is not for download.
        is_ours = path.is_relative_to(home) and path.is_file() and path.stat().st_nlink == 1
    except (OSError, ValueError, RuntimeError):  # NUL, a name too long, a circle of links
        raise refusal from None
    if not is_ours:
        raise refusal
    inside = path.relative_to(home).parts
    if not (inside[0] in FOLDERS or (len(inside) == 1 and inside[0] in FILES)):
        raise refusal
    return path


def add_downloads(app: FastAPI) -> None:
    """The addresses /download/RUN/FILE and /run/RUN/rounds.csv."""

    @app.get("/download/{run}/{name:path}")
    def download(run: str, name: str) -> Response:
        try:
            path = file_of(site().shelf.history(run).folder, name)
        except DataError as error:
            return missing(error)
        return FileResponse(path, filename=path.name, media_type="application/octet-stream", headers=PRIVATE)

    @app.get("/run/{run}/rounds.csv")
    async def rounds(run: str) -> Response:
        from server.history.rounds_csv import rounds_csv

        try:
            history = await asyncio.to_thread(site().shelf.history, run)
        except DataError as error:
            return missing(error)
        await follow(history)
        headers = PRIVATE | {"Content-Disposition": attachment(f"{run}-rounds.csv")}
        return StreamingResponse(rounds_csv(history), media_type="text/csv; charset=utf-8", headers=headers)


def attachment(name: str) -> str:
    """A header that keeps a file under a name of plain letters."""
    plain = "".join(c if c.isascii() and (c.isalnum() or c in "-_.") else "_" for c in name)
    return f'attachment; filename="{plain[-120:]}"'


def missing(error: DataError) -> Response:
    """404, and why."""
    return PlainTextResponse(f"{error}\n".encode(errors="replace"), status_code=404)
