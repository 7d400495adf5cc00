"""A wearer whose counts go up by one a sample, so that a test sees which are missing."""

import numpy as np

from distillation.recording import Recording

RATE_HZ, C = 200.0, 2
FRAME = 4  # samples in 20 ms
LOOP = 20_000  # samples until the counts begin again


def ramp():
    """What they did: 100 s."""
    emg = np.repeat(np.arange(LOOP, dtype=np.float32)[:, None], C, axis=1)
    return Recording(emg, np.arange(LOOP) / RATE_HZ, RATE_HZ, "ada")
