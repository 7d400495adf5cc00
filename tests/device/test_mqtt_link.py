"""Links over MQTT, with a real Mosquitto: passwords, rights, restarts, many boards on one connection."""

import asyncio
import socket
import threading
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from urllib.parse import quote

import pytest
from broker import broker
from fake_board import FakeBoard, MqttBoard, run, take, until

from device.broker.authority import renew_certificate
from device.emulator.mqtt_transport import MqttTransport
from device.links import LinkUrl, open_link
from device.links.mqtt_link import open_boards
from protocols.errors import ConfigError, LinkError, VersionMismatch
from protocols.frame import Samples, encode_payload
from protocols.topics import topic


@pytest.fixture(scope="module")
def mosquitto(tmp_path_factory):
    with broker(tmp_path_factory.mktemp("mqtt")) as running:
        yield running


def board_at(mosquitto, name="emg-1", board=None):
    """A board that logs in as itself."""
    return MqttBoard(LinkUrl.parse(mosquitto.url(name, user=name)), board)


def fails(url, error=LinkError, **options):
    async def scenario():
        async with open_link(url, **({"hello_timeout_s": 0.5} | options)):
            pass

    with pytest.raises(error) as caught:
        run(scenario)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_samples_come_through_a_broker_and_none_is_missing(mosquitto):
    with board_at(mosquitto) as board:

        async def scenario():
            async with open_link(mosquitto.url("emg-1")) as link:
                assert link.url == f"mqtt://gateway@127.0.0.1:{mosquitto.port}/emg-1"
                return await take(link, 20)

        frames = run(scenario)
    assert [b.sequence - a.sequence for a, b in pairwise(frames)] == [1] * 19
    assert board.board.asked == ["hello", "start", "stop"]


def test_a_restarted_broker_is_found_again_and_the_board_asked_to_go_on(mosquitto):
    with board_at(mosquitto) as board:

        async def scenario():
            async with open_link(mosquitto.url("emg-1")) as link:
                before = (await take(link, 3))[-1]
                await asyncio.to_thread(mosquitto.restart)
                frames = await take(link, 100)
                assert frames[-1].sequence > before.sequence
                assert link.num_reconnects >= 1
                assert link.connected

        run(scenario)
    assert board.board.asked.count("start") >= 2


def test_junk_on_a_board_s_topics_does_not_break_its_link(mosquitto):
    with board_at(mosquitto) as board:

        async def scenario():
            async with open_link(mosquitto.url("emg-1")) as link:
                await take(link, 3)
                for what in ("availability", "hello", "status", "acknowledge", "marker", "samples"):
                    board.publish(f"myofed/emg-1/{what}", b"junk")
                await until(lambda: link.num_rejected >= 3)
                await take(link, 3)
                assert (link.connected, link.num_reconnects) == (True, 0)

        run(scenario)


def test_a_board_that_dies_is_offline_by_its_last_will_and_welcome_again(mosquitto):
    with board_at(mosquitto) as board:

        async def scenario():
            async with open_link(mosquitto.url("emg-1")) as link:
                await take(link, 3)
                board.cut()
                await until(lambda: not link.connected)
                board.board.reset()
                board.plug()
                await take(link, 20)
                assert (link.num_reconnects, board.board.streaming) == (1, True)

        run(scenario)


def test_two_boards_share_one_connection(mosquitto):
    with board_at(mosquitto, "emg-1"), board_at(mosquitto, "emg-2") as second:
        before = threading.active_count()

        async def scenario():
            url = LinkUrl.parse(mosquitto.url())
            async with open_boards(url, ["emg-1", "emg-2"]) as links:
                assert [link.hello.board_id for link in links.values()] == ["emg-1", "emg-2"]
                assert sum(thread.name.startswith("paho") for thread in threading.enumerate()) <= before + 1
                await asyncio.gather(*(take(link, 10) for link in links.values()))
                second.cut()
                await until(lambda: not links["emg-2"].connected)
                await take(links["emg-1"], 20)  # one board's end is not the other's
                assert links["emg-1"].num_reconnects == 0

        run(scenario)


