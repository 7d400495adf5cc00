"""How far a run is: a bar on a terminal, plain lines elsewhere; always on stderr."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from shlex import quote
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from simulations.simulate import RUN_FILE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from simulations.simulate import Run

    Report = Callable[[str, int, int], None]


@contextmanager
def show_progress(run: Run) -> Iterator[Report]:
    """Within the block, reports of progress are shown; a stop says how to go on."""
    console = Console(stderr=True)
    try:
        if console.is_terminal:
            with _bar(console) as bar:
                task = bar.add_task(run.experiment.name, total=None)
                yield lambda ended, done, total: _update(bar, task, ended, done, total)
        else:
            yield _print_line
    except BaseException:
        if (run.folder / RUN_FILE).exists():
            sys.stderr.write(f"stopped; go on with: myofed simulate --resume {quote(str(run.folder))}\n")
        raise


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("[bold]{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("steps"),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        console=console,
    )


def _update(bar: Progress, task: TaskID, ended: str, done: int, total: int) -> None:
    if ended:
        bar.console.print(f"[green]done[/] {ended}", highlight=False)
    bar.update(task, completed=done, total=total)


def _print_line(ended: str, done: int, total: int) -> None:
    if ended:
        sys.stderr.write(f"{ended} done, {done} of {total} steps\n")
