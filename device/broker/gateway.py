"""A broker beside something else that runs on the gateway: what it is asked for, and how it is."""

from __future__ import annotations

import asyncio
import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from device.broker.folder import BrokerFolder, read_broker, write_broker
from device.broker.keeper import RUNNING, state_of, supervised
from device.links.mqtt_broker import Broker
from device.links.url import LinkUrl
from protocols.errors import ConfigError, LinkError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

log = logging.getLogger(__name__)

EVERYWHERE = (
    "0.0.0.0:8883"  # boards come from outside; who comes in has a password, and nothing is in plain text
)
LOOK_S = 0.5  # what is retained comes at once
ONLINE, OFFLINE, NEVER, UNKNOWN = "online", "offline", "never seen", "unknown"


@contextmanager
def broker_beside(folder: Path, boards: str, address: str) -> Iterator[None]:
    """A broker with TLS for as long as the block lasts.

    Args:
        folder: its own, made where it is missing.
        boards: ids with commas.
        address: to listen on, HOST:PORT; empty: as last time, at first everywhere.

    Raises:
        ConfigError: no board ids, no address, or Mosquitto is not installed.
        LinkError: it does not start.
    """
    host, port = split_address(address) if address else _last(folder)
    broker = write_broker(folder, split_boards(boards), port=port, host=host)
    with supervised(broker):
        place, boards = broker.place(broker.board_host), ", ".join(broker.boards)
        log.info("broker at %s for %s; passwords and ca.crt are in %s", place, boards, broker.folder)
        yield


def broker_status(folder: Path) -> dict[str, Any] | None:
    """How the broker of a folder is, and which boards are there; None where there never was one.

    Raises:
        ConfigError: its files are damaged.
    """
    broker = read_broker(folder)
    if broker is None:
        return None
    now = state_of(broker.folder)
    return {
        "address": broker.place(broker.board_host),
        "state": now.state,
        "running": now.state == RUNNING,
        "restarts": now.restarts,
        "boards": _boards(broker) if now.state == RUNNING else dict.fromkeys(broker.boards, UNKNOWN),
        "ca": str(broker.ca),
        "log": str(broker.folder / "mosquitto.log"),
    }


def status_text(status: Mapping[str, Any]) -> str:
    """In plain words, one line."""
    times = {0: "", 1: ", started again once"}
    again = times.get(status["restarts"], f", started again {status['restarts']} times")
    boards = ", ".join(f"{name} ({state})" for name, state in status["boards"].items())
    return f"broker at {status['address']}: {status['state']}{again}; boards: {boards}"


def split_boards(text: str) -> list[str]:
    """Ids with commas between them."""
    return list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))


def split_address(text: str) -> tuple[str, int]:
    """HOST:PORT; ConfigError where it is none."""
    host, _, port = text.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 1 << 16:
        raise ConfigError(
            f"--broker-address: found {text!r}, expected HOST:PORT to listen on, such as 0.0.0.0:8883"
        )
    return host.strip("[]"), int(port)


def _last(folder: Path) -> tuple[str, int]:
    last = read_broker(folder)
    return (last.host, last.port) if last is not None and last.tls else split_address(EVERYWHERE)


def _boards(broker: BrokerFolder) -> dict[str, str]:
    try:
        return asyncio.run(_ask(broker))
    except LinkError as error:
        log.info("%s", error)
        return dict.fromkeys(broker.boards, UNKNOWN)


async def _ask(broker: BrokerFolder) -> dict[str, str]:
    async with Broker(LinkUrl.parse(broker.url()), rng=np.random.default_rng()) as there:
        await asyncio.sleep(LOOK_S)
        seen = {name: board.online for name, board in there.boards.items()}
    states = {True: ONLINE, False: OFFLINE, None: NEVER}
    return {name: states[seen.get(name)] for name in broker.boards}
