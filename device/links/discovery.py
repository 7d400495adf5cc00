"""Which boards are there: serial ports are asked for a hello, a broker has theirs retained."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from device.links.board_link import BoardLink
from device.links.mqtt_broker import Broker
from device.links.serial_link import SerialWire
from device.links.serial_ports import serial_ports
from device.links.url import PASSWORD_VARIABLE, LinkUrl
from protocols.errors import ConfigError, FrameError, LinkError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from device.links.mqtt_broker import BoardSeen
    from protocols.frame import Hello

# Each waiting port holds a thread; a machine with more than these is asked in turns.
MAX_PORTS_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class ListJob:
    """Where to look.

    Args:
        broker: mqtt(s)://HOST; empty: at none.
        ports: names or addresses of serial ports; empty: all of this machine.
        timeout_s: how long a port may take to say hello, and how long the broker is listened to.
    """

    broker: str = ""
    ports: tuple[str, ...] = ()
    timeout_s: float = 2.0

    def __post_init__(self) -> None:
        """ConfigError: a time that is none."""
        if not 0.1 <= self.timeout_s <= 60:
            raise ConfigError(f"timeout: found {self.timeout_s:g}, expected 0.1 to 60 seconds")


def run_list(job: ListJob) -> dict[str, Any]:
    """The boards found, and the places passed over with the reason.

    Raises:
        ConfigError: an address that is none.
        LinkError: the broker named is not there, or refuses.
    """
    return asyncio.run(find_boards(job))


async def find_boards(job: ListJob) -> dict[str, Any]:
    """As `run_list`."""
    broker = _broker_url(job.broker) if job.broker else None
    names = job.ports or tuple(port.device for port in serial_ports())
    urls = [LinkUrl.parse(name if "://" in name else f"serial://{name}") for name in names]
    for url in urls:
        if url.scheme not in ("serial", "socket"):
            raise ConfigError(f"--port: found {url.shown}, expected a serial port or socket://HOST:PORT")
    turn = asyncio.Semaphore(MAX_PORTS_AT_ONCE)
    found, *answers = await asyncio.gather(
        _at_broker(broker, job.timeout_s), *(_at_port(url, turn, job.timeout_s) for url in urls)
    )
    entries = [*answers, *found]
    return {
        "boards": [entry for entry in entries if "board_id" in entry],
        "skipped": [entry for entry in entries if "reason" in entry],
    }


def list_text(result: Mapping[str, Any]) -> str:
    """A table, what was passed over, and what to type next."""
    boards = result["boards"]
    width = max((len(board["url"]) for board in boards), default=0)
    lines = [
        f"{board['url']:{width}}  {board['board_id']}  {board['channels']} channels × "
        f"{board['sample_rate_hz']:g} Hz  {board['firmware']}  {'online' if board['online'] else 'offline'}"
        for board in boards
    ]
    lines += [f"passed over {place['url']}: {place['reason']}" for place in result["skipped"]]
    lines.append(_next_step(boards))
    return "\n".join(lines)


def _next_step(boards: list[Mapping[str, Any]]) -> str:
    online = next((board["url"] for board in boards if board["online"]), None)
    if online is None:
        return (
            "no board is online: plug one in, name a broker (--broker mqtt://HOST), or start one: "
            "myofed board emulate --serial /tmp/emg --data synthetic"
        )
    where = f" (its password in ${PASSWORD_VARIABLE})" if "@" in online else ""
    return f"next: myofed board info {online}{where}"


def _broker_url(text: str) -> LinkUrl:
    url = LinkUrl.parse(text)
    if url.scheme not in ("mqtt", "mqtts"):
        raise ConfigError(f"--broker: found {url.shown}, expected mqtt://HOST or mqtts://HOST")
    return replace(url, path="")


async def _at_port(url: LinkUrl, turn: asyncio.Semaphore, timeout_s: float) -> dict[str, Any]:
    async with turn:
        try:
            link = BoardLink(
                SerialWire(url), url.shown, rng=np.random.default_rng(), hello_timeout_s=timeout_s
            )
            return _entry(url, await link.greet(), online=True)
        except (LinkError, FrameError) as error:
            return {"url": url.shown, "reason": str(error).removeprefix(f"{url.shown}: ")}


async def _at_broker(url: LinkUrl | None, timeout_s: float) -> list[dict[str, Any]]:
    if url is None:
        return []
    async with Broker(url, rng=np.random.default_rng()) as broker:
        await asyncio.sleep(timeout_s)
        if not broker.boards:
            return [{"url": url.shown, "reason": broker.nothing_there()}]
        return [_seen(replace(url, path=name), seen) for name, seen in sorted(broker.boards.items())]


def _seen(url: LinkUrl, seen: BoardSeen) -> dict[str, Any]:
    if seen.hello is None:
        return {"url": url.shown, "reason": seen.problem or "has published no hello"}
    return _entry(url, seen.hello, online=seen.online is True)


def _entry(url: LinkUrl, hello: Hello, *, online: bool) -> dict[str, Any]:
    return {
        "url": url.shown,
        "board_id": hello.board_id,
        "firmware": hello.firmware,
        "channels": hello.num_channels,
        "sample_rate_hz": hello.sample_rate_hz,
        "sample_format": hello.sample_format,
        "uv_per_count": hello.uv_per_count,
        "versions": [hello.oldest_version, hello.newest_version],
        "capabilities": list(hello.capabilities),
        "online": online,
    }
