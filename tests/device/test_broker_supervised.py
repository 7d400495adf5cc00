"""A broker that is kept running: killed it comes back, ended it is gone, and its certificate is renewed in time."""

import datetime as dt
import os
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from fake_board import MqttBoard, run, take, until
from parts import need

from device.broker import GATEWAY, free_port, supervised, write_broker
from device.broker.authority import own_hosts, renew_certificate
from device.broker.folder import read_broker
from device.broker.gateway import broker_status, split_address, status_text
from device.broker.keeper import LONGEST_DELAY_S, RUNNING, backoff_s, state_of
from device.links import LinkUrl, open_link
from protocols.certificates import RENEW_DAYS, SERVER_DAYS, general_name, names, read_certificate
from protocols.errors import ConfigError, LinkError

DEADLINE_S = 60.0
OPENSSL_VERIFY = ("openssl", "verify", "-x509_strict", "-purpose", "sslserver")
NOW = dt.datetime.now(dt.UTC)


@pytest.fixture
def broker(tmp_path):
    need("mosquitto")
    return write_broker(tmp_path / "broker", ["emg-1", "emg-2"], port=free_port())


def wait_for(condition, what):
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


def is_there(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().split()[2] != "Z"
    except FileNotFoundError:
        return False


def test_killed_it_comes_back_and_so_do_board_and_link(broker):
    with supervised(broker), MqttBoard(LinkUrl.parse(broker.url("emg-1", user="emg-1"))):

        async def scenario():
            async with open_link(broker.url("emg-1")) as link:
                await take(link, 3)
                os.kill(state_of(broker.folder).pid, signal.SIGKILL)
                await until(lambda: link.num_reconnects == 1)
                await take(link, 20)

        run(scenario, DEADLINE_S)
        assert (state_of(broker.folder).state, state_of(broker.folder).restarts) == (RUNNING, 1)


def test_it_ends_with_the_block(broker):
    with supervised(broker):
        pid = state_of(broker.folder).pid
        assert is_there(pid)
    assert not is_there(pid)
    assert state_of(broker.folder).state == "not running"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_it_ends_with_its_gateway_however_that_ends(broker, number):
    command = ["broker", str(broker.folder), "--boards", "emg-1", "--port", str(broker.port)]
    gateway = subprocess.Popen(
        [Path(sys.executable).with_name("myofed"), "board", *command],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_for(lambda: state_of(broker.folder).pid, "the broker")
        pid = state_of(broker.folder).pid
    finally:
        gateway.send_signal(number)
        gateway.wait()
    wait_for(lambda: not is_there(pid), "its end")


def test_a_folder_has_one_broker(broker):
    with supervised(broker):
        with pytest.raises(ConfigError, match="another broker runs there"):
            write_broker(broker.folder, ["emg-1"])
        with pytest.raises(ConfigError, match="another broker runs there"), supervised(broker):
            pass


def test_one_that_does_not_start_at_first_is_an_error(broker, tmp_path):
    other = write_broker(tmp_path / "other", ["emg-1"], port=broker.port)
    with (
        supervised(broker),
        pytest.raises(LinkError, match=f"port {broker.port} is taken"),
        supervised(other),
    ):
        pass


def test_back_off_doubles_up_to_its_limit():
    delays = [backoff_s(n) for n in range(1, 20)]
    assert all(later == min(2 * earlier, LONGEST_DELAY_S) for earlier, later in pairwise(delays))


def test_the_certificate_is_for_all_of_this_machine_s_names(broker):
    certificate = read_certificate(broker.folder / "server.pem")
    assert names(certificate) == [general_name(host) for host in own_hosts()]
    assert {"localhost", "127.0.0.1"} <= set(own_hosts())
    verified = subprocess.run(
        [*OPENSSL_VERIFY, "-CAfile", broker.ca, broker.folder / "server.pem"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert verified.stdout.endswith("OK\n"), verified.stderr


def test_it_fits_into_a_board_s_settings(broker):
    assert len(broker.ca.read_bytes()) < 3900  # MB_SETTING_MAX_BYTES of the firmware


@pytest.mark.parametrize(
    ("days", "hosts", "renewed"),
    [
        (0, None, False),
        (SERVER_DAYS - RENEW_DAYS - 1, None, False),
        (SERVER_DAYS - RENEW_DAYS + 1, None, True),
        (0, ["localhost"], False),  # an address that is gone does no harm
        (0, ["localhost", "10.1.2.3"], True),
    ],
)
def test_it_is_renewed_before_its_end_and_for_new_addresses(broker, days, hosts, renewed):
    authority = broker.ca.read_bytes()
    assert renew_certificate(broker.folder, hosts, now=NOW + dt.timedelta(days=days)) is renewed
    assert broker.ca.read_bytes() == authority  # boards need no new one


def test_a_renewed_certificate_is_used_and_no_connection_breaks(broker, monkeypatch):
    monkeypatch.setattr("device.broker.keeper.RENEWAL_S", 0.2)
    url = broker.url("emg-1", user="emg-1")
    with supervised(broker), MqttBoard(LinkUrl.parse(url)):

        async def scenario():
            async with open_link(broker.url("emg-1")) as link:
                (before,) = await take(link)
                (broker.folder / "server.pem").unlink()
                await until((broker.folder / "server.pem").exists)
                log = broker.folder / "mosquitto.log"
                await until(lambda: "Reloading config" in log.read_text())
                frames = await take(link, 20)
                assert frames[-1].sequence - before.sequence == 20
                assert link.num_reconnects == 0

        run(scenario, DEADLINE_S)
        served = subprocess.run(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{broker.port}", "-CAfile", broker.ca],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        ).stdout
    certificate = (broker.folder / "server.pem").read_text().partition("-----BEGIN CERTIFICATE-----")[2]
    assert "".join(certificate.split()) in "".join(served.split())


def test_its_state_is_told_in_plain_words(broker):
    assert broker_status(broker.folder.parent / "none") is None
    assert status_text(broker_status(broker.folder)).startswith(
        f"broker at mqtts://127.0.0.1:{broker.port}: not running; boards: emg-1 (unknown), emg-2"
    )
    with supervised(broker), MqttBoard(LinkUrl.parse(broker.url("emg-1", user="emg-1"))):
        status = broker_status(broker.folder)
        assert status["boards"] == {"emg-1": "online", "emg-2": "never seen"}
        assert (status["running"], status["restarts"]) == (True, 0)


def test_what_was_written_is_read_again_and_damage_is_named(broker):
    assert read_broker(broker.folder) == broker
    assert read_broker(broker.folder / "none") is None
    (broker.folder / "passwords" / GATEWAY).unlink()
    with pytest.raises(ConfigError, match=r"broker.json: KeyError\('gateway'\); start the broker again"):
        read_broker(broker.folder)


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "gateway.local"])  # noqa: S104
def test_without_tls_it_listens_on_loopback_only(tmp_path, host):
    with pytest.raises(ConfigError, match="everybody on that network could read"):
        write_broker(tmp_path, ["emg-1"], host=host, tls=False)


@pytest.mark.parametrize("address", ["", "host", "host:", "host:0", "host:70000", ":8883"])
def test_an_address_that_is_none_is_a_wrong_call(address):
    with pytest.raises(ConfigError, match="--broker-address"):
        split_address(address)


def test_the_authority_s_key_is_not_replaced_in_silence(broker):
    (broker.folder / "ca.key").unlink()
    with pytest.raises(ConfigError, match=r"ca.key: no usable authority's key"):
        write_broker(broker.folder, ["emg-1"])
