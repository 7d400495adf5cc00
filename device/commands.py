"""`myofed board …`: one sub-command per job, each a few lines that call one module of this room."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

board_app = typer.Typer(no_args_is_help=True, help="Attach a board, or an emulated one: look, record, live.")

Url = Annotated[
    str,
    typer.Argument(
        metavar="URL", help="serial://PORT, mqtt(s)://HOST/BOARD, replay://FILE_OR_SET, synthetic://"
    ),
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout; logs go to stderr.")]
DataDir = Annotated[
    Path | None,
    typer.Option("--data-dir", help="Folder of datasets; default $MYOFED_DATA, else ../shared/data."),
]


def report(result: Mapping[str, Any], text: Callable[[Mapping[str, Any]], str], *, as_json: bool) -> None:
    """Print a job's result: as one JSON object, or as the text that `text` makes of it."""
    sys.stdout.write((json.dumps(result) if as_json else text(result)) + "\n")


@board_app.command()
def broker(
    folder: Annotated[Path, typer.Argument(help="Its configuration and passwords; made if it is not there.")],
    *,
    boards: Annotated[
        str, typer.Option(help="Board ids, with commas: each gets a password and its own topics.")
    ],
    port: Annotated[int, typer.Option(min=1, max=65535)] = 1883,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for boards on your Wi-Fi (not encrypted).")
    ] = "127.0.0.1",
) -> None:
    """Set up a Mosquitto broker with a password and rights for each board, and run it until Ctrl-C."""
    from device.broker import broker_text, serve_forever, write_broker

    names = [name.strip() for name in boards.split(",") if name.strip()]
    written = write_broker(folder, names, port=port, host=host)
    sys.stderr.write(broker_text(written) + "\n")
    serve_forever(written)