def test_boards_are_opened_all_at_once_and_those_that_fail_are_named(mosquitto):
    """One after another, the second that does not answer would not be known; the third, which does, is stopped."""
    deaf = [board_at(mosquitto, name, FakeBoard(name, mute={"hello"})) for name in ("emg-2", "emg-3")]

    async def scenario():
        with pytest.raises(LinkError) as caught:
            async with open_boards(mosquitto.url(), ["emg-1", "emg-2", "emg-3"], hello_timeout_s=1.5):
                pass
        return str(caught.value)

    with board_at(mosquitto, "emg-1") as here, deaf[0], deaf[1]:
        said = run(scenario)
    assert "board 'emg-2' is known there but did not answer in 1.5 s" in said
    assert said.endswith("; nor can these be opened: emg-3")
    assert "\n" not in said
    assert (here.board.asked[-1], here.board.streaming) == ("stop", False)


def test_messages_that_are_no_frames_are_not_blamed_on_a_cable(mosquitto):
    with board_at(mosquitto, "emg-3", FakeBoard("emg-3", mute={"hello"})) as board:
        real, junk = board.board.receive, threading.Event()

        def receive(frame):
            board.publish("myofed/emg-3/acknowledge", b"junk")
            junk.set()
            return real(frame)

        board.board.receive, board.board.status = receive, False
        said = fails(mosquitto.url("emg-3"))
    assert junk.is_set()
    assert "messages of board 'emg-3' in 0.5 s and none is a frame: another firmware" in said


def test_a_board_whose_hello_is_junk_is_not_called_unknown(mosquitto):
    with board_at(mosquitto, "emg-3", FakeBoard("emg-3", mute={"hello"})) as board:
        board._client.publish("myofed/emg-3/hello", b"junk", 1, retain=True).wait_for_publish(5)
        said = fails(mosquitto.url("emg-3"))
        board._client.publish("myofed/emg-3/hello", b"", 1, retain=True).wait_for_publish(5)
    assert "board 'emg-3' did not answer in 0.5 s, and its hello is no frame: " in said


def test_a_wrong_password_is_named_and_not_shown(mosquitto):
    said = fails(mosquitto.url("emg-1").replace("gateway:", "gateway:wrong"))
    assert "wrong user or password for 'gateway'" in said
    assert "wrong" + mosquitto.folder.passwords["gateway"] not in said


def test_a_broker_that_wants_a_user_says_so(mosquitto, monkeypatch):
    monkeypatch.delenv("MYOFED_MQTT_PASSWORD", raising=False)
    assert "wants a user: mqtt://USER:PASSWORD@" in fails(f"mqtt://127.0.0.1:{mosquitto.port}/emg-1")


def test_a_board_s_user_is_no_link_s(mosquitto):
    assert "or a board's, and links come in as the gateway" in fails(mosquitto.url("emg-1", user="emg-2"))


def test_a_user_without_the_right_to_command_is_told_which_rights_it_needs(tmp_path):
    with broker(tmp_path, files_of_rights=True) as mosquitto, board_at(mosquitto, "emg-1"):
        said = fails(mosquitto.url("emg-1", user="emg-2"))
    assert "do not let user 'emg-2' command board 'emg-1'" in said
    assert "write myofed/emg-1/command" in said


def test_the_broker_keeps_boards_out_of_each_other_s_topics(mosquitto):
    """The rights in the tests' broker hold: what emg-2 says in emg-1's name reaches nobody."""
    with board_at(mosquitto, "emg-1") as board, board_at(mosquitto, "emg-2") as other:

        async def scenario():
            async with open_link(mosquitto.url("emg-1")) as link:
                forged = Samples(999_999, 0, 2, 1, b"\1\0")
                other._client.publish(
                    topic("emg-1", Samples.kind), encode_payload(forged), 1
                ).wait_for_publish(5)
                sequences = [frame.sequence for frame in await take(link, 10)]
                assert 999_999 not in sequences

        run(scenario)
        assert board.board.streaming is False


