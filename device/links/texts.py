"""What boards say in words, before anybody prints it: a terminal would obey an escape sequence in it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from protocols.errors import FrameError, LinkError
from protocols.frame import Acknowledge, Hello, Marker, Status
from protocols.topics import check_board_id

if TYPE_CHECKING:
    from protocols.frame import Frame


def printable(text: str) -> str:
    """The text with a `?` for each control or other unprintable character; never longer, so it still fits a frame."""
    return "".join(character if character.isprintable() else "?" for character in text)


def with_printable_texts(frame: Frame) -> Frame:
    """The frame with `printable` texts, but for the board's id: that one is refused, see `checked_hello`."""
    if isinstance(frame, Hello):
        return printable_hello(frame)
    if isinstance(frame, Status | Acknowledge):
        return replace(frame, message=printable(frame.message))
    if isinstance(frame, Marker):
        return replace(frame, label=printable(frame.label))
    return frame


def printable_hello(hello: Hello) -> Hello:
    """As `with_printable_texts`."""
    capabilities = tuple(map(printable, hello.capabilities))
    return replace(hello, firmware=printable(hello.firmware), capabilities=capabilities)


def checked_hello(hello: Hello, url: str) -> Hello:
    """The hello itself; LinkError where its board has no id that can be a file's, a topic's or a line's part."""
    try:
        check_board_id(hello.board_id)
    except FrameError as error:
        raise LinkError(f"{url}: the board's hello has {error}; is this myofed's firmware?") from error
    return hello
