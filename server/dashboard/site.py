"""The site: every page and file under one application, behind one guard."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from nicegui import app as pages
from nicegui import ui

from server.dashboard.downloads import add_downloads
from server.dashboard.error_page import add_error_pages
from server.dashboard.guard import Guard
from server.dashboard.layout import STATIC
from server.dashboard.login_page import add_door
from server.dashboard.metrics import add_metrics
from server.dashboard.state import Site, open_site

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.types import ASGIApp

    from server.dashboard.login_page import Door

# Quasar's colours, of the variables of static/style.css.
BRAND = {
    "primary": "accent",
    "positive": "good",
    "negative": "bad",
    "warning": "warn",
    "dark": "card",
    "dark-page": "paper",
}


def build_app(shown_site: Site, door: Door | None) -> ASGIApp:
    """The whole site; its lifespan is that of the boards' feed."""
    open_site(shown_site)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if shown_site.boards is None:
            yield
        else:
            async with shown_site.boards:
                yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=str(STATIC)))
    add_downloads(app)
    add_metrics(app, shown_site, door)
    if door is not None:
        add_door(app, door)
    register_pages()
    ui.run_with(
        app,
        title="myofed",
        favicon=str(STATIC / "favicon.svg"),
        dark=None,  # as the visitor's system; static/theme.js knows better
        language="en-US",
        tailwind=False,  # it would compile styles in the browser
        show_welcome_message=False,
        reconnect_timeout=5.0,
    )
    return Guard(app, door)


def register_pages() -> None:
    """Every page of the site."""
    # Imported here: pages are registered with NiceGUI as they are imported, or soon after.
    from server.dashboard import compare_page, devices_page, home_page, run_page, runs_page, teacher_page

    for page in (home_page, run_page, runs_page, compare_page, devices_page, teacher_page):
        page.register()
    add_error_pages(pages)
    pages.config.quasar_config["brand"] = {name: f"var(--{ours})" for name, ours in BRAND.items()}
