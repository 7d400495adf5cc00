"""A small board in pure Python for tests of links: over a pty that can be cut and plugged in again, or over MQTT."""

import asyncio
import os
import pty
import select
import socket
import threading
import time
import tty
from contextlib import suppress

import numpy as np
import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from device.links.mqtt_session import tls_of
from protocols.errors import FrameError
from protocols.frame import (
    Acknowledge,
    Command,
    FrameDecoder,
    Hello,
    Kind,
    Samples,
    Status,
    decode_payload,
    encode_frame,
    encode_payload,
)
from protocols.topics import AVAILABILITY, DELIVERY, OFFLINE, ONLINE, topic

FRAME_S = 0.02


def run(scenario, seconds=20):
    """Run a test's coroutine function, but not for longer than `seconds`."""

    async def bounded():
        async with asyncio.timeout(seconds):
            return await scenario()

    return asyncio.run(bounded())


async def until(condition):
    """Wait for what other threads bring about; `run` bounds it."""
    while not condition():  # noqa: ASYNC110  (what is waited for has no event)
        await asyncio.sleep(0.001)


async def take(link, count=1):
    """The next `count` frames of samples."""
    frames = []
    while len(frames) < count:
        frame = await anext(link)
        frames += [frame] if isinstance(frame, Samples) else []
    return frames


class FakeBoard:
    """What a board says and answers; no I/O. Counts from 0 up, so that a test sees what is missing.

    Args:
        mute: commands that it never answers.
        refuse: commands that it answers with no.
        versions: oldest and newest frame version.
    """

    def __init__(
        self,
        board_id="emg-1",
        *,
        channels=8,
        rate_hz=1000.0,
        versions=(1, 1),
        mute=(),
        refuse=(),
        status=True,
    ):
        self.board_id, self.channels, self.rate_hz = board_id, channels, rate_hz
        self.versions, self.mute, self.refuse, self.status = versions, set(mute), set(refuse), status
        self.asked = []
        self.reset()

    def reset(self):
        """Begin anew, as after a power cut: clock, sequences and streaming."""
        self.began_s = time.monotonic()
        self.streaming = False
        self.sequences = dict.fromkeys(Kind, -1)
        self.num_samples = 0

    def next(self, kind):
        """The sequence number of the next frame of a kind, and its time."""
        self.sequences[kind] += 1
        return self.sequences[kind], int((time.monotonic() - self.began_s) * 1e6)

    def hello(self):
        return Hello(
            *self.next(Kind.HELLO),
            *self.versions,
            2,
            self.channels,
            self.rate_hz,
            0.1,
            self.board_id,
            "fake 1.0",
        )

    def state(self):
        return Status(*self.next(Kind.STATUS), self.streaming, self.num_samples, 0, 0, 0)

    def samples(self):
        n = round(self.rate_hz * FRAME_S)
        first = self.num_samples
        self.num_samples += n
        counts = np.arange(first, first + n)[:, None] % 30_000 + np.zeros((1, self.channels), int)
        return Samples.of(*self.next(Kind.SAMPLES), counts)

    def receive(self, frame):
        """The answers to one frame."""
        if not isinstance(frame, Command):
            return []
        self.asked.append(frame.name)
        if frame.name in self.mute:
            return []
        accepted = frame.name not in self.refuse
        if accepted and frame.name in ("start", "stop"):
            self.streaming = frame.name == "start"
        answer = Acknowledge(
            *self.next(Kind.ACKNOWLEDGE), frame.sequence, accepted, "" if accepted else "not now"
        )
        return [self.hello(), answer] if frame.name == "hello" else [answer]

    def due(self, at_s, sent_s):
        """What is to be sent at `at_s`, when the latest frame of samples went at `sent_s`."""
        frames = [self.samples()] if self.streaming and at_s - sent_s >= FRAME_S else []
        seconds = int(at_s - self.began_s)
        if self.status and seconds > self.sequences[Kind.STATUS]:
            frames.append(self.state())
        return frames


