"""When the frames of an event model happen: which samples each one sees, and its time stamp."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

META_RATE_HZ = 2000
META_KERNEL = 21  # samples at 2 kHz: 10.5 ms
META_STRIDE = 10  # samples at 2 kHz: 5 ms, 200 frames a second


@dataclass(frozen=True, slots=True)
class FrameTiming:
    """The front convolution of an event model: no padding, so frame i ends at sample kernel − 1 + i·stride.

    Args:
        kernel: samples that one frame sees.
        stride: samples from one frame to the next.
    """

    kernel: int
    stride: int

    @classmethod
    def at_rate(cls, sample_rate_hz: float) -> FrameTiming:
        """A kernel of 10.5 ms, at least 3 samples, and a stride of 5 ms, at least 1 sample."""
        ratio = sample_rate_hz / META_RATE_HZ
        return cls(max(3, round(META_KERNEL * ratio)), max(1, round(META_STRIDE * ratio)))

    def num_frames(self, samples: int) -> int:
        """Frames completed by the first `samples` samples; (T − 21)//10 + 1 at 2 kHz."""
        return max(0, (samples - self.kernel) // self.stride + 1)

    @property
    def frame_slice(self) -> slice:
        """What picks each frame's own sample out of a time axis; `[20::10]` at 2 kHz."""
        return slice(self.kernel - 1, None, self.stride)

    def output_times(self, time_s: NDArray[np.float64]) -> NDArray[np.float64]:
        """Time stamps (F,) of the frames of a recording whose samples were taken at `time_s` (T,)."""
        return time_s[self.frame_slice]

    def output_rate_hz(self, sample_rate_hz: float) -> float:
        """Frames per second."""
        return sample_rate_hz / self.stride
