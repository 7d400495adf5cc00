"""What the latest seconds tell of the electrodes while nobody knows whether the arm is at rest.

`device.contact` judges a relaxed arm. Of its verdicts only those are given here that no muscle brings about: no
signal, a converter at its limit, and mains that outweigh all else (a muscle makes their share smaller). That a channel
is noisier than the others, or wanders, may be the person moving: such channels count as good here.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from device.contact import check_contact

if TYPE_CHECKING:
    from distillation.recording import FloatArray
    from protocols.frame import Hello

WHATEVER_THE_ARM_DOES = ("off", "clipping", "hum")
LEAST_S = 2.0


@dataclass(frozen=True, slots=True)
class Electrodes:
    """How they look.

    Attributes:
        verdicts: one a channel: good, off, clipping or hum.
        sentences: what is wrong, in words; empty where nothing is.
    """

    verdicts: tuple[str, ...] = ()
    sentences: tuple[str, ...] = ()


def look(emg_uv: FloatArray, hello: Hello) -> Electrodes | None:
    """Judge the latest seconds; None where they are too short.

    Args:
        emg_uv: (T, C) microvolts.
        hello: of the board.

    Raises:
        DataError: as of `check_contact`: a rate too low to show EMG.
    """
    if len(emg_uv) / hello.sample_rate_hz < LEAST_S:
        return None
    signs = check_contact(emg_uv, hello.sample_rate_hz, uv_per_count=hello.uv_per_count).channels
    bad = tuple(sign.message for sign in signs if sign.verdict in WHATEVER_THE_ARM_DOES)
    verdicts = tuple(sign.verdict if sign.verdict in WHATEVER_THE_ARM_DOES else "good" for sign in signs)
    return Electrodes(verdicts, bad)
