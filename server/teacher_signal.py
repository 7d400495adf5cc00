"""The signal that a teacher was trained on: written into its file, asked of whoever packs with it."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from distillation.prepare import SCALING
from distillation.spec import SignalSpec
from distillation.teacher import is_checkpoint
from distillation.weights import read_metadata
from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from pathlib import Path

    from distillation.datasets import Dataset
    from distillation.event_models import EventModel
    from distillation.window_models import WindowModel
    from server.pack_job import PackJob

FILTERS = ("remove_mean", "band_pass_hz", "notch_hz")  # fields of SignalSpec and flags of `myofed pack`


def taught_signal(path: Path) -> dict[str, Any]:
    """What `student_facts` wrote, as fields of SignalSpec; what the file does not say is left out.

    Meta's checkpoint says nothing of it, nor do other files of weights.

    Raises:
        DataError: unreadable, or a signal that we cannot prepare.
    """
    facts = {} if is_checkpoint(path) else read_metadata(path)
    if (scaling := facts.get("scaling", SCALING)) != SCALING:
        raise DataError(f"{path}: scaling: found {scaling!r}, expected {SCALING!r}")
    taught = _filters(path, facts["filters"]) if "filters" in facts else {}
    match facts.get("window_ms"):
        case None:
            return taught
        case int() | float() as window_ms if math.isfinite(window_ms) and window_ms > 0:
            return {"window_ms": float(window_ms), **taught}
    raise DataError(f"{path}: window_ms: found {facts['window_ms']!r}, expected a length above 0")


def _filters(path: Path, texts: object) -> dict[str, Any]:
    """The chain that `described_filters` described."""
    try:
        match dict(_named_value(text) for text in texts):  # type: ignore[attr-defined]
            case {
                "clip_abs": None,
                "remove_mean": bool(remove_mean),
                "band_pass_hz": None | [float(), float() | None] as band,
                "notch_hz": None | float() as notch_hz,
                "mode": "causal",
                **unknown,
            } if not unknown:
                edges = band and (band[0], math.inf if band[1] is None else band[1])
                return {"remove_mean": remove_mean, "band_pass_hz": edges, "notch_hz": notch_hz}
    except (AttributeError, TypeError, ValueError):
        pass  # no texts, or no JSON in them
    raise DataError(f"{path}: filters: found {texts!r}, expected the filters that `myofed teach` has")


def _named_value(text: str) -> tuple[str, Any]:
    name, _, value = text.partition("=")
    return name, json.loads(value)


def teacher_signal(teacher: EventModel | WindowModel, dataset: Dataset, job: PackJob) -> SignalSpec:
    """The signal that a teacher reads: as its file says, else as the flags do; checked against the dataset.

    Raises:
        ConfigError: a flag or the dataset differs from what the teacher was trained on, or it names no
            gestures.
        DataError: the file says something that cannot be.
    """
    check_dataset(teacher, dataset, job)
    taught = taught_signal(job.teacher)
    window_ms = window_length_ms(teacher, taught.pop("window_ms", None), job)
    return SignalSpec(
        gestures=tuple(teacher.label_names),
        sample_rate_hz=teacher.spec.sample_rate_hz,
        channels=teacher.spec.channels,
        window_ms=window_ms,
        stride_ms=window_ms / 2 if job.stride_ms is None else job.stride_ms,
        **agreed_filters(taught, job),
    )


def check_dataset(teacher: EventModel | WindowModel, dataset: Dataset, job: PackJob) -> None:
    """ConfigError unless the teacher can name the gestures of such recordings."""
    spec, names = teacher.spec, teacher.label_names
    if len(names) != spec.outputs:
        raise ConfigError(f"teacher: {job.teacher} names {len(names)} gestures for {spec.outputs} outputs")
    for name, found, expected in (
        ("channels", dataset.channels, spec.channels),
        ("sample_rate_hz", dataset.sample_rate_hz, spec.sample_rate_hz),
    ):
        if found != expected:
            raise ConfigError(
                f"{name}: found {found:g} in {dataset.name}, expected {expected:g}, which {job.teacher} reads"
            )


def window_length_ms(teacher: EventModel | WindowModel, taught_ms: float | None, job: PackJob) -> float:
    """The windows' length; lengths are the same where they are the same number of samples.

    Raises:
        ConfigError: none known, or the flag differs from the teacher's own.
        DataError: the file contradicts itself.
    """
    rate_hz, own = teacher.spec.sample_rate_hz, teacher.spec.window
    own_ms = 1000 * own / rate_hz if taught_ms is None and own is not None else taught_ms
    window_ms = own_ms if job.window_ms is None else job.window_ms
    if window_ms is None:
        raise ConfigError("window_ms: found none, expected one: this teacher reads streams of any length")
    if own_ms is None:
        return window_ms
    found, expected = (_num_samples(ms, rate_hz) for ms in (window_ms, own_ms))
    if own not in (None, expected):
        raise DataError(f"{job.teacher}: window_ms: found {own_ms:g} for {own} samples at {rate_hz:g} Hz")
    if found != expected:
        raise ConfigError(
            f"window_ms: found {window_ms:g} ({found:g} samples), expected {own_ms:g} ({expected:g}), "
            f"on which {job.teacher} was trained"
        )
    return window_ms


def _num_samples(window_ms: float, rate_hz: float) -> float:
    """As SignalSpec counts them; a float, since a flag may say inf."""
    num = window_ms * rate_hz / 1000
    return round(num) if math.isfinite(num) else num


def agreed_filters(taught: dict[str, Any], job: PackJob) -> dict[str, Any]:
    """The filters of the file and of the flags in one.

    Raises:
        ConfigError: names the flag that differs from the file.
    """
    given = {name: value for name in FILTERS if (value := getattr(job, name)) is not None}
    for name, found in given.items():
        if name in taught and found != taught[name]:
            raise ConfigError(
                f"{name}: found {found}, expected {taught[name]}, with which {job.teacher} was trained"
            )
    return taught | given
