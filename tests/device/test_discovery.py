"""Finding boards: `myofed board list`."""

import json
import subprocess
import sys

import pytest
import serial
from broker import broker
from fake_board import FakeBoard, MqttBoard, PtyBoard

from device.links import LinkUrl
from device.links.discovery import ListJob, list_text, run_list
from protocols.errors import ConfigError, LinkError
from protocols.frame import encode_payload


def test_serial_boards_are_found_by_their_hello_and_not_started(tmp_path):
    with (
        PtyBoard(tmp_path / "a") as first,
        PtyBoard(tmp_path / "b", FakeBoard("emg-2", channels=16)) as second,
    ):
        found = run_list(ListJob(ports=(str(first.path), second.url), timeout_s=2))
    assert found["skipped"] == []
    assert [board["board_id"] for board in found["boards"]] == ["emg-1", "emg-2"]
    assert found["boards"][1] == {
        "url": second.url,
        "board_id": "emg-2",
        "firmware": "fake 1.0",
        "channels": 16,
        "sample_rate_hz": 1000.0,
        "sample_format": "int16",
        "uv_per_count": 0.1,
        "versions": [1, 1],
        "capabilities": [],
        "online": True,
    }
    assert first.board.asked == ["hello"]


def test_ports_that_give_no_board_are_passed_over_with_the_reason(tmp_path):
    with (
        PtyBoard(tmp_path / "busy") as busy,
        PtyBoard(tmp_path / "mute", FakeBoard(mute={"hello"}, status=False)) as mute,
        serial.Serial(str(busy.path), exclusive=True),
    ):
        found = run_list(ListJob(ports=(str(busy.path), str(mute.path), "/dev/ttyNONE9"), timeout_s=0.3))
    assert found["boards"] == []
    reasons = {place["url"].rpartition("/")[2]: place["reason"] for place in found["skipped"]}
    assert "another program holds the port" in reasons["busy"]
    assert reasons["mute"].startswith("no byte in 0.3 s")
    assert "there is no such port" in reasons["ttyNONE9"]


def test_boards_at_a_broker_are_found_online_and_offline(tmp_path):
    with broker(tmp_path) as mosquitto:
        here = MqttBoard(LinkUrl.parse(mosquitto.url("emg-1", user="emg-1")))
        gone = MqttBoard(LinkUrl.parse(mosquitto.url("emg-2", user="emg-2")))
        with here:
            with gone:
                pass
            found = run_list(ListJob(broker=mosquitto.url(), ports=("/dev/ttyNONE9",), timeout_s=0.5))
    assert [(board["board_id"], board["online"]) for board in found["boards"]] == [
        ("emg-1", True),
        ("emg-2", False),
    ]
    assert found["boards"][0]["url"] == f"mqtt://gateway@127.0.0.1:{mosquitto.port}/emg-1"
    text = list_text(found)
    assert "emg-2  8 channels × 1000 Hz  fake 1.0  offline" in text
    assert text.splitlines()[-1].startswith(f"next: myofed board info {found['boards'][0]['url']} ")
    assert "$MYOFED_MQTT_PASSWORD" in text.splitlines()[-1]
    assert mosquitto.folder.passwords["gateway"] not in text + json.dumps(found)


def test_a_hello_that_is_none_is_named_and_an_emptied_one_is_not(tmp_path):
    with broker(tmp_path) as mosquitto:
        board = MqttBoard(LinkUrl.parse(mosquitto.url("emg-2", user="emg-2")))
        other = MqttBoard(LinkUrl.parse(mosquitto.url("emg-3", user="emg-3")))
        with board, other:
            status = encode_payload(other.board.state())
            for at, what in ((board, b"junk"), (other, status)):
                name = f"myofed/{at.board.board_id}/hello"
                at._client.publish(name, what, 1, retain=True).wait_for_publish(5)
            job = ListJob(broker=mosquitto.url(), ports=("/dev/ttyNONE9",), timeout_s=0.5)
            found = run_list(job)
            other._client.publish("myofed/emg-3/hello", b"", 1, retain=True).wait_for_publish(5)
            later = run_list(job)
    reasons = {place["url"].rpartition("/")[2]: place["reason"] for place in found["skipped"]}
    assert reasons["emg-2"].startswith("its hello is no frame: ")
    assert reasons["emg-3"] == "its hello is no hello, but of the kind status"
    reasons = {place["url"].rpartition("/")[2]: place["reason"] for place in later["skipped"]}
    assert reasons["emg-3"] == "has published no hello"


def test_a_user_who_may_read_nothing_is_told_so(tmp_path):
    """A broker does not say that it holds something back: to a user without rights it looks empty."""
    with (
        broker(tmp_path, files_of_rights=True) as mosquitto,
        MqttBoard(LinkUrl.parse(mosquitto.url("emg-1", user="emg-1"))),
    ):
        found = run_list(ListJob(broker=mosquitto.url(user="emg-2"), ports=("/dev/ttyNONE9",), timeout_s=0.5))
    assert found["boards"] == []
    place = next(place for place in found["skipped"] if place["url"].startswith("mqtt"))
    assert "or user 'emg-2' may not read myofed/+/hello" in place["reason"]
    assert f"passed over {place['url']}: no board has ever said hello there, or" in list_text(found)


def test_a_broker_that_is_not_there_is_an_error_since_it_was_named():
    with pytest.raises(LinkError, match="connection refused"):
        run_list(ListJob(broker="mqtt://127.0.0.1:1", ports=("/dev/ttyNONE9",), timeout_s=0.1))


@pytest.mark.parametrize(
    ("job", "says"),
    [
        (ListJob(broker="serial:///dev/x"), "--broker: found serial:///dev/x, expected mqtt://HOST"),
        (ListJob(ports=("mqtt://h/b",)), "--port: found mqtt://h:1883/b, expected a serial port"),
    ],
)
def test_an_address_of_the_wrong_kind_is_refused(job, says):
    with pytest.raises(ConfigError, match=says):
        run_list(job)


@pytest.mark.parametrize("timeout_s", [float("nan"), float("inf"), 0.0, -1.0])
def test_a_time_that_is_none_is_a_wrong_call(timeout_s):
    with pytest.raises(ConfigError, match=r"timeout: found .*, expected 0\.1 to 60 seconds"):
        ListJob(timeout_s=timeout_s)


def test_nothing_found_says_what_to_do():
    assert "plug one in" in list_text({"boards": [], "skipped": []})


def test_the_command_prints_one_json_object(tmp_path):
    with PtyBoard(tmp_path / "a") as board:
        done = subprocess.run(
            [sys.executable, "-m", "myofed", "board", "list", "--port", str(board.path), "--json"],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["boards"][0]["board_id"] == "emg-1"
