"""The firmware's own core as a Python object: what an emulated board runs is what a board runs.

    with closing(BoardCore(config)) as board:
        board.take(time_us, counts)                 # (n, C) int32
        board.receive(payload, now_us)
        for kind, payload in board.poll(now_us):    # bare payloads to send now
            ...

No clock and no thread in here: every time is given. `core_build` compiles the C sources of
`device/firmware/core` on first use.
"""

from __future__ import annotations

import ctypes
import functools
import weakref
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from device.emulator.core_build import build_core
from protocols.errors import ConfigError, DataError
from protocols.frame_kinds import SAMPLE_FORMATS, Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    # (name, argument) -> accepted and the message, or None: not known here.
    OnCommand = Callable[[str, str], tuple[bool, str] | None]

MAX_RING_FRAMES = 100_000
KINDS = {int(kind): kind for kind in Kind}
DONE, REFUSED, UNKNOWN = range(3)  # myofed_result_t


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardConfig:
    """What a board is.

    Args:
        board_id: unique; 1 to 64 bytes, a level of MQTT topics.
        channels: C, 1 to 255.
        sample_rate_hz: of what is sent; it takes counts at this × `decimation`.
        uv_per_count: microvolts of one count.
        sample_format: int16 or int24; counts beyond are clipped.
        samples_per_frame: 20 ms are sample_rate_hz / 50.
        decimation: 1 (none) to 32.
        firmware: name and version.
        capabilities: words.
        ring_frames: frames that wait for the next poll before the oldest gives way.
        highpass_hz: cutoff; 0: none.
        mains_hz: notch; 0: none.
    """

    board_id: str
    channels: int
    sample_rate_hz: float
    uv_per_count: float = 0.1
    sample_format: str = "int16"
    samples_per_frame: int
    decimation: int = 1
    firmware: str
    capabilities: tuple[str, ...] = ()
    ring_frames: int = 64
    highpass_hz: float = 0.0
    mains_hz: float = 0.0


class CoreConfig(ctypes.Structure):
    """`myofed_config_t` of board.h, field by field."""

    _fields_: ClassVar[list[tuple[str, Any]]] = [
        ("board_id", ctypes.c_char_p),
        ("firmware", ctypes.c_char_p),
        ("capabilities", ctypes.c_char_p),
        ("num_channels", ctypes.c_uint8),
        ("sample_bytes", ctypes.c_uint8),
        ("decimation", ctypes.c_uint8),
        ("samples_per_frame", ctypes.c_uint16),
        ("sample_rate_hz", ctypes.c_double),
        ("uv_per_count", ctypes.c_double),
        ("highpass_hz", ctypes.c_float),
        ("mains_hz", ctypes.c_float),
    ]


CommandFn = ctypes.CFUNCTYPE(
    ctypes.c_int,
    ctypes.c_void_p,
    ctypes.c_char_p,
    ctypes.c_char_p,
    ctypes.POINTER(ctypes.c_char),
    ctypes.c_size_t,
)


@functools.cache
def core_library() -> ctypes.CDLL:
    """The compiled core with its functions declared.

    Raises:
        ConfigError: it cannot be compiled here.
    """
    library = ctypes.CDLL(str(build_core()))
    board, size, u64 = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_uint64
    declared: dict[str, tuple[Any, list[Any]]] = {
        "myofed_config_problem": (ctypes.c_char_p, [ctypes.POINTER(CoreConfig)]),
        "myofed_host_new": (board, [ctypes.POINTER(CoreConfig), ctypes.c_uint32, CommandFn]),
        "myofed_host_free": (None, [board]),
        "myofed_host_poll": (size, [board, u64, ctypes.POINTER(ctypes.c_void_p)]),
        "myofed_board_take": (None, [board, u64, ctypes.c_void_p, size]),
        "myofed_board_lose": (None, [board, ctypes.c_uint32]),
        "myofed_board_receive": (None, [board, ctypes.c_char_p, size, u64]),
        "myofed_board_receive_serial": (None, [board, ctypes.c_char_p, size, u64]),
        "myofed_board_announce": (None, [board]),
        "myofed_board_mark": (None, [board, u64, ctypes.c_char_p]),
        "myofed_board_report": (None, [board, ctypes.c_uint16, ctypes.c_char_p]),
        "myofed_stuff": (size, [ctypes.c_char_p, size, ctypes.c_char_p]),
    }
    for name, (result, arguments) in declared.items():
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


