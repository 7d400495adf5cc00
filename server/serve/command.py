"""`myofed serve …`: make a server, invite and revoke clients, run a federation."""

from __future__ import annotations

import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from protocols.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import Any

INVITE, REVOKE, STATUS, WITHDRAW = "invite", "revoke", "status", "withdraw"


def serve(
    words: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[EXPERIMENT.yaml | invite NAME | revoke NAME | withdraw NAME | status]",
            help="A federation to run, or what to do beside it.",
        ),
    ] = None,
    *,
    server: Annotated[Path, typer.Option(help="The server's folder: keys, clients, logs.")] = Path(
        "myofed-server"
    ),
    init: Annotated[
        bool, typer.Option("--init", help="Make the folder: authority, certificates, keys.")
    ] = False,
    address: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="With --init: where clients find the server.")
    ] = None,
    days: Annotated[int, typer.Option(min=1, max=3650, help="With invite: how long it is valid.")] = 365,
    out: Annotated[Path | None, typer.Option(help="With invite: the file; default NAME.myofed.")] = None,
    listen: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Where clients come; default: all addresses, at the same port."
        ),
    ] = None,
    run_dir: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs"),
    resume: Annotated[
        str | None, typer.Option(metavar="RUN", help="Go on with a run: its name or folder.")
    ] = None,
    go_on: Annotated[
        bool,
        typer.Option(
            "--continue",
            help="Go on with the newest run of this experiment; begin one only if there is none. For units.",
        ),
    ] = False,
    page: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT", help="Where the live page listens; beyond loopback with a password."
        ),
    ] = None,
    no_page: Annotated[bool, typer.Option("--no-page", help="Run without the live page.")] = False,
    control_port: Annotated[
        int,
        typer.Option(
            min=0,
            max=65535,
            help="The SuperLink's port on loopback, for a firewall's rule; default: any free.",
        ),
    ] = 0,
    yes: Annotated[bool, typer.Option("--yes", help="With withdraw: without asking.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON object on stdout; logs go to stderr.")
    ] = False,
) -> None:
    """A real server for invited clients: Flower's SuperLink behind a proxy with TLS, and one run to its end."""
    from server.serve.job import (
        init_server,
        init_text,
        invite_client,
        invite_text,
        revoke_client,
        revoke_text,
    )
    from server.serve.serve_job import ServeJob, serve_text
    from server.serve.serve_job import serve as run_serve
    from server.serve.status import status, status_text
    from server.serve.withdrawal import what_goes, withdraw, withdraw_text

    _log_to_stderr()
    said = words or []
    if init:
        if said or address is None:
            raise ConfigError("serve --init: expected --address HOST:PORT and nothing else to do")
        _report(init_server(server, address), init_text, as_json=as_json)
    elif said[:1] == [INVITE]:
        _report(invite_client(server, _name(said), days=days, out=out), invite_text, as_json=as_json)
    elif said[:1] == [REVOKE]:
        _report(revoke_client(server, _name(said)), revoke_text, as_json=as_json)
    elif said[:1] == [WITHDRAW]:
        name = _name(said)
        goes = what_goes(server, name, run_dir)
        if not yes:
            _ask(goes)
        _report(withdraw(server, name, run_dir), withdraw_text, as_json=as_json)
    elif said == [STATUS]:
        _report(status(server, run_dir), status_text, as_json=as_json)
    else:
        if len(said) > 1:
            raise ConfigError(
                f"serve: found {' '.join(said)!r}, expected one experiment, or invite, revoke or withdraw "
                "and a NAME, or status"
            )
        if page is not None and no_page:
            raise ConfigError("serve: found --page and --no-page, expected one of them")
        job = ServeJob(
            server=server,
            run_dir=run_dir,
            experiment=Path(said[0]) if said else None,
            resume=resume,
            go_on=go_on,
            listen=listen,
            page=page,
            no_page=no_page,
            control_port=control_port,
        )
        _report(run_serve(job), serve_text, as_json=as_json)


def _name(said: list[str]) -> str:
    if len(said) != 2:
        raise ConfigError(f"serve {said[0]}: found {len(said) - 1} names, expected one")
    return said[1]


def _ask(goes: str) -> None:
    """Show what goes and ask the person at the terminal; ConfigError where there is none."""
    if not sys.stdin.isatty():
        raise ConfigError(
            "serve withdraw: asks before it removes anything, and there is no terminal to ask at; "
            "add --yes to remove without asking"
        )
    sys.stderr.write(goes + "\n")
    typer.confirm("Remove this for ever?", abort=True, err=True)


def _report(result: Mapping[str, Any], text: Callable[[Mapping[str, Any]], str], *, as_json: bool) -> None:
    sys.stdout.write((json.dumps(result) if as_json else text(result)) + "\n")


def _log_to_stderr() -> None:
    """What the server does, line by line: it runs for days, and nobody watches a bar."""
    room = logging.getLogger("server")
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    room.addHandler(handler)
    room.setLevel(logging.INFO)
