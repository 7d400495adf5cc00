"""Work that has no end of its own: until Ctrl-C, SIGTERM or some seconds later."""

from __future__ import annotations

import asyncio
import signal
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@asynccontextmanager
async def until_stopped(seconds: float | None = None) -> AsyncIterator[None]:
    """Run the block to its end, or until one of these stops it, which is no error: what follows the block runs."""
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    try:
        async with asyncio.timeout(seconds) as scope:

            def stop() -> None:
                if not scope.expired():
                    scope.reschedule(loop.time())

            for number in signals:
                loop.add_signal_handler(number, stop)
            yield
    except TimeoutError:
        if not scope.expired():
            raise
    finally:
        for number in signals:
            loop.remove_signal_handler(number)
