"""The journal of a recording in progress: append-only, so that a power cut or kill -9 costs a second at most.

    header   "MYOJRNL1"
    record   u32 length of the body | u8 kind | body | u32 CRC-32 of kind and body      little-endian

    kind 1   JSON of the JournalHeader; the first record, and only that
    kind 2   f64 arrival in Unix seconds | payload of the frame, as MQTT would carry it
    kind 3   JSON of an event

`finish` makes the recording of it (device/recorder/finish.py).
"""

from __future__ import annotations

import fcntl
import json
import logging
import os
import struct
import zlib
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, BinaryIO, NamedTuple, Self

from protocols.errors import DataError, FrameError, VersionMismatch
from protocols.frame import Frame, Hello, decode_payload, encode_payload

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

MAGIC = b"MYOJRNL1"
SYNC_S = 0.5  # of arrivals: with as long again for the disk, a second is lost at most
HEAD, ARRIVAL, CRC = struct.Struct("<IB"), struct.Struct("<d"), struct.Struct("<I")
HEADER, FRAME, EVENT = 1, 2, 3
MAX_WAITING_BYTES = 1 << 20
MAX_BODY_BYTES = 1 << 20  # a plan of thousands of prompts; a length beyond is a torn record


@dataclass(frozen=True, slots=True)
class JournalHeader:
    """What is known of a recording when it begins.

    Attributes:
        subject: who.
        session: 0-based day or run.
        gestures: those to be recorded.
        url: the link, without its password.
        hello: what the board said of itself.
        started_s: Unix time.
        plan: the recorder's own; not read here.
    """

    subject: str
    session: int
    gestures: tuple[str, ...]
    url: str
    hello: Hello
    started_s: float
    plan: dict[str, Any]

    def to_json(self) -> dict[str, Any]:
        """In JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> Self:
        """Read what `to_json` wrote.

        Raises:
            DataError: it is no header.
        """
        try:
            known = {field.name: values[field.name] for field in fields(cls)}
            hello = known["hello"]
            known["hello"] = Hello(**hello | {"capabilities": tuple(hello["capabilities"])})
            known["gestures"] = tuple(known["gestures"])
            return cls(**known)
        except (FrameError, KeyError, TypeError) as error:
            raise DataError(f"its header is none ({type(error).__name__}: {error})") from error


class Arrival(NamedTuple):
    """A frame, and the host's Unix time of its last byte."""

    frame: Frame
    arrived_s: float


Entry = Arrival | dict[str, Any]


class Journal:
    """An open journal; one process writes it.

    Use `create` or `resume`; `with` closes it. What was written is on the disk after half a second of arrivals,
    after `sync` and after `close`.

    Attributes:
        path: the file.
    """

    def __init__(self, path: Path, file: BinaryIO, safe_bytes: int) -> None:
        self.path = path
        self._file = file
        self._safe_bytes = safe_bytes
        self._waiting = bytearray()
        self._synced_s = 0.0

    @classmethod
    def create(cls, path: Path, header: JournalHeader) -> Self:
        """Begin a journal; its header is on the disk before this returns.

        Raises:
            DataError: the file is there already, or cannot be written.
        """
        try:
            file = path.open("xb", buffering=0)
        except FileExistsError as error:
            raise DataError(
                f"{path}: a journal is there already; finish or resume that recording first"
            ) from error
        except OSError as error:
            raise DataError(f"{path}: cannot be written ({error.strerror})") from error
        _lock(path, file)
        journal = cls(path, file, 0)
        journal._waiting += MAGIC + _record(HEADER, json.dumps(header.to_json()).encode())
        try:
            journal.sync()
        except DataError:
            path.unlink()
            raise
        sync_folder(path.parent)
        return journal

    @classmethod
    def resume(cls, path: Path) -> Self:
        """Go on with a journal; a torn record at its end is cut off.

        Raises:
            DataError: it is no journal, it is still being written elsewhere, or it cannot be written.
        """
        try:
            file = path.open("r+b", buffering=0)
        except OSError as error:
            raise DataError(f"{path}: cannot be opened ({error.strerror})") from error
        _lock(path, file)
        try:
            with path.open("rb") as reader:
                *_, end = (end for _kind, _body, end in _records(path, reader))
        except DataError as error:
            file.close()
            raise DataError(f"{path}: is no journal: {error}") from error
        file.truncate(end)
        file.seek(end)
        return cls(path, file, end)

    def frame(self, frame: Frame, arrived_s: float) -> None:
        """Write a frame of any kind.

        Raises:
            DataError: the disk is full or fails; what was written before is safe, and the message says so.
        """
        self._waiting += _record(FRAME, ARRIVAL.pack(arrived_s) + encode_payload(frame))
        if len(self._waiting) > MAX_WAITING_BYTES or not 0 <= arrived_s - self._synced_s < SYNC_S:
            self.sync()
            self._synced_s = arrived_s

    def event(self, event: Mapping[str, Any]) -> None:
        """Write something that is no frame: a hold, a prompt, a choice of the recorder's. Errors as `frame`."""
        body = json.dumps(event).encode()
        if len(body) > MAX_BODY_BYTES:
            raise DataError(f"{self.path}: found an event of {len(body)} bytes, at most {MAX_BODY_BYTES} fit")
        self._waiting += _record(EVENT, body)

    def sync(self) -> None:
        """Bring everything to the disk. Errors as `frame`."""
        waiting = memoryview(bytes(self._waiting))
        self._waiting.clear()
        try:
            while waiting:
                waiting = waiting[self._file.write(waiting) :]
            os.fsync(self._file.fileno())
        except OSError as error:
            self._file.truncate(self._safe_bytes)
            self._file.seek(self._safe_bytes)
            raise DataError(
                f"{self.path}: cannot be written ({error.strerror}); its first {self._safe_bytes} bytes, all but the "
                "last half second, are safe: free some space, then resume or finish the recording"
            ) from error
        self._safe_bytes = self._file.tell()

    def close(self) -> None:
        """Bring everything to the disk, and let go of the file. Errors as `frame`."""
        try:
            self.sync()
        finally:
            self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_raised: object) -> None:
        self.close()


