"""The link to a board, whatever the way: frames in, commands out.

async with open_link("serial:///dev/ttyUSB0") as link:
    async for frame in link:
        ...
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, asynccontextmanager
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Any, Protocol

from device.links.url import EXAMPLES, LinkUrl
from protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from protocols.frame import Acknowledge, Frame, Hello

GROUP = "myofed.links"
# Ways to a board itself, and ways to what was recorded or made up. The former reconnect; the latter, like
# those that other packages bring under the entry points of GROUP, are `open_x(url, *, data_dir)`.
BOARDS = {
    "serial": "device.links.serial_link:open_serial",
    "socket": "device.links.serial_link:open_serial",
    "mqtt": "device.links.mqtt_link:open_mqtt",
    "mqtts": "device.links.mqtt_link:open_mqtt",
}
PLAYED = {"replay": "device.links.played_link:open_replay"}


class Link(Protocol):
    """What every scheme gives."""

    @property
    def url(self) -> str:
        """As shown to people: no password."""

    @property
    def hello(self) -> Hello:
        """The board's latest."""

    @property
    def arrived_s(self) -> float:
        """Unix time at which the last bytes of the frame given last arrived, taken where they did."""

    @property
    def connected(self) -> bool:
        """Whether the board is there now."""

    @property
    def num_rejected(self) -> int:
        """Payloads or stretches of bytes that were no frame."""

    @property
    def num_overrun(self) -> int:
        """Arrivals dropped here, the oldest first, since nobody took them in time."""

    @property
    def num_reconnects(self) -> int:
        """How often the board was lost and found again."""

    def __aiter__(self) -> AsyncIterator[Frame]:
        """Every frame but acknowledgements, oldest first; ends only where a replay ends.

        Raises:
            LinkError: the board is gone for good: `give_up_s` is over, or another one is on the line.
            VersionMismatch: it came back with a firmware of another frame version.
        """

    async def command(self, name: str, argument: str = "", *, timeout_s: float = 3.0) -> Acknowledge:
        """Ask the board to do something and return its answer, be it yes or no.

        Raises:
            LinkError: no answer in time.
        """

    def announce(self, level: str, payload: str) -> None:
        """Tell those who look on, on a topic of the board's, where the way to it has any (MQTT); else nobody."""


@asynccontextmanager
async def open_link(
    url: str,
    *,
    hello_timeout_s: float = 5.0,
    give_up_s: float | None = None,
    data_dir: Path | None = None,
) -> AsyncIterator[Link]:
    """A board that streams, until the context is left; then it is asked to stop.

    Once opened, a lost connection is found again with back-off, and the board asked to go on.

    Args:
        url: serial://PORT, socket://HOST:PORT, mqtt(s)://HOST/BOARD, replay://FILE_OR_SET, synthetic://.
        hello_timeout_s: how long the board may take to say hello.
        give_up_s: without a connection for this long, LinkError; None: try for ever.
        data_dir: where a dataset named in a replay is looked for.

    Raises:
        ConfigError: an address that cannot be, or that nothing here can open.
        LinkError: nobody there; the message says what to do.
        VersionMismatch: a board with frames of versions that are not spoken here.
    """
    address = LinkUrl.parse(url)
    opener = opener_of(address)
    if address.scheme in BOARDS:
        opened = opener(address, hello_timeout_s=hello_timeout_s, give_up_s=give_up_s)
    else:
        opened = opener(address, data_dir=data_dir)
    async with opened as link:
        yield link


def opener_of(url: LinkUrl) -> Callable[..., AbstractAsyncContextManager[Link]]:
    """What opens addresses of this scheme; ConfigError where nothing does."""
    found = {point.name: point for point in entry_points(group=GROUP)}
    found |= {name: EntryPoint(name, place, GROUP) for name, place in (BOARDS | PLAYED).items()}
    if url.scheme not in found:
        raise ConfigError(
            f"{url.shown}: found the scheme {url.scheme!r}, expected one of {', '.join(sorted(found))}: {EXAMPLES}"
        )
    opener: Any = found[url.scheme].load()
    return opener  # type: ignore[no-any-return]