def test_an_unknown_board_is_named_with_those_that_are_there(mosquitto):
    with board_at(mosquitto, "emg-2"), board_at(mosquitto, "emg-3"):
        said = fails(mosquitto.url("emg-7"))
    assert "no board 'emg-7' at mqtt://gateway@127.0.0.1" in said
    assert said.endswith("emg-2, emg-3") or "emg-1, emg-2, emg-3" in said


def test_a_board_that_is_off_is_told_from_an_unknown_one(mosquitto):
    with board_at(mosquitto, "emg-2"):
        pass
    assert "board 'emg-2' is offline: switch it on" in fails(mosquitto.url("emg-2"))


def test_a_board_that_is_on_but_does_not_answer_is_not_believed_by_its_retained_hello(mosquitto):
    with board_at(mosquitto, "emg-3", FakeBoard("emg-3", mute={"hello"})):
        assert "is known there but did not answer in 0.5 s" in fails(mosquitto.url("emg-3"))


def test_a_board_that_comes_a_little_later_is_waited_for(mosquitto):
    late = board_at(mosquitto, "emg-3")

    async def scenario():
        opening = open_link(mosquitto.url("emg-3"), hello_timeout_s=10)
        task = asyncio.create_task(opening.__aenter__())
        await asyncio.to_thread(late.plug)
        link = await task
        await take(link, 1)
        await opening.__aexit__(None, None, None)

    try:
        run(scenario)
    finally:
        late.cut()


def test_a_board_of_newer_frames_only_is_named(mosquitto):
    with board_at(mosquitto, "emg-1", FakeBoard("emg-1", versions=(7, 9))):
        assert "speaks frame version 7 to 9, this side 1" in fails(mosquitto.url("emg-1"), VersionMismatch)


def test_messages_that_are_no_frame_are_counted(mosquitto):
    with board_at(mosquitto) as board:

        async def scenario():
            async with open_link(mosquitto.url("emg-1")) as link:
                board._client.publish(topic("emg-1", Samples.kind), b"nonsense")
                while link.num_rejected == 0:
                    await take(link, 1)
                assert link.num_rejected == 1

        run(scenario)


def test_a_link_that_is_not_read_drops_the_oldest_and_counts_it(mosquitto):
    """Whatever is missing was counted, and the newest is there."""
    with board_at(mosquitto, board=FakeBoard(channels=16, rate_hz=16_000.0)) as board:

        async def scenario():
            async with open_link(mosquitto.url("emg-1")) as link:
                first = (await take(link))[0].sequence
                board._end()
                for _ in range(300):  # of 10 kB
                    board.send(board.board.samples())
                last = board.board.sequences[Samples.kind]
                board.board.streaming = False  # the link starts it again when it hears so
                board._begin()
                await until(lambda: link.num_overrun >= 90)
                sequences = []
                while not sequences or sequences[-1] < last:
                    sequences.append((await take(link))[0].sequence)
                assert sequences == sorted(set(sequences))
                missing = last - first - sum(sequence <= last for sequence in sequences)
                assert 90 <= missing <= link.num_overrun

        run(scenario)


def test_a_refused_connection_says_what_to_do():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    assert f"127.0.0.1:{port}: connection refused; nothing listens there" in fails(
        f"mqtt://127.0.0.1:{port}/emg-1"
    )


def test_an_unknown_host_says_what_to_do():
    assert "unknown host 'no-such-host.invalid'" in fails("mqtt://no-such-host.invalid/emg-1")
    assert "unknown host" in fails(f"mqtt://{'x' * 70}.invalid/emg-1")


def test_a_url_without_a_board_says_how_to_find_one():
    assert "names no board" in fails("mqtt://127.0.0.1", ConfigError)


