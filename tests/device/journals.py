"""A board's frames and their journal, for the tests of the journal and of finishing it.

Frames of 20 samples of 2 channels at 1 kHz, number k at k × 20 ms, 2 ms on their way.
"""

import numpy as np

from device.recorder.journal import Journal, JournalHeader
from protocols.frame import Hello, Samples

START_S = 1_700_000_000.0
N, FRAME_US = 20, 20_000
HELLO = Hello(3, 99, 1, 1, 2, 2, 1000.0, 0.5, "emg-1", "demo 1.2", ("prompt",))
HEADER = JournalHeader("ada", 2, ("fist", "point"), "serial:///dev/x", HELLO, START_S, {"holds": [1, 2]})


def samples(k, *, time_us=None, shift=0):
    """Frame k; sample i of the stream holds the counts i + shift and the negative of that, modulo 30,000."""
    counts = (np.arange(k * N, (k + 1) * N)[:, None] + shift) % 30_000 * [1, -1]
    return Samples.of(k % 2**32, k * FRAME_US if time_us is None else time_us, counts)


def arrival_s(k):
    return START_S + k * 0.02 + 0.019 + 0.002


def written(path, frames, events=()):
    """A closed journal of the (frame, arrival) pairs, then the events."""
    with Journal.create(path, HEADER) as journal:
        for frame, arrived_s in frames:
            journal.frame(frame, arrived_s)
        for event in events:
            journal.event(event)
    return path
