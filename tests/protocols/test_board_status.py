"""What is known of a board travels as JSON, and comes back only if every value is what it should be."""

import json

import pytest

from protocols.board_status import BoardStatus
from protocols.errors import DataError

FULL = BoardStatus(
    board_id="emg-1",
    url="mqtt://gateway@host:1883/emg-1",
    online=True,
    streaming=True,
    firmware="myofed 1.0",
    channels=2,
    sample_rate_hz=1000.0,
    measured_rate_hz=1000.1,
    loss=0.01,
    lost_samples=12,
    contact=("good", "off"),
    sentences=("channel 2 is not touching the skin",),
    battery_mv=3900,
    gesture="fist",
    confidence=0.9,
    seen_s=1.8e9,
)


@pytest.mark.parametrize("status", [FULL, BoardStatus("emg-2")])
def test_a_status_comes_back_from_json(status):
    assert BoardStatus.from_json(json.loads(json.dumps(status.to_json()))) == status


def test_unknown_keys_are_left_out():
    assert BoardStatus.from_json({"board_id": "a", "colour": "red"}) == BoardStatus("a")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("board_id", None),
        ("board_id", 3),
        ("online", "yes"),
        ("streaming", None),
        ("firmware", "x" * 2001),
        ("channels", 8.0),
        ("channels", True),
        ("lost_samples", -1),
        ("resets", 10**30),
        ("loss", "0.1"),
        ("sample_rate_hz", float("nan")),
        ("measured_rate_hz", 1e400),
        ("drift_ppm", 10**400),
        ("contact", "good"),
        ("contact", ["good", 1]),
        ("sentences", ["x"] * 257),
    ],
)
def test_a_value_of_another_kind_is_refused_by_name(name, value):
    with pytest.raises(DataError, match=f"board status: found {name}"):
        BoardStatus.from_json(FULL.to_json() | {name: value})


@pytest.mark.parametrize("values", [None, [], "emg-1", {}, {"url": "x"}])
def test_what_is_no_status_is_refused(values):
    with pytest.raises(DataError, match="board status"):
        BoardStatus.from_json(values)