def test_what_is_no_broker_is_told_from_one():
    """A server that hangs up at the first bytes, as a web server or a TLS port does."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        for _ in range(2):
            peer, _ = server.accept()
            peer.recv(100)
            peer.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    port = server.getsockname()[1]
    assert "this is no MQTT broker, or one that wants TLS (mqtts://)" in fails(f"mqtt://127.0.0.1:{port}/b")
    assert "no TLS there: use mqtt://" in fails(f"mqtts://127.0.0.1:{port}/b")
    thread.join(5)
    server.close()


def test_a_file_that_is_no_certificate_is_named(tmp_path):
    assert "is no file of certificates (No such file" in fails("mqtts://h/b?ca=/nowhere.pem", ConfigError)
    (tmp_path / "a.pem").write_text("nothing")
    assert "is no file of certificates (not in PEM" in fails(
        f"mqtts://h/b?ca={tmp_path / 'a.pem'}", ConfigError
    )


@pytest.fixture(scope="module")
def tls(tmp_path_factory):
    with broker(tmp_path_factory.mktemp("tls"), tls=True) as running:
        yield running


def test_frames_come_over_tls_and_a_board_is_commanded(tls, tmp_path):
    with board_at(tls) as board:

        async def scenario():
            async with open_link(tls.url("emg-1")) as link:
                frames = await take(link, 20)
            assert [b.sequence - a.sequence for a, b in pairwise(frames)] == [1] * 19

        run(scenario)
    assert board.board.asked == ["hello", "start", "stop"]


def test_the_authority_may_stand_in_the_environment(tls, monkeypatch):
    bare, _, trust = tls.url("emg-7").partition("?ca=")
    monkeypatch.setenv("MYOFED_MQTT_CA", trust)
    assert "no board 'emg-7' at mqtts://gateway@127.0.0.1" in fails(bare)
    assert "nowhere.pem' is no file" in fails(
        f"{bare}?ca=/nowhere.pem", ConfigError
    )  # what is written counts


def test_another_authority_is_not_trusted(tls, tmp_path):
    renew_certificate(tmp_path)
    bare = tls.url("emg-1").partition("?")[0]
    for url in (bare, f"{bare}?ca={tmp_path / 'ca.crt'}"):
        said = fails(url)
        assert "the broker's certificate is not trusted (" in said
        assert said.endswith("name the file of its authority with ?ca=FILE, or in $MYOFED_MQTT_CA")


@pytest.mark.parametrize(
    ("days", "hosts", "why", "what_to_do"),
    [
        (-1000, None, "has expired", "start the broker again, which renews it"),
        (1000, None, "not yet valid", "set the clocks of both machines right"),
        (0, ["localhost"], "not valid for '127.0.0.1'", "name the host as the certificate does"),
    ],
)
def test_a_certificate_of_another_time_or_name_is_not_trusted(tmp_path, days, hosts, why, what_to_do):
    with broker(tmp_path, tls=True) as mosquitto:
        (mosquitto.folder.folder / "server.pem").unlink()
        renew_certificate(mosquitto.folder.folder, hosts, now=datetime.now(UTC) + timedelta(days=days))
        mosquitto.restart()
        said = fails(mosquitto.url("emg-1"))
        with pytest.raises(LinkError) as caught:
            MqttTransport(LinkUrl.parse(mosquitto.url("emg-1", user="emg-1")))
    for words in (said, str(caught.value)):
        assert why in words
        assert what_to_do in words
        assert "\n" not in words


def test_plain_text_at_a_tls_port_and_tls_at_a_plain_one_are_told(tls, mosquitto):
    assert "or one that wants TLS (mqtts://)" in fails(f"mqtt://127.0.0.1:{tls.port}/emg-1")
    said = fails(f"mqtts://127.0.0.1:{mosquitto.port}/emg-1?ca={tls.folder.ca}")
    assert "no TLS there: use mqtt://" in said


def test_a_path_with_odd_characters_names_an_authority(tls, tmp_path):
    odd = tmp_path / "a b&c?d=é%.crt"
    odd.write_bytes(tls.folder.ca.read_bytes())
    bare = tls.url("emg-7").partition("?")[0]
    assert "no board 'emg-7'" in fails(f"{bare}?ca={quote(str(odd))}")
