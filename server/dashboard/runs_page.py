"""The page of all runs, and the same table for spreadsheets."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import Query
from fastapi.responses import PlainTextResponse
from nicegui import app, ui

from server.dashboard.home_page import run_dir_option
from server.dashboard.layout import page_frame, shown
from server.dashboard.run_rows import as_csv
from server.dashboard.runs_table import RunsTable
from server.dashboard.state import site

EVERY_S = 1.0


def register() -> None:
    """Add the page and its download."""
    ui.page("/runs", title="Runs · myofed")(runs_page)
    app.get("/runs.csv")(runs_csv)


async def runs_page() -> None:
    """All runs of the folder, kept up to date in place."""
    shelf = site().shelf
    runs = await asyncio.to_thread(shelf.summaries)
    with page_frame("Runs", here="runs"):
        ui.label("Runs").classes("page-title")
        empty = f"No run in {shown(str(shelf.folder.absolute()), 300)} yet; one appears here by itself. Start it with"
        table = RunsTable(runs, empty=empty, command=f"myofed simulate{run_dir_option()}")

        async def follow() -> None:
            table.show(await asyncio.to_thread(shelf.summaries))

        ui.timer(EVERY_S, follow)


async def runs_csv(runs: Annotated[tuple[str, ...], Query()] = ()) -> PlainTextResponse:
    """All runs, or those of these names."""
    found = await asyncio.to_thread(site().shelf.summaries)
    wanted = [run for run in found if not runs or run.name in runs]
    return PlainTextResponse(
        as_csv(wanted),
        media_type="text/csv; charset=utf-8",
        headers={"Content-Disposition": 'attachment; filename="runs.csv"'},
    )
