"""What all links share: bounded memory, greeting, commands, coming back; over a wire that is a list."""

import asyncio
import itertools
import threading

import numpy as np
import pytest
from fake_board import FakeBoard, run, until
from hypothesis import given, settings
from hypothesis import strategies as st

from device.links import open_link
from device.links.backlog import ITEM_BYTES, MAX_BACKLOG_BYTES, Backlog, Inbox
from device.links.board_link import BoardLink
from device.links.wire import LONGEST_DELAY_S, delays_s
from protocols.errors import ConfigError, LinkError, VersionMismatch
from protocols.frame import Acknowledge, Command, FrameDecoder, Samples, Status, encode_frame


class ListWire:
    """A wire to a fake board, in this very thread; each opening may meet another board or an error."""

    def __init__(self, *boards, chunk=None):
        self.boards = list(boards)
        self.chunk = chunk
        self.board = self.inbox = None
        self.num_opened = 0
        self.decoder = FrameDecoder()

    @property
    def num_rejected(self):
        return self.decoder.num_rejected

    async def open(self, inbox):
        self.num_opened += 1
        board = self.boards.pop(0) if len(self.boards) > 1 else self.boards[0]
        if isinstance(board, Exception):
            raise board
        self.board, self.inbox = board, inbox

    def send(self, command):
        if self.board is None:
            raise LinkError("closed")
        self.say(*self.board.receive(command))

    def say(self, *frames):
        stream = b"".join(map(encode_frame, frames))
        step = self.chunk or len(stream) or 1
        for at in range(0, len(stream), step):
            self.inbox.put(stream[at : at + step], 1000.0 + at)

    def decode(self, chunk):
        return self.decoder.feed(chunk)

    def why_silent(self, waited_s):
        return f"silent for {waited_s:g} s"

    async def close(self):
        self.board = None


def link_to(*boards, **options):
    wire = ListWire(*boards, chunk=options.pop("chunk", None))
    # Patient, so that a machine that stands still for a while is no silent board; tests of silence say less.
    options = {"rng": np.random.default_rng(0), "hello_timeout_s": 10.0, "silent_s": 60.0} | options
    return BoardLink(wire, "list://", **options), wire


async def next_of(link, kind):
    return await anext(frame async for frame in link if isinstance(frame, kind))


def test_a_board_is_greeted_started_read_and_stopped():
    """The whole life of a link, in its order."""
    board = FakeBoard()

    async def scenario():
        link, wire = link_to(board)
        async with link:
            assert link.connected
            assert link.hello.board_id == "emg-1"
            wire.say(board.samples())
            frame = await next_of(link, Samples)
            assert frame.samples[-1, 0] == 19
            assert link.arrived_s == 1000.0
        assert not link.connected
        assert [frame async for frame in link] == []

    run(scenario)
    assert board.asked == ["hello", "start", "stop"]


def test_a_hello_asks_only():
    board = FakeBoard()

    async def scenario():
        link, _ = link_to(board)
        assert (await link.greet()).board_id == "emg-1"

    run(scenario)
    assert board.asked == ["hello"]


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 200), st.integers(1, 20))
def test_frames_do_not_depend_on_the_chunks_they_come_in(chunk, count):
    board = FakeBoard()

    async def scenario():
        link, wire = link_to(board, chunk=chunk)
        async with link:
            sent = [board.samples() for _ in range(count)]
            wire.say(*sent)
            assert [await next_of(link, Samples) for _ in sent] == sent

    run(scenario)


def test_a_silent_board_is_a_link_error_with_the_wires_reason():
    async def scenario():
        link, wire = link_to(FakeBoard(mute={"hello"}), hello_timeout_s=0.2)
        with pytest.raises(LinkError, match=r"list://: silent for 0\.2 s"):
            await link.__aenter__()
        assert wire.board is None

    run(scenario)


