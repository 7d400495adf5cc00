"""What the tests of watching share: emulated boards that run in a thread, and a feed to wait on."""

import asyncio
import threading
from contextlib import contextmanager

import numpy as np

from device.emulator.emulate import EmulateJob, board_config, find_wearer
from device.emulator.emulated_board import EmulatedBoard, run_boards
from device.emulator.mqtt_transport import MqttTransport
from device.emulator.transports import PtyTransport
from device.links import LinkUrl


@contextmanager
def emulated(*, mqtt=None, link=None, frame_ms=20.0):
    """The firmware's core, worn by a synthetic person, at a broker or on a pty."""
    rng = np.random.default_rng(0)
    transport = MqttTransport(LinkUrl.parse(mqtt)) if mqtt else PtyTransport(link, announce=lambda _: None)
    wearer = find_wearer(EmulateJob("synthetic", serial=True), rng)
    config = board_config("emg-1", wearer, frame_ms=frame_ms)
    stop, board = threading.Event(), EmulatedBoard(config, wearer, transport, rng=rng)
    thread = threading.Thread(target=run_boards, args=([board], stop), daemon=True)
    thread.start()
    try:
        yield board
    finally:
        stop.set()
        thread.join()


async def status_when(feed, condition, board_id="emg-1"):
    """The first status of a board that fulfils a condition; whoever calls bounds it."""
    while True:
        for status in feed.statuses():
            if status.board_id == board_id and condition(status):
                return status
        await asyncio.sleep(0.01)
