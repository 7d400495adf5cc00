"""A device works on mains only and not in its quiet hours, where its person wants that."""

import json
from datetime import datetime, time, timedelta

import pytest
from flwr.app import Context, Message, RecordDict
from flwr.clientapp import ClientApp

from client.join.conditions import Conditions, on_battery, when_allowed
from protocols.errors import ConfigError
from simulations.engine import InProcessGrid


def supplies(folder, **each):
    for name, words in each.items():
        (folder / name).mkdir(parents=True)
        for key, word in words.items():
            (folder / name / key).write_text(word + "\n")
    return folder


BATTERY = {"type": "Battery", "status": "Discharging"}


@pytest.mark.parametrize(
    ("each", "expected"),
    [
        ({}, False),
        ({"BAT0": BATTERY}, True),
        ({"BAT0": BATTERY, "AC": {"type": "Mains", "online": "0"}}, True),
        ({"BAT0": BATTERY, "AC": {"type": "Mains", "online": "1"}}, False),
        ({"BAT0": {"type": "Battery", "status": "Charging"}}, False),
        ({"BAT0": {"type": "Battery", "status": "Full"}}, False),
        ({"mouse": BATTERY | {"scope": "Device"}}, False),
    ],
)
def test_a_device_knows_whether_it_is_on_battery(tmp_path, each, expected):
    power = supplies(tmp_path / "power", **each)
    assert on_battery(power) is expected
    assert Conditions(only_when_charging=True).hindrance(time(12), power) == (
        "on battery" if expected else ""
    )
    assert Conditions().hindrance(time(12), power) == ""


@pytest.mark.parametrize(
    ("hours", "now", "quiet"),
    [
        ("22:00-07:00", time(23), True),
        ("22:00-07:00", time(6, 59), True),
        ("22:00-07:00", time(7), False),
        ("09:00-17:00", time(9), True),
        ("09:00-17:00", time(8, 59), False),
        ("09:00-17:00", time(17), False),
    ],
)
def test_quiet_hours_may_pass_midnight(hours, now, quiet):
    assert bool(Conditions(quiet_hours=hours).hindrance(now)) is quiet


@pytest.mark.parametrize("hours", ["22-7", "24:00-07:00", "22:00", "22:00-07:60"])
def test_hours_that_are_none_are_refused(hours):
    with pytest.raises(ConfigError, match="--quiet-hours: found"):
        Conditions(quiet_hours=hours)


def test_a_task_is_refused_in_quiet_hours_and_a_greeting_is_not(tmp_path):
    InProcessGrid(ClientApp(), 1, {})  # messages belong to a run
    path = tmp_path / "conditions.json"
    begin = (datetime.now() - timedelta(hours=1)).strftime("%H:%M")  # noqa: DTZ005
    end = (datetime.now() + timedelta(hours=1)).strftime("%H:%M")  # noqa: DTZ005
    path.write_text(json.dumps(Conditions(quiet_hours=f"{begin}-{end}").to_json()))
    context = Context(
        run_id=1,
        node_id=1,
        node_config={"conditions": str(path)},
        state=RecordDict(),
        run_config={},
        series_id=1,
    )
    answered = lambda message, _: message  # noqa: E731
    with pytest.raises(ConfigError, match="not now: quiet hours"):
        when_allowed(Message(RecordDict(), 1, "train"), context, answered)
    assert when_allowed(Message(RecordDict(), 1, "query"), context, answered).has_content()
