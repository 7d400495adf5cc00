"""How well a board's samples arrived, and its way through JSON and a recording's file."""

import json
import math

import h5py
import numpy as np
import pytest

from distillation.link_quality import LinkQuality
from distillation.recording import Gap, Recording, read_recording, write_recording
from protocols.errors import DataError

QUALITY = LinkQuality(
    frames=98,
    samples=1960,
    lost_frames=2,
    lost_samples=40,
    resets=1,
    declared_rate_hz=1000,
    measured_rate_hz=1001,
)


def recording(**facts):
    return Recording(np.zeros((10, 2), np.float32), np.arange(10) / 1000, 1000.0, "ada", **facts)


def test_the_loss_is_the_share_of_the_samples_that_were_taken():
    assert QUALITY.loss == 40 / 2000
    assert LinkQuality().loss == 0


def test_the_rate_error_is_relative():
    assert QUALITY.rate_error == pytest.approx(0.001)
    assert math.isnan(LinkQuality().rate_error)


def test_json_has_null_for_what_is_not_known():
    values = json.loads(QUALITY.to_text())
    assert (values["frames"], values["drift_ppm"], values["loss"]) == (98, None, 0.02)


def test_a_recording_keeps_its_link_quality(tmp_path):
    write_recording(recording(link=QUALITY), tmp_path / "a.hdf5")
    found = read_recording(tmp_path / "a.hdf5").link
    assert found.to_json() == QUALITY.to_json()
    assert math.isnan(found.drift_ppm)
    with h5py.File(tmp_path / "a.hdf5") as file:
        assert json.loads(file["data"].attrs["link_quality"])["lost_samples"] == 40


def test_a_recording_without_a_board_has_none(tmp_path):
    write_recording(recording(), tmp_path / "a.hdf5")
    assert read_recording(tmp_path / "a.hdf5").link is None
    with h5py.File(tmp_path / "a.hdf5") as file:
        assert "link_quality" not in file["data"].attrs


def test_a_recording_may_have_more_gaps_than_an_attribute_usually_holds(tmp_path):
    """64 KiB are 4,096 gaps: three minutes of a board that loses half of its 20-ms frames."""
    gaps = tuple(Gap(k, k + 0.5) for k in range(20_000))
    write_recording(recording(gaps=gaps), tmp_path / "a.hdf5")
    assert read_recording(tmp_path / "a.hdf5").gaps == gaps


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"frames": True}, "frames = True, expected a whole number"),
        ({"resets": None}, "resets = None, expected a whole number"),
        ({"drift_ppm": "fast"}, "drift_ppm = 'fast', expected a finite number"),
        ({"jitter_ms": 10**400}, "jitter_ms = 1000.*, expected a finite number"),
    ],
)
def test_other_values_are_named(values, message):
    with pytest.raises(DataError, match=f"link_quality: found {message}"):
        LinkQuality.from_json(values)


def test_keys_of_newer_versions_are_left_out():
    assert LinkQuality.from_json({"frames": 3, "mood": "good"}).frames == 3