def test_a_board_of_another_frame_version_is_named():
    async def scenario():
        link, wire = link_to(FakeBoard(versions=(2, 3)))
        with pytest.raises(VersionMismatch, match=r"'emg-1' .*'fake 1\.0'.* 2 to 3, this side 1"):
            await link.__aenter__()
        assert wire.board is None

    run(scenario)


def test_a_board_that_will_not_start_says_why():
    async def scenario():
        link, _ = link_to(FakeBoard(refuse={"start"}))
        with pytest.raises(LinkError, match="does not start: not now"):
            await link.__aenter__()

    run(scenario)


def test_answers_find_their_commands():
    """Two commands under way at once, answered in the wrong order."""
    board = FakeBoard(mute={"a", "b"})

    async def scenario():
        link, wire = link_to(board)
        sent = []
        real = wire.send
        wire.send = lambda command: (sent.append(command), real(command))
        async with link:
            asked = [asyncio.create_task(link.command(name, timeout_s=5)) for name in "ab"]
            await until(lambda: {command.name for command in sent} >= {"a", "b"})
            numbers = {command.name: command.sequence for command in sent}
            wire.say(Acknowledge(0, 0, numbers["b"], True, "b"), Acknowledge(1, 0, numbers["a"], False, "a"))
            answers = await asyncio.gather(*asked)
            assert [(answer.message, answer.accepted) for answer in answers] == [("a", False), ("b", True)]

    run(scenario)


def test_a_command_without_answer_is_asked_twice_with_one_number_and_then_given_up():
    board = FakeBoard(mute={"dance"})
    numbers = []

    async def scenario():
        link, wire = link_to(board)
        real = wire.send
        wire.send = lambda command: (numbers.append((command.name, command.sequence)), real(command))
        async with link:
            with pytest.raises(LinkError, match=r"no answer to 'dance' in 0\.1 s$"):
                await link.command("dance", timeout_s=0.1)

    run(scenario)
    asked = [number for name, number in numbers if name == "dance"]
    assert len(asked) == 2
    assert len(set(asked)) == 1


def test_a_link_comes_back_to_its_board_and_starts_it_again():
    board = FakeBoard()

    async def scenario():
        link, wire = link_to(board, LinkError("not yet"), board)
        async with link:
            first = board.samples()
            wire.say(first)
            assert await next_of(link, Samples) == first
            board.streaming = False
            wire.inbox.lose(LinkError("cut"))
            await until(lambda: link.num_reconnects == 1)
            assert link.connected
            assert board.streaming
            second = board.samples()
            wire.say(second)
            assert await next_of(link, Samples) == second
        assert wire.num_opened == 3

    run(scenario)


def test_another_board_after_a_loss_ends_the_link_and_none_of_its_frames_come_through():
    board, other = FakeBoard(), FakeBoard("emg-2")
    other.streaming = True

    async def scenario():
        link, wire = link_to(board, other)
        async with link:
            wire.send = lambda command: wire.say(other.samples(), *wire.board.receive(command))
            wire.inbox.lose(LinkError("cut"))
            with pytest.raises(LinkError, match=r"found board 'emg-2', the link was opened to 'emg-1'"):
                await next_of(link, Samples)
            with pytest.raises(LinkError, match="emg-2"):
                await link.command("hello")
            assert not link.connected

    run(scenario)


def test_a_link_gives_up_after_the_time_it_was_given():
    async def scenario():
        link, wire = link_to(FakeBoard(), LinkError("nobody there"), give_up_s=0.3)
        async with link:
            wire.inbox.lose(LinkError("cut"))
            with pytest.raises(LinkError, match=r"given up after 0\.3 s without the board: nobody there"):
                await next_of(link, Samples)

    run(scenario)


def test_a_board_that_falls_silent_is_greeted_anew():
    """A board that hangs says nothing, and neither does its wire."""
    board = FakeBoard()

    async def scenario():
        link, wire = link_to(board, silent_s=0.05)
        async with link:
            await until(lambda: link.num_reconnects >= 1)
        assert wire.num_opened >= 2

    run(scenario)