class BoardCore:
    """One board.

    Args:
        config: what it is.
        on_command: asked first about every command; may refuse or add to the core's own (hello, start, stop,
            status), which are then done all the same. None: not known here. What it raises comes out of the
            `receive` that brought the command.

    Raises:
        ConfigError: a configuration that no board can have, or no compiler here.
    """

    def __init__(self, config: BoardConfig, *, on_command: OnCommand | None = None) -> None:
        self.config = config
        self._library = library = core_library()
        self._core_config = _core_config(config)  # holds the strings that the core points to
        self._on_command = on_command
        self._raised: BaseException | None = None
        self._callback = CommandFn(_answering(weakref.ref(self))) if on_command else CommandFn()
        handle = library.myofed_host_new(self._core_config, config.ring_frames, self._callback)
        if not handle:
            raise ConfigError(f"board {config.board_id!r}: no memory for {config.ring_frames} frames")
        self._handle: int | None = handle
        self._finalizer = weakref.finalize(self, library.myofed_host_free, handle)
        self._output = ctypes.c_void_p()

    def take(self, time_us: int, counts: NDArray[np.int32]) -> None:
        """Take samples at the input rate, evenly spaced.

        Args:
            time_us: instant of the first, by the board's clock.
            counts: (n, C) int32 within ±2**30.

        Raises:
            DataError: no (n, C) integers.
        """
        if counts.ndim != 2 or counts.shape[1] != self.config.channels or counts.dtype.kind not in "iu":
            raise DataError(
                f"counts {counts.dtype} {counts.shape}, expected integers (n, {self.config.channels})"
            )
        counts = np.ascontiguousarray(counts, np.int32)
        self._library.myofed_board_take(self._board(), time_us, counts.ctypes.data, len(counts))

    def lose(self, n: int) -> None:
        """N samples, at the rate that is sent, were lost before they could be taken."""
        self._library.myofed_board_lose(self._board(), n)

    def receive(self, payload: bytes | bytearray | memoryview, now_us: int) -> None:
        """Take one bare payload, as MQTT brings it."""
        self._library.myofed_board_receive(self._board(), bytes(payload), len(payload), now_us)
        self._reraise()

    def receive_serial(self, chunk: bytes | bytearray | memoryview, now_us: int) -> None:
        """Take bytes of a serial line, cut anywhere."""
        self._library.myofed_board_receive_serial(self._board(), bytes(chunk), len(chunk), now_us)
        self._reraise()

    def poll(self, now_us: int) -> list[tuple[Kind, bytes]]:
        """The bare payloads to send now: hello, answers and markers, status, then samples, oldest first."""
        size = self._library.myofed_host_poll(self._board(), now_us, ctypes.byref(self._output))
        packed = ctypes.string_at(self._output.value or 0, size) if size else b""
        payloads, at = [], 0
        while at < size:
            end = at + 2 + packed[at] + 256 * packed[at + 1]
            payloads.append((KINDS[packed[at + 3]], packed[at + 2 : end]))
            at = end
        return payloads

    def announce(self) -> None:
        """A gateway may be new: hello and status come with the next poll."""
        self._library.myofed_board_announce(self._board())

    def mark(self, time_us: int, label: str) -> None:
        """A marker comes with the next poll."""
        self._library.myofed_board_mark(self._board(), time_us, label.encode())

    def report(self, *, battery_mv: int = 0, message: str = "") -> None:
        """What the next status says beside its counters."""
        self._library.myofed_board_report(self._board(), battery_mv, message.encode())

    def stuffed(self, payload: bytes) -> bytes:
        """The payload for a serial line: COBS, with its delimiter behind."""
        stuffed = ctypes.create_string_buffer(len(payload) + len(payload) // 254 + 2)
        size = self._library.myofed_stuff(payload, len(payload), stuffed)
        return stuffed.raw[:size]

    def close(self) -> None:
        """Give its memory back; nothing else may be called then."""
        self._handle = None
        self._finalizer()

    def _board(self) -> int:
        if self._handle is None:
            raise ValueError(f"board {self.config.board_id!r} is closed")
        return self._handle

    def _answer(self, name: str, argument: str) -> tuple[bool, str] | None:
        try:
            return self._on_command(name, argument) if self._on_command else None
        except BaseException as error:  # noqa: BLE001  (no exception crosses C: `receive` raises it)
            self._raised = error
            return False, "the board failed"

    def _reraise(self) -> None:
        raised, self._raised = self._raised, None
        if raised is not None:
            raise raised


def _answering(board: weakref.ref[BoardCore]) -> Callable[..., int]:
    """The C callback of a board; a weak reference, so that it does not keep its board alive."""

    def answer(_context: int, name: bytes, argument: bytes, text: Any, capacity: int) -> int:
        core = board()
        answered = core._answer(name.decode(), argument.decode()) if core else None  # noqa: SLF001  (its own callback)
        if answered is None:
            return UNKNOWN
        accepted, message = answered
        content = (
            message.encode()[: capacity - 1].decode(errors="ignore").encode()
        )  # cut at a whole character
        ctypes.memmove(text, content + b"\0", len(content) + 1)
        return DONE if accepted else REFUSED

    return answer


def _core_config(config: BoardConfig) -> CoreConfig:
    """The configuration for C; ConfigError names the key, what was found and what is expected."""
    limits = {"channels": 255, "decimation": 255, "samples_per_frame": 65535, "ring_frames": MAX_RING_FRAMES}
    for key, limit in limits.items():
        if not 1 <= getattr(config, key) <= limit:  # C would take it modulo 2**8 or 2**16
            raise ConfigError(f"board: {key} is {getattr(config, key)!r}, expected 1 to {limit}")
    words = " ".join(config.capabilities)
    if "\0" in config.board_id + config.firmware + words:
        raise ConfigError(f"board {config.board_id!r}: board_id, firmware, capabilities hold a zero byte")
    sample_bytes = {name: size for size, name in SAMPLE_FORMATS.items()}.get(config.sample_format, 0)
    core_config = CoreConfig(
        config.board_id.encode(),
        config.firmware.encode(),
        words.encode(),
        config.channels,
        sample_bytes,
        config.decimation,
        config.samples_per_frame,
        config.sample_rate_hz,
        config.uv_per_count,
        config.highpass_hz,
        config.mains_hz,
    )
    problem = core_library().myofed_config_problem(core_config)
    if problem:
        key, expected = problem.decode().split(": ", 1)
        raise ConfigError(f"board: {key} is {getattr(core_config, key)!r}, {expected}")
    return core_config