def read_journal(path: Path) -> tuple[JournalHeader, Iterator[Entry]]:
    """What a journal holds: its header, then frames and events in the order of writing, read as they are asked for.

    A torn or damaged record ends it; how much follows is logged.

    Raises:
        DataError: the file is missing, or no journal.
    """
    try:
        file = path.open("rb")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror})") from error
    records = _records(path, file)
    try:
        kind, body, _end = next(records)
        if kind != HEADER:
            raise DataError(f"its first record is of kind {kind}")
        header = JournalHeader.from_json(json.loads(body))
    except ValueError as error:  # DataError among them
        file.close()
        raise DataError(f"{path}: is no journal: {error}") from error
    return header, _entries(path, file, records)


def sync_folder(folder: Path) -> None:
    """Bring a folder's list of files to the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def _lock(path: Path, file: BinaryIO) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        file.close()
        raise DataError(f"{path}: it is still being written; end that recording first") from error


def _record(kind: int, body: bytes) -> bytes:
    head = HEAD.pack(len(body), kind)
    return head + body + CRC.pack(zlib.crc32(body, zlib.crc32(head[4:])))


def _records(path: Path, file: BinaryIO) -> Iterator[tuple[int, bytes, int]]:
    """(kind, body, end in the file) of each whole record; at least one, else DataError."""
    if file.read(len(MAGIC)) != MAGIC:
        raise DataError(f"it does not begin with {MAGIC.decode()}")
    end = start = len(MAGIC)
    while head := file.read(HEAD.size):
        size, kind = HEAD.unpack(head) if len(head) == HEAD.size else (MAX_BODY_BYTES + 1, 0)
        rest = file.read(size + CRC.size) if size <= MAX_BODY_BYTES else b""
        if len(rest) < size + CRC.size or CRC.unpack(rest[size:])[0] != zlib.crc32(
            rest[:size], zlib.crc32(head[4:])
        ):
            break
        end += HEAD.size + len(rest)
        yield kind, rest[:size], end
    if end == start:
        raise DataError("its header was never written")
    torn = os.fstat(file.fileno()).st_size - end
    if torn:
        log.warning("%s: the last %d bytes are no whole record, and are left out", path, torn)


def _entries(path: Path, file: BinaryIO, records: Iterator[tuple[int, bytes, int]]) -> Iterator[Entry]:
    with file:
        for kind, body, end in records:
            try:
                if kind == FRAME:
                    yield Arrival(decode_payload(body[ARRIVAL.size :]), *ARRIVAL.unpack_from(body))
                elif kind == EVENT:
                    event = json.loads(body)
                    if isinstance(event, dict):
                        yield event
            except (FrameError, VersionMismatch, ValueError, struct.error) as error:
                raise DataError(
                    f"{path}: the record that ends at byte {end} cannot be read ({error})"
                ) from error
