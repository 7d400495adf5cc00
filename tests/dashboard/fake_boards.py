"""Boards without boards: a feed that plays synthetic columns by a clock, for the pages' own tests."""

import time
from contextlib import contextmanager

import numpy as np

from protocols.board_status import BoardStatus, ScopePiece
from protocols.errors import ConfigError

GESTURES = ("rest", "fist", "open", "point")
HOLD_COLUMNS = 400  # 2 s of 5 ms
SAYS_EVERY = 10  # columns between two predictions
KEPT = 2000  # columns that wait for a viewer


def board(board_id="emulated-1", **said):
    """A healthy board that streams."""
    healthy = {
        "url": "serial:///tmp/emg",
        "online": True,
        "streaming": True,
        "firmware": "myofed 0.3.0",
        "channels": 8,
        "sample_rate_hz": 1000.0,
        "measured_rate_hz": 1000.2,
        "loss": 0.0,
        "drift_ppm": 12.0,
        "jitter_ms": 0.8,
        "contact": ("good",) * 8,
        "battery_mv": 3912,
        "gesture": "fist",
        "confidence": 0.93,
        "prompted": "fist",
        "student_version": "3fa91c0b77de",
        "seen_s": time.time(),
    }
    return BoardStatus(board_id, **(healthy | said))


class FakeScope:
    """One viewer: what has passed since its last take, at `speed` times real time."""

    def __init__(self, channels, column_ms, *, speed=1.0, lost=(), clock=time.monotonic):
        self.channels, self.column_ms, self.speed, self.lost = channels, column_ms, speed, lost
        self.clock, self.began, self.next, self.takes = clock, clock(), 0, 0
        self.rng = np.random.default_rng(7)

    def take(self):
        self.takes += 1
        now = int((self.clock() - self.began) * 1000 * self.speed / self.column_ms)
        first, self.next = max(self.next, now - KEPT), max(now, self.next)
        return piece(
            np.arange(first, self.next),
            self.channels,
            self.column_ms,
            lost=self.lost,
            rng=self.rng,
            first=first,
        )


def piece(columns, channels=8, column_ms=5.0, *, lost=(), rng=None, first=None):
    """Columns of bursts: each gesture has its own channels."""
    rng = rng or np.random.default_rng(7)
    held = (columns // HOLD_COLUMNS) % len(GESTURES)  # (n,)
    active = 0.5 + 0.5 * np.cos(np.arange(channels) * 0.9 + held[:, None] * 1.7)
    size = 8 + 160 * active * (held > 0)[:, None]  # (n, C) µV
    middle = rng.normal(0, 0.3, size.shape) * size
    spread = size * rng.uniform(0.5, 1.2, size.shape)
    gone = np.isin(columns, lost)
    low, high = (np.where(gone[:, None], 0, middle + sign * spread) for sign in (-1, 1))
    return ScopePiece(
        column_ms=column_ms,
        first=int(columns[0]) if first is None else first,
        low=low.astype(np.float32),
        high=high.astype(np.float32),
        lost=gone,
        prompted=tuple((int(c), GESTURES[c // HOLD_COLUMNS % 4]) for c in columns if c % HOLD_COLUMNS == 0),
        predicted=tuple(_said(int(c)) for c in columns if c % SAYS_EVERY == 0),
    )


def _said(column):
    """Right but for a stretch at each change, and for one gesture that is taken for another now and then."""
    late = max(column - 40, 0)
    gesture = GESTURES[late // HOLD_COLUMNS % 4]
    if column // HOLD_COLUMNS % 8 == 6 and column % HOLD_COLUMNS > 250:
        return column, "point", 0.58
    return column, gesture, 0.93


class FakeFeed:
    """Boards that do what the test says."""

    def __init__(self, *boards, speed=1.0, lost=()):
        self.boards = {status.board_id: status for status in boards}
        self.speed, self.lost = speed, lost
        self.scopes, self.commands = [], []

    async def __aenter__(self):
        return self

    async def __aexit__(self, *error):
        return None

    def statuses(self):
        return tuple(self.boards.values())

    @contextmanager
    def scope(self, board_id, *, column_ms=5.0):
        if board_id not in self.boards:
            raise ConfigError(
                f"board {board_id!r}: found none of this name, expected one of {sorted(self.boards)}"
            )
        scope = FakeScope(self.boards[board_id].channels, column_ms, speed=self.speed, lost=self.lost)
        self.scopes.append(scope)
        try:
            yield scope
        finally:
            self.scopes.remove(scope)

    async def command(self, board_id, name):
        self.commands.append((board_id, name))
        return f"{board_id} streams" if name == "start" else f"{board_id} stopped"