def test_a_board_that_began_anew_is_started_again():
    """After a reset its hello comes with a clock that went back, and it waits for `start`."""
    board = FakeBoard()

    async def scenario():
        link, wire = link_to(board)
        async with link:
            wire.say(board.samples())
            board.began_s -= 100  # it has run for long
            wire.say(board.samples())
            await until(lambda: link._board_us > 50e6)
            board.reset()
            wire.say(board.hello())
            await until(lambda: board.streaming)
            assert link.num_reconnects == 0

    run(scenario)


def test_a_board_whose_status_says_that_it_stands_still_is_started_again_unless_it_was_stopped():
    board = FakeBoard()

    async def scenario():
        link, wire = link_to(board)
        async with link:
            board.streaming = False
            wire.say(board.state())
            await until(lambda: board.streaming)
            assert (await link.command("stop")).accepted
            asked = len(board.asked)
            wire.say(board.state())
            assert not (await next_of(link, Status)).streaming
            assert not (await next_of(link, Status)).streaming
            assert len(board.asked) == asked

    run(scenario)


def test_frames_that_nobody_takes_are_bounded_and_counted():
    board = FakeBoard()

    async def scenario():
        link, wire = link_to(board)
        async with link:
            held = MAX_BACKLOG_BYTES // (320 + ITEM_BYTES)
            for _ in range(held + 100):
                wire.say(board.samples())
                await asyncio.sleep(0)
            await until(lambda: len(wire.inbox._chunks) == 0)
            assert 100 <= link.num_overrun <= 105
            frame = await next_of(link, Samples)
            assert frame.sequence >= 95  # the oldest went first

    run(scenario)


def test_a_backlog_never_holds_more_than_its_bytes():
    backlog = Backlog(max_bytes=10 * (ITEM_BYTES + 50))
    for i in range(25):
        backlog.put(i, 50)
    assert (len(backlog), backlog.num_overrun) == (10, 15)
    assert [backlog.take() for _ in range(10)] == list(range(15, 25))


def test_an_inbox_wakes_its_reader_once_for_all_that_came():
    woken = []
    inbox = Inbox(lambda: woken.append(threading.get_ident()), max_bytes=1_000_000)
    writers = [
        threading.Thread(target=lambda: [inbox.put(b"x" * 10, 0.0) for _ in range(500)]) for _ in range(4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert len(woken) == 1
    assert len(inbox.take_all()) == 2000
    inbox.put(b"y", 1.0)
    assert len(woken) == 2


def test_delays_double_up_to_the_longest_and_vary():
    delays = list(itertools.islice(delays_s(np.random.default_rng(0)), 12))
    assert 0.05 <= delays[0] <= 0.1
    assert all(LONGEST_DELAY_S / 2 <= delay <= LONGEST_DELAY_S for delay in delays[6:])
    assert delays[6:] != list(itertools.islice(delays_s(np.random.default_rng(1)), 12))[6:]


def test_a_scheme_that_nothing_opens_is_refused_with_those_that_are_known():
    async def scenario():
        with pytest.raises(
            ConfigError, match=r"found the scheme 'ftp', expected one of mqtt, mqtts, replay, serial"
        ):
            async with open_link("ftp://x"):
                pass

    run(scenario)


def test_commands_carry_the_link_s_clock_and_a_number_of_their_own():
    link, _ = link_to(FakeBoard())
    first, second = link._command("a"), link._command("b", "x")
    assert isinstance(first, Command)
    assert second.sequence == (first.sequence + 1) % (1 << 32)
    assert second.time_us >= first.time_us


def test_a_link_that_is_left_just_as_its_wire_breaks_is_left():
    """The loss and the cancellation come in the same turn of the loop: neither may hide the other."""
    wire = ListWire(FakeBoard(), LinkError("gone"))

    async def scenario():
        async with BoardLink(wire, "list://", rng=np.random.default_rng(0)) as link:
            await asyncio.sleep(0)  # its keeper waits
            wire.inbox.lose(LinkError("pulled"))
            link._drain()

    run(scenario, 5)
