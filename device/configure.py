"""`myofed board configure`: read and change a board's settings, over any link to it."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from device.links import open_link
from protocols.errors import ConfigError, DataError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from device.links import Link

# What one command can carry beside the key: a text of 255 bytes.
PIECE_BYTES = 200


@dataclass(frozen=True, slots=True)
class ConfigureJob:
    """What to set on which board.

    Args:
        url: the link to the board.
        settings: KEY=VALUE each, KEY=@FILE for what stands in a file; none: show all settings.
        restart: restart the board afterwards, so that they apply.

    Raises:
        ConfigError: no KEY=VALUE, or a file that cannot be read as text.
    """

    url: str
    settings: tuple[str, ...] = ()
    restart: bool = True

    def __post_init__(self) -> None:
        """Refuse before the board is touched."""
        for setting in self.settings:
            _key_and_value(setting)


def run_configure(job: ConfigureJob) -> dict[str, Any]:
    """Set, save, restart; or show.

    Returns:
        Board id and what it answered, by key.

    Raises:
        DataError: the board refuses; nothing is saved then.
        LinkError: the board does not answer.
    """
    return asyncio.run(_configure(job))


def configure_text(result: Mapping[str, Any]) -> str:
    """What was set or is set, for people."""
    return "\n".join([f"board {result['board']}:", *(f"  {line}" for line in result["answers"].values())])


async def _configure(job: ConfigureJob) -> dict[str, Any]:
    async with open_link(job.url) as link:
        if not job.settings:
            keys = (await _ask(link, "get")).split()
            return {
                "board": link.hello.board_id,
                "answers": {key: await _ask(link, "get", key) for key in keys},
            }
        answers = {}
        for setting in job.settings:
            key, value = _key_and_value(setting)
            for argument in _arguments(key, value):
                answers[key] = await _ask(link, "set", argument)
        answers["save"] = await _ask(link, "save")
        if job.restart:
            answers["restart"] = await _ask(link, "restart")
        return {"board": link.hello.board_id, "answers": answers}


async def _ask(link: Link, name: str, argument: str = "") -> str:
    answer = await link.command(name, argument)
    if not answer.accepted:
        raise DataError(f"board {link.hello.board_id}: {answer.message or f'{name} is refused'}")
    return answer.message


def _key_and_value(setting: str) -> tuple[str, str]:
    key, equals, value = setting.partition("=")
    if not key or not equals:
        # A password may stand in it: it is not repeated.
        raise ConfigError("settings: expected KEY=VALUE, such as wifi_ssid=home; without any, all are shown")
    if not value.startswith("@"):
        return key, value
    try:
        return key, Path(value[1:]).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"{key}: {value[1:]} cannot be read as text ({error})") from None


def _arguments(key: str, value: str) -> Iterator[str]:
    """`set` arguments for a value of any length: the first replaces, the others append."""
    pieces = list(_pieces(value)) or [""]
    yield f"{key}={pieces[0]}"
    for piece in pieces[1:]:
        yield f"{key}+={piece}"


def _pieces(value: str) -> Iterator[str]:
    """Cut to PIECE_BYTES of UTF-8 at whole characters."""
    rest = value.encode()
    while rest:
        piece = rest[:PIECE_BYTES].decode("utf-8", "ignore")
        yield piece
        rest = rest[len(piece.encode()) :]
