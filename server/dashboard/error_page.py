"""What is shown instead of a page: it does not exist, or it failed."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from nicegui import Client, ui

from protocols.errors import ConfigError, DataError
from server.dashboard.layout import page_frame, shown

if TYPE_CHECKING:
    from nicegui import App
    from starlette.requests import Request
    from starlette.responses import Response

log = logging.getLogger(__name__)


def add_error_pages(pages: App) -> None:
    """What a page raises becomes a sentence of ours, in the frame of every page."""
    for kind in (404, DataError, ConfigError):
        pages.exception_handler(kind)(not_found)
    pages.exception_handler(Exception)(failed)


async def not_found(request: Request, error: Exception) -> Response:
    """404: no such page, run or board."""
    sentence = (
        str(error)
        if isinstance(error, DataError | ConfigError)
        else f"There is nothing at {request.url.path}"
    )
    return _page(request, 404, "Not here", sentence)


async def failed(request: Request, error: Exception) -> Response:
    """500: our fault; the terminal has the details, which are nobody else's business."""
    log.error("the page %s failed", request.url.path, exc_info=error)
    return _page(
        request, 500, "This page failed", "The terminal of `myofed watch` says why. The other pages go on."
    )


def _page(request: Request, status: int, title: str, sentence: str) -> Response:
    with (
        Client(ui.page(""), request=request) as client,
        page_frame(title, here=""),
        ui.element("section").classes("empty"),
    ):
        ui.icon("search_off" if status == 404 else "error_outline")
        ui.label(title).classes("page-title")
        ui.label(shown(sentence, 400))
        ui.link("All runs", "/runs").classes("button quiet")
    return client.build_response(request, status)
