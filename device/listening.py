"""Listening to a board with an end to patience: a link reconnects for ever, a person does not wait that long."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from protocols.errors import LinkError
from protocols.frame import Samples

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Callable

    from device.links.link import Link
    from protocols.frame import Frame

NOTICE_S = 2.0


async def listen(
    link: Link, silence_s: float, *, on_silence: Callable[[], None] = lambda: None
) -> AsyncGenerator[Frame]:
    """Every frame of the link, as long as samples are among them.

    Args:
        link: to the board.
        silence_s: without samples for this long, give up.
        on_silence: hears of each silence of two seconds, once.

    Raises:
        LinkError: no samples for `silence_s`, or the link itself gave up.
    """
    frames = aiter(link)
    heard_s, told = time.monotonic(), False
    waiting: asyncio.Future[Frame] | None = None
    try:
        while True:
            # Waited for and never cut short: a cancelled generator is at its end.
            waiting = waiting or asyncio.ensure_future(anext(frames))
            await asyncio.wait({waiting}, timeout=min(NOTICE_S, silence_s) / 4)
            silent_s = time.monotonic() - heard_s
            if waiting.done():
                frame, waiting = waiting.result(), None
                if isinstance(frame, Samples):
                    heard_s, told = time.monotonic(), False
                yield frame
            elif silent_s > NOTICE_S and not told:
                told = True
                on_silence()
            if time.monotonic() - heard_s > silence_s:
                raise LinkError(f"{link.url}: no samples for {silence_s:g} s; {_advice(link)}")
    except StopAsyncIteration:
        return
    finally:
        if waiting is not None:
            waiting.cancel()
            with suppress(asyncio.CancelledError, StopAsyncIteration, LinkError):
                await waiting


def _advice(link: Link) -> str:
    if link.connected:
        return f"board {link.hello.board_id} answers but does not stream: restart it"
    return f"board {link.hello.board_id} is gone: check its power and its cable or Wi-Fi"
