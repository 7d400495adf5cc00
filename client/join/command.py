"""`myofed join …`: take part in a federation with one's own recordings; see what that did."""

from __future__ import annotations

import json
import logging
import sys
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from client.join.beside import BROKER_FOLDER
from protocols.errors import ConfigError

if TYPE_CHECKING:
    from client.join.beside import BoardBroker

STATUS, WITHDRAW = "status", "withdraw"


def join(
    context: typer.Context,
    word: Annotated[
        str,
        typer.Argument(
            metavar="INVITATION | status | withdraw",
            help="The server's file for you, what was done so far, or the end of it.",
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
    cpus: Annotated[
        int | None, typer.Option(metavar="N", help="Use so many cores at most; default: all.")
    ] = None,
    memory: Annotated[
        str, typer.Option(metavar="SIZE", help="Memory of a process at most, such as 1.5G; default: all.")
    ] = "",
    limit: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=NUMBER", help="The most that a task may ask for, such as steps=2000; repeatable."
        ),
    ] = None,
    demand_noise: Annotated[
        float,
        typer.Option(
            metavar="CLIPS", help="Train only where this device may add so much noise to what it sends."
        ),
    ] = 0.0,
    only_masked: Annotated[
        bool, typer.Option("--only-masked", help="Train only where what is sent is hidden in a sum of many.")
    ] = False,
    role: Annotated[
        str, typer.Option(metavar="both | train | test", help="Privacy allows train or test, not both.")
    ] = "both",
    broker: Annotated[
        str, typer.Option(metavar="BOARD,BOARD…", help="Also run a broker for these boards, on this machine.")
    ] = "",
    broker_folder: Annotated[
        Path, typer.Option(help="Its certificate, passwords and log; as of `myofed board broker`.")
    ] = BROKER_FOLDER,
    broker_address: Annotated[
        str,
        typer.Option(metavar="HOST:PORT", help="It listens there; default: as last time, or 0.0.0.0:8883."),
    ] = "",
    yes: Annotated[bool, typer.Option("--yes", help="Withdraw without asking.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout; logs go to stderr.")
    ] = False,
) -> None:
    """Take part in a federation: train at home, send what was learned, keep the recordings. Ctrl-C ends it."""
    beside: BoardBroker = context.obj
    if word in (STATUS, WITHDRAW):
        if recordings is not None or subject is not None:
            raise ConfigError(f"join {word}: expected --store only")
        report = partial(_report, beside, broker_folder) if word == STATUS else partial(_withdraw, yes=yes)
        report(store, as_json=as_json)
        return
    if recordings is None:
        raise ConfigError("join: expected --recordings DIR, the folder of your recordings")
    from client.join.conditions import Conditions
    from client.join.job import JoinJob
    from client.join.job import join as run_join
    from client.join.resources import Resources

    job = JoinJob(
        Path(word),
        recordings,
        store,
        subject,
        Conditions(only_when_charging=only_when_charging, quiet_hours=quiet_hours),
        Resources.of(cpus, memory),
        tuple(limit or ()),
        demand_noise,
        masked_only=only_masked,
        role=role,
    )
    _log_to_stderr()
    try:
        with beside.running(broker_folder, broker, broker_address) if broker else nullcontext():
            run_join(job)
    except KeyboardInterrupt:
        _report(beside, broker_folder, store, as_json=as_json)
        raise


def _report(beside: BoardBroker, broker_folder: Path, store: Path, *, as_json: bool) -> None:
    from client.join.status import status, status_text

    result = status(store)
    broker = beside.status(broker_folder) if broker_folder.is_dir() else None
    text = status_text(result) + ("" if broker is None else f"\n{beside.text(broker)}")
    sys.stdout.write((json.dumps({**result, "broker": broker}) if as_json else text) + "\n")


def _withdraw(store: Path, *, as_json: bool, yes: bool) -> None:
    from client.join.withdraw import everything_of, withdraw

    leaving = everything_of(store)
    if not yes:
        sys.stderr.write(leaving.text() + "\n")
        typer.confirm("Delete this for ever?", abort=True, err=True)
    result = withdraw(leaving)
    sys.stdout.write((json.dumps(result) if as_json else str(result["text"])) + "\n")


def _log_to_stderr() -> None:
    """What the device does, line by line: it runs for days, and nobody watches a bar."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    for room in map(logging.getLogger, ("client", "device.broker")):
        room.addHandler(handler)
        room.setLevel(logging.INFO)
