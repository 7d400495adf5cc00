"""What the tests of live gestures share: a link made of frames, and a student that reads the answer off the signal."""

import asyncio
import json
from dataclasses import dataclass

import numpy as np

from device.asking import Asker
from device.tracker import Piece
from protocols.frame import Acknowledge, Hello, Samples

RATE_HZ = 200.0
FRAME = 4  # samples: 20 ms
GESTURES = ("rest", "fist", "open")


def hello(**changes):
    facts = {
        "sequence": 0,
        "time_us": 0,
        "oldest_version": 1,
        "newest_version": 1,
        "sample_bytes": 2,
        "num_channels": 3,
        "sample_rate_hz": RATE_HZ,
        "uv_per_count": 0.5,
        "board_id": "emg-1",
        "firmware": "test 1",
        "capabilities": ("prompt",),
    }
    return Hello(**(facts | changes))


@dataclass
class Outputs:
    probs: np.ndarray
    last: np.ndarray


class LoudestChannel:
    """Each gesture is the channel of its number, which is 100 µV; a hop every two samples."""

    gestures, channels, sample_rate_hz, is_events, warm_up_s = GESTURES, 3, RATE_HZ, False, 0.0

    def __init__(self):
        self.restarts = 0

    def restart(self):
        self.restarts += 1

    def feed(self, emg_uv):
        loudest = emg_uv[1::2].argmax(axis=1)
        probs = np.full((len(loudest), 3), 0.05, np.float32)
        probs[np.arange(len(loudest)), loudest] = 0.9
        return Outputs(probs, np.arange(1, len(emg_uv), 2))


def piece(device_us, gesture=0, *, n=FRAME, after_gap=False):
    emg = np.zeros((n, 3), np.float32)
    emg[:, gesture] = 100
    return Piece(emg, device_us + np.arange(n, dtype=np.int64) * 5000, after_gap)


class FakeLink:
    """A board that plays whatever it is prompted for; ends after `seconds` of its own clock.

    Args:
        lost: numbers of frames that never arrive.
        answers: what it says to a prompt; None: yes.
    """

    num_rejected = num_reconnects = num_overrun = 0
    connected = True
    url = "fake://emg-1"

    def __init__(self, seconds=60.0, *, lost=(), refuses=(), begin=None, **changes):
        self.hello = hello(**changes)
        self.arrived_s = 1_000_000.0
        self.prompts, self.announced = [], []
        self._gesture = 0
        self._frames, self._lost, self._refuses, self._begin = round(seconds * 50), lost, refuses, begin

    async def __aiter__(self):
        for i in range(self._frames):
            counts = np.zeros((FRAME, self.hello.num_channels), np.int16)
            counts[:, self._gesture] = 200  # 100 µV
            self.arrived_s = 1_000_000.0 + 0.02 * (i + 1)
            await asyncio.sleep(0)  # commands are on their way meanwhile
            if i not in self._lost:
                yield Samples.of(i, 20_000 * i, counts)

    def announce(self, level, payload):
        self.announced.append((level, json.loads(payload)["gesture"]))

    async def command(self, name, argument=""):
        assert name == "prompt"
        if argument in self._refuses:
            return Acknowledge(0, 0, 0, accepted=False, message="no such gesture")
        self.prompts.append(argument)
        self._gesture = GESTURES.index(argument)
        return Acknowledge(0, round((self.arrived_s - 1_000_000.0) * 1e6), 0, accepted=True)


class Witness:
    """An audience that remembers."""

    def __init__(self):
        self.gestures, self.nows, self.measured = [], [], []

    def gesture(self, decision, time_s):
        self.gestures.append((decision.gesture, time_s))

    def now(self, gesture, confidence):
        self.nows.append((gesture, confidence))

    def figures(self, latency_ms, lost):
        self.measured.append((latency_ms, lost))


def asker_of(session, link, tracker):
    """Who asks for what a session's check wants, at the link's own time."""
    if session.check is None:
        return None
    return Asker(link, tracker, session.check.prompter, now_s=lambda: link.arrived_s)
