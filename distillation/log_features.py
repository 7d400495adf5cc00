"""Classical EMG features of a window: log powers, zero crossings and the channels' correlations.

A window model of convolutions gets them beside what it learns itself. Windows must be scaled to an
RMS of about 1, and must be no noisier in training than in use: at 1 kHz the curvature of EMG is far
below white noise of a tenth of that RMS.

Source:
    Hudgins, Parker & Scott 1993, IEEE Trans. Biomed. Eng. 40(1), 82-94 (time-domain features);
    Phinyomark, Phukpattaranont & Limsakul 2012, Expert Syst. Appl. 39(8), 7420-7431 (their logarithms).
"""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn

FLOOR = 0.02  # of an RMS of 1: keeps the logarithms of silent channels finite
MAX_FEATURES = 256  # beyond it, correlations of distant channels are left out: 16 channels have 216
PER_CHANNEL = 6


def channel_pairs(channels: int) -> list[tuple[int, int]]:
    """Pairs of channels whose correlation is a feature: nearest first, as many as there is room for."""
    pairs = ((i, i + distance) for distance in range(1, channels) for i in range(channels - distance))
    return list(itertools.islice(pairs, max(0, MAX_FEATURES - PER_CHANNEL * channels)))


class LogFeatures(nn.Module):
    """(N, C, T) to (N, size), six features a channel, then the correlations of pairs of channels.

    Per channel: the log powers of the signal, its slope and its curvature, the log mean amplitude, and
    how often signal and slope change sign.
    """

    first: Tensor
    second: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        pairs = torch.tensor(channel_pairs(channels), dtype=torch.long).reshape(-1, 2)
        self.register_buffer("first", pairs[:, 0], persistent=False)
        self.register_buffer("second", pairs[:, 1], persistent=False)
        self.size = PER_CHANNEL * channels + len(pairs)

    def forward(self, windows: Tensor) -> Tensor:
        """The features of each window, T ≥ 4."""
        slope = windows.diff(dim=2)
        amplitude = torch.log(windows.abs().mean(dim=2) + FLOOR)
        powers = [log_power(signal) for signal in (windows, slope, slope.diff(dim=2))]
        crossings = [sign_changes(signal) for signal in (windows, slope)]
        correlations = normalised_products(windows)[:, self.first, self.second]
        return torch.cat([*powers, amplitude, *crossings, correlations], dim=1)


def log_power(signal: Tensor) -> Tensor:
    """Half the logarithm of the variance, (N, C)."""
    return 0.5 * torch.log(signal.var(dim=2) + FLOOR**2)


def sign_changes(signal: Tensor) -> Tensor:
    """How often the sign changes from one sample to the next, 0 to 1, (N, C)."""
    return (signal[:, :, 1:] * signal[:, :, :-1] < 0).to(signal.dtype).mean(dim=2)


def normalised_products(windows: Tensor) -> Tensor:
    """Correlations of all channels, (N, C, C); those of silent channels shrink towards 0."""
    centred = windows - windows.mean(dim=2, keepdim=True)
    floor = 0.05 * windows.shape[2] ** 0.5  # the norm of noise of 5 % of an RMS of 1
    unit = centred / (centred.norm(dim=2, keepdim=True) + floor)
    products: Tensor = unit @ unit.transpose(1, 2)
    return products
