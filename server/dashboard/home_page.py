"""The addresses that lead to the latest run, and what they show before there is one."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from nicegui import run, ui
from starlette.responses import RedirectResponse

from server.dashboard.layout import page_frame, shown
from server.dashboard.state import run_path, site, teacher_path

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.responses import Response

LOOK_S = 2.0  # how often an empty page looks for a first run


def register() -> None:
    """The pages / and /teacher."""
    ui.page("/")(home)
    ui.page("/teacher")(latest_teacher)


async def home() -> Response | None:
    """The latest run; without one the boards, if there are any."""
    latest = await run.io_bound(site().shelf.latest)
    if latest is not None:
        return RedirectResponse(run_path(latest))
    if site().boards is not None:
        return RedirectResponse("/devices")
    nothing_yet("Run", "run", run_path)
    return None


async def latest_teacher() -> Response | None:
    """What the teacher added to the latest run."""
    latest = await run.io_bound(site().shelf.latest)
    if latest is not None:
        return RedirectResponse(teacher_path(latest))
    nothing_yet("Teacher", "teacher", teacher_path)
    return None


def nothing_yet(title: str, here: str, path: Callable[[str], str]) -> None:
    """The page of a folder without runs; it goes on by itself once there is one."""
    with page_frame(title, here=here), ui.element("section").classes("empty"):
        ui.icon("hourglass_empty")
        ui.label("No run here yet").classes("page-title")
        ui.label(f"This page looks for runs in {shown(str(site().folder.absolute()), 300)}")
        with ui.element("p").classes("row"):
            ui.label("Start one with")
            ui.label(f"myofed simulate{run_dir_option()}").classes("mono")
        ui.label("It appears here by itself.")

    async def look() -> None:
        latest = await run.io_bound(site().shelf.latest)
        if latest is not None:
            ui.navigate.to(path(latest))

    ui.timer(LOOK_S, look)


def run_dir_option() -> str:
    """The option that puts a run where this page looks, for a command to paste; empty for the default."""
    folder = site().folder
    return "" if folder == Path("runs") else f" --run-dir {shlex.quote(shown(str(folder), 300))}"
