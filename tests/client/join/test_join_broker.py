"""`join --broker`: a broker for as long as the client runs, and its state beside the client's."""

import json

import pytest
from typer.testing import CliRunner

from device.broker import free_port
from device.broker.gateway import broker_status
from myofed import app
from protocols.errors import ConfigError


@pytest.fixture
def client(monkeypatch):
    """A client that does what it is told to in place of taking part."""
    monkeypatch.setattr("client.join.status.status", lambda store: {"store": str(store)})
    monkeypatch.setattr("client.join.status.status_text", lambda _: "the client")
    return lambda does: monkeypatch.setattr("client.join.job.join", does)


def join(*words):
    return CliRunner().invoke(app, ["join", *map(str, words)])


def beside(folder, boards="emg-1,emg-2", port=None):
    address = f"127.0.0.1:{free_port() if port is None else port}"
    return ["--broker", boards, "--broker-folder", folder, "--broker-address", address]


def test_the_broker_runs_while_the_client_does_and_ends_with_it(tmp_path, client):
    seen = []

    def until_ctrl_c(_job):
        seen.append(broker_status(tmp_path / "broker"))
        raise KeyboardInterrupt

    client(until_ctrl_c)
    ended = join("ada.myofed", "--recordings", tmp_path, *beside(tmp_path / "broker"), "--json")
    (status,) = seen
    assert (status["running"], list(status["boards"])) == (True, ["emg-1", "emg-2"])
    assert ended.exit_code == 130
    told = json.loads(ended.stdout)["broker"]
    assert (told["running"], told["address"]) == (False, status["address"])


def test_it_is_there_again_at_the_address_of_last_time(tmp_path, client):
    addresses = []

    def fail(_job):
        addresses.append(broker_status(tmp_path / "broker")["address"])
        raise ConfigError("enough")

    client(fail)
    first = beside(tmp_path / "broker")
    assert isinstance(join("ada.myofed", "--recordings", tmp_path, *first).exception, ConfigError)
    assert isinstance(join("ada.myofed", "--recordings", tmp_path, *first[:-2]).exception, ConfigError)
    assert len(addresses) == 2
    assert len(set(addresses)) == 1


def test_status_tells_of_the_broker_in_words_and_in_json(tmp_path, client):
    client(lambda _job: (_ for _ in ()).throw(ConfigError("enough")))
    join("ada.myofed", "--recordings", tmp_path, *beside(tmp_path / "broker"))
    said = join("status", "--broker-folder", tmp_path / "broker").stdout
    assert said.startswith("the client\nbroker at mqtts://127.0.0.1:")
    assert "not running; boards: emg-1 (unknown), emg-2 (unknown)" in said
    none = json.loads(join("status", "--broker-folder", tmp_path / "none", "--json").stdout)
    assert none["broker"] is None


@pytest.mark.parametrize("boards", ["emg-1,a/b", "+", ","])
def test_a_board_id_that_cannot_be_is_a_wrong_call_and_the_client_does_not_start(tmp_path, client, boards):
    client(lambda _job: pytest.fail("the client started"))
    found = join("ada.myofed", "--recordings", tmp_path, *beside(tmp_path / "broker", boards))
    assert isinstance(found.exception, ConfigError)
