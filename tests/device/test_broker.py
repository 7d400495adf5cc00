"""The broker of one's own, with a real Mosquitto: who may come in, and what each may do there."""

import stat
import subprocess

import pytest
from parts import need

from device.broker import GATEWAY, broker_text, free_port, running, start, write_broker
from protocols.errors import ConfigError, LinkError


@pytest.fixture
def broker(tmp_path):
    need("mosquitto")
    return write_broker(tmp_path / "broker", ["emg-1", "emg-2"], port=free_port())


def client(program, broker, user, *arguments, password=None):
    word = broker.passwords[user] if password is None else password
    command = [need(program), "-h", "127.0.0.1", "-p", str(broker.port), "-u", user, "-P", word]
    command += ["--cafile", broker.ca] if broker.tls else []
    command += [*([] if user == GATEWAY else ["-i", user]), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)


def test_a_board_publishes_its_own_topics_and_the_gateway_reads_them(broker):
    with running(broker):
        sent = client(
            "mosquitto_pub", broker, "emg-1", "-t", "myofed/emg-1/hello", "-m", "x", "-r", "-q", "1"
        )
        read = client("mosquitto_sub", broker, GATEWAY, "-t", "myofed/+/hello", "-C", "1", "-v", "-W", "10")
    assert sent.returncode == 0
    assert read.stdout.strip() == "myofed/emg-1/hello x"


def test_a_board_cannot_speak_for_another(broker):
    with running(broker):
        client("mosquitto_pub", broker, "emg-1", "-t", "myofed/emg-2/hello", "-m", "forged", "-r", "-q", "1")
        client("mosquitto_pub", broker, "emg-2", "-t", "myofed/emg-2/hello", "-m", "own", "-r", "-q", "1")
        read = client("mosquitto_sub", broker, GATEWAY, "-t", "myofed/emg-2/hello", "-C", "1", "-W", "10")
    assert read.stdout.strip() == "own"


def test_a_board_cannot_read_what_another_sends(broker):
    with running(broker):
        client("mosquitto_pub", broker, "emg-2", "-t", "myofed/emg-2/hello", "-m", "x", "-r", "-q", "1")
        read = client("mosquitto_sub", broker, "emg-1", "-t", "myofed/emg-2/hello", "-C", "1", "-W", "1")
    assert read.stdout == ""


@pytest.mark.parametrize("user", ["emg-1", GATEWAY])
def test_a_wrong_password_is_refused(broker, user):
    with running(broker):
        sent = client("mosquitto_pub", broker, user, "-t", "myofed/x/hello", "-m", "x", password="wrong")  # noqa: S106
    assert sent.returncode != 0
    assert "not authorised" in sent.stderr.lower()


def test_a_board_that_is_named_no_more_does_not_come_in(broker):
    left = write_broker(broker.folder, ["emg-2"], port=broker.port)
    message = ("-t", "myofed/emg-1/hello", "-m", "x", "-q", "1")
    with running(left):
        sent = client("mosquitto_pub", broker, "emg-1", *message)
    assert "not authorised" in sent.stderr.lower()


def test_passwords_are_private_kept_and_stored_hashed(broker):
    write_broker(broker.folder, ["emg-3"], port=broker.port)  # emg-1 and emg-2 are not let in for a while
    again = write_broker(broker.folder, ["emg-1", "emg-2", "emg-3"], port=broker.port)
    assert set(again.passwords) == {GATEWAY, "emg-1", "emg-2", "emg-3"}
    assert all(again.passwords[user] == word for user, word in broker.passwords.items())
    modes = {path: stat.S_IMODE(path.stat().st_mode) for path in [broker.folder, *broker.folder.rglob("*")]}
    assert {path.name for path in modes} >= {"rights.json", "ca.key", "server.pem", "emg-1"}
    for path, mode in modes.items():
        assert mode == (0o700 if path.is_dir() else 0o600), path
    hashed = (broker.folder / "rights.json").read_text()
    assert not any(word in hashed for word in again.passwords.values())


def test_a_taken_port_is_named(broker, tmp_path):
    other = write_broker(tmp_path / "other", ["emg-1"], port=broker.port)
    with running(broker), pytest.raises(LinkError, match=f"port {broker.port} is taken"):
        start(other)


@pytest.mark.parametrize("board", ["", "a/b", "+", "#", "$SYS", "gateway", "a b", "a:b", "x" * 65])
def test_a_board_id_that_cannot_be_a_user_is_refused(tmp_path, board):
    with pytest.raises(ConfigError, match="board id"):
        write_broker(tmp_path, [board])


def test_a_damaged_password_file_is_named(broker):
    (broker.folder / "passwords" / "emg-1").write_text("")
    with pytest.raises(ConfigError, match="passwords/emg-1: holds no password"):
        write_broker(broker.folder, ["emg-1"])


def test_what_is_announced_names_no_password(broker):
    text = broker_text(broker)
    assert f"myofed board info mqtts://gateway@127.0.0.1:{broker.port}/emg-1" in text
    assert not any(word in text for word in broker.passwords.values())


def test_a_folder_that_cannot_be_made_or_no_boards_is_a_wrong_call(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(ConfigError, match="cannot be made"):
        write_broker(tmp_path / "file" / "broker", ["emg-1"])
    with pytest.raises(ConfigError, match="found no boards"):
        write_broker(tmp_path / "broker", [])


def test_a_configuration_that_mosquitto_refuses_is_a_link_error(broker):
    (broker.folder / "mosquitto.conf").write_text("nonsense 1\n")
    with pytest.raises(LinkError, match="did not start"), running(broker):
        pass
