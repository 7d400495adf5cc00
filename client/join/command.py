"""`myofed join …`: take part in a federation with one's own recordings; see what that did."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import Annotated

import typer

from protocols.errors import ConfigError

STATUS = "status"


def join(
    word: Annotated[
        str,
        typer.Argument(
            metavar="INVITATION | status", help="The server's file for you, or what was done so far."
        ),
    ],
    *,
    recordings: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Your recordings; they stay where they are.")
    ] = None,
    store: Annotated[Path, typer.Option(help="Folder for key, packs, your student and the journal.")] = Path(
        "myofed-client"
    ),
    subject: Annotated[
        str | None, typer.Option(metavar="NAME", help="Whose recordings, if they are of several people.")
    ] = None,
    only_when_charging: Annotated[
        bool, typer.Option("--only-when-charging", help="Do nothing on battery.")
    ] = False,
    quiet_hours: Annotated[
        str, typer.Option(metavar="HH:MM-HH:MM", help="Do nothing in these hours of the day.")
    ] = "",
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout; logs go to stderr.")
    ] = False,
) -> None:
    """Take part in a federation: train at home, send what was learned, keep the recordings. Ctrl-C ends it."""
    if word == STATUS:
        if recordings is not None or subject is not None:
            raise ConfigError("join status: expected --store only")
        _report(store, as_json=as_json)
        return
    if recordings is None:
        raise ConfigError("join: expected --recordings DIR, the folder of your recordings")
    from client.join.conditions import Conditions
    from client.join.job import JoinJob
    from client.join.job import join as run_join

    conditions = Conditions(only_when_charging=only_when_charging, quiet_hours=quiet_hours)
    _log_to_stderr()
    try:
        run_join(JoinJob(Path(word), recordings, store, subject, conditions))
    except KeyboardInterrupt:
        _report(store, as_json=as_json)
        raise


def _report(store: Path, *, as_json: bool) -> None:
    from client.join.status import status, status_text

    result = status(store)
    sys.stdout.write((json.dumps(result) if as_json else status_text(result)) + "\n")


def _log_to_stderr() -> None:
    """What the device does, line by line: it runs for days, and nobody watches a bar."""
    room = logging.getLogger("client")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    room.addHandler(handler)
    room.setLevel(logging.INFO)