class Running:
    """A thread that runs a board until the context ends."""

    def __init__(self, board):
        self.board = board
        self._ending = threading.Event()
        self._thread = None

    def __enter__(self):
        self.plug()
        return self

    def __exit__(self, *_):
        self.cut()

    def _run(self):
        sent_s = 0.0
        while not self._ending.is_set():
            self._take(FRAME_S / 4)
            now_s = time.monotonic()
            for frame in self.board.due(now_s, sent_s):
                sent_s = now_s if isinstance(frame, Samples) else sent_s
                self.send(frame)

    def _begin(self):
        self._ending.clear()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _end(self):
        self._ending.set()
        if self._thread is not None:
            self._thread.join()


class PtyBoard(Running):
    """A board at `path`, a symlink to its pty; `cut()` pulls the plug, `plug()` puts it in again."""

    def __init__(self, path, board=None, *, garble=None, chunk=None):
        super().__init__(board or FakeBoard())
        self.path = path
        self._garble = garble or (lambda data: data)  # what the line does to the bytes
        self._chunk = chunk  # bytes a write
        self._master = self._slave = -1
        self._decoder = FrameDecoder()

    @property
    def url(self):
        return f"serial://{self.path}"

    def plug(self):
        self._master, self._slave = pty.openpty()
        tty.setraw(self._slave)
        os.set_blocking(self._master, False)
        self.path.unlink(missing_ok=True)
        self.path.symlink_to(os.ttyname(self._slave))
        self._decoder = FrameDecoder()
        self._begin()

    def cut(self):
        self._end()
        for name in ("_master", "_slave"):
            if getattr(self, name) >= 0:
                os.close(getattr(self, name))
                setattr(self, name, -1)
        self.path.unlink(missing_ok=True)

    def send(self, frame):
        self.write(encode_frame(frame))

    def write(self, data):
        data = self._garble(data)
        step = self._chunk or len(data) or 1
        for at in range(0, len(data), step):
            with suppress(BlockingIOError):  # nobody reads: a real line loses it too
                os.write(self._master, data[at : at + step])

    def _take(self, timeout_s):
        if select.select([self._master], [], [], timeout_s)[0]:
            for frame in self._decoder.feed(os.read(self._master, 4096)):
                for answer in self.board.receive(frame):
                    self.send(answer)


class MqttBoard(Running):
    """A board at a broker, with a last will; `cut()` dies without goodbye."""

    def __init__(self, url, board=None):
        """`url`: a LinkUrl with the board's user and password."""
        super().__init__(board or FakeBoard(url.path))
        self._url = url
        self._client = None
        self._online = threading.Event()

    def plug(self):
        client = mqtt.Client(
            CallbackAPIVersion.VERSION2, client_id=self._url.user, protocol=MQTTProtocolVersion.MQTTv5
        )
        client.username_pw_set(self._url.user, self._url.password)
        if (tls := tls_of(self._url)) is not None:
            client.tls_set_context(tls)
        client.will_set(topic(self.board.board_id, AVAILABILITY), OFFLINE, 1, retain=True)
        client.reconnect_delay_set(0.1, 0.5)
        client.on_connect, client.on_message = self._connected, self._message
        self._client = client
        self._online.clear()
        client.connect(self._url.host, self._url.port)
        client.loop_start()
        if not self._online.wait(5):
            raise TimeoutError("the board's broker does not answer")
        self._begin()

    def publish(self, name, payload):
        """Anything, on any topic."""
        self._client.publish(name, payload, qos=1)

    def cut(self):
        self._end()
        client, self._client = self._client, None
        if client is not None:
            client.on_connect = client.on_message = None
            client._thread_terminate = True  # no DISCONNECT: the broker sends the last will
            if client.socket() is not None:
                client.socket().shutdown(socket.SHUT_RDWR)
            client.loop_stop()

    def send(self, frame):
        how = DELIVERY[frame.kind]
        self._client.publish(
            topic(self.board.board_id, frame.kind), encode_payload(frame), how.qos, retain=how.retained
        )

    def _connected(self, client, *_):
        client.subscribe(topic(self.board.board_id, Kind.COMMAND), 1)
        client.publish(topic(self.board.board_id, AVAILABILITY), ONLINE, 1, retain=True)
        self.send(self.board.hello())
        self._online.set()

    def _message(self, _client, _userdata, message):
        with suppress(FrameError):
            for answer in self.board.receive(decode_payload(message.payload)):
                self.send(answer)

    def _take(self, timeout_s):
        time.sleep(timeout_s)  # its pace; what is received comes in paho's thread
