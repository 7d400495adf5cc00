"""The site: every page and file under one FastAPI application, behind one guard."""

from __future__ import annotations

import importlib
import importlib.util
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI
from fastapi.staticfiles import StaticFiles
from nicegui import ui
from starlette.responses import RedirectResponse

from server.dashboard.layout import STATIC, page_frame
from server.dashboard.state import Site, open_site, run_path, teacher_path

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.responses import Response

PAGES = ("run_page", "runs_page", "compare_page", "devices_page", "teacher_page")


def build_app(shown: Site) -> FastAPI:
    """The site's application; its lifespan is that of the boards' feed."""
    open_site(shown)

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        if shown.boards is None:
            yield
        else:
            async with shown.boards:
                yield

    app = FastAPI(lifespan=lifespan, docs_url=None, redoc_url=None, openapi_url=None)
    app.mount("/static", StaticFiles(directory=str(STATIC)))
    register_pages(shown)
    ui.run_with(
        app,
        title="myofed",
        favicon=str(STATIC / "favicon.svg"),
        dark=None,
        language="en-US",
        tailwind=False,
        show_welcome_message=False,
        reconnect_timeout=5.0,
    )
    return app


def register_pages(shown: Site) -> None:
    """Each page module's `register()`, and the two addresses that lead to the latest run."""
    for name in PAGES:
        if importlib.util.find_spec(f"server.dashboard.{name}") is not None:
            importlib.import_module(f"server.dashboard.{name}").register()
        else:
            _not_here_yet(name)

    @ui.page("/")
    def home() -> Response | None:
        latest = shown.shelf.latest()
        if latest is not None:
            return RedirectResponse(run_path(latest))
        if shown.boards is not None:
            return RedirectResponse("/devices")
        nothing_yet("Run", here="run")
        return None

    @ui.page("/teacher")
    def teacher() -> Response | None:
        latest = shown.shelf.latest()
        if latest is not None:
            return RedirectResponse(teacher_path(latest))
        nothing_yet("Teacher", here="teacher")
        return None


def nothing_yet(title: str, *, here: str) -> None:
    """The page of a folder without runs; it goes on by itself once there is one."""
    with page_frame(title, here=here), ui.element("section").classes("empty"):
        ui.icon("hourglass_empty")
        ui.label("No run yet").classes("page-title")


def _not_here_yet(name: str) -> None:
    paths = {
        "run_page": "/run/{name}",
        "runs_page": "/runs",
        "compare_page": "/compare",
        "devices_page": "/devices",
        "teacher_page": "/teacher/{name}",
    }

    def page(name: Any = "") -> None:
        with page_frame("not here yet", here=""):
            ui.label("not here yet")

    ui.page(paths[name])(page)
