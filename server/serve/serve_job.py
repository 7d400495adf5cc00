"""`myofed serve EXPERIMENT.yaml`: a federation of invited clients, from its start to its result."""

from __future__ import annotations

import json
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.errors import ConfigError, DataError
from protocols.invitation import check_address
from protocols.pack import read_manifest
from protocols.signing import load_or_create_key, public_key_of
from server.run_record import write_atomically
from server.serve.deployment import deployment
from server.serve.fleet_proxy import check_free
from server.serve.live_page import page_place
from server.serve.locks import held
from server.serve.result import result_of
from server.serve.served_experiment import (
    LOCK_FILE,
    RESULT_FILE,
    begun_run,
    new_run,
    newest_run,
    read_served,
)
from server.serve.served_run import run_to_end
from server.serve.server_folder import ServerFolder
from server.serve.withdrawal import finish_withdrawals

if TYPE_CHECKING:
    from collections.abc import Mapping

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ServeJob:
    """One run of a server.

    Attributes:
        server: the server's folder.
        run_dir: where runs are kept.
        experiment: YAML file, or None with `resume`.
        resume: a run to go on with, or None.
        go_on: go on with the newest run of the experiment, if there is one; one that is complete is left as it is.
        listen: host:port on which clients come; None: every address of this machine, at the address's port.
        page: host:port of the live page; None: the usual place.
        no_page: there is none.
        control_port: of the SuperLink on loopback; 0: any free one.
    """

    server: Path
    run_dir: Path
    experiment: Path | None = None
    resume: str | None = None
    go_on: bool = False
    listen: str | None = None
    page: str | None = None
    no_page: bool = False
    control_port: int = 0


def serve(job: ServeJob) -> dict[str, Any]:
    """Run a federation of invited clients to its end.

    Raises:
        ConfigError: folder, experiment, ports or programs are not as they should be, and nothing was
            started; or the ServerApp found a setting wrong.
        LinkError: SuperLink or proxy do not come up.
        AggregationError: the run failed again and again.
    """
    folder = ServerFolder.existing(job.server)
    listen = job.listen or f"0.0.0.0:{check_address(folder.address())[1]}"
    check_address(listen, "--listen")
    place = None if job.no_page else page_place(job.page)
    run = _run_folder(job, folder, listen)
    finish_withdrawals(folder)
    if job.go_on and (run / RESULT_FILE).is_file():
        log.info("run %s of this experiment is complete; without --continue, a new one begins", run.name)
        return _result(run)
    with held(run / LOCK_FILE, f"run {run.name}: another `myofed serve` runs it"):
        try:
            with deployment(folder, listen, run=run, page=place, control_port=job.control_port) as running:
                log.info("clients come to %s; the run is %s", folder.address(), run)
                record = run_to_end(running, run)
                restarts = running.restarts
        except KeyboardInterrupt:
            log.warning("go on with: myofed serve --resume %s --server %s", run, job.server)
            raise
        write_atomically(run / RESULT_FILE, json.dumps(result_of(run, record, restarts), indent=1))
    finish_withdrawals(folder)  # of people who left while the run was on
    return _result(run)


def _result(run: Path) -> dict[str, Any]:
    return dict(json.loads((run / RESULT_FILE).read_text()))


def serve_text(result: Mapping[str, Any]) -> str:
    """What came of it, and where the record is."""
    lines = [
        f"{result['rounds']} rounds; the record is in {result['run_dir']} (look at it with `myofed watch`)"
    ]
    for row, mean in result["accuracy"].items():
        spread = result["spread"][row]
        lines.append(
            f"{row}: accuracy {100 * mean:.1f} % over {spread['people']} tested people, "
            f"worst {100 * spread['worst']:.1f} % ({spread['worst_subject']})"
        )
    return "\n".join(lines)


def _run_folder(job: ServeJob, folder: ServerFolder, listen: str) -> Path:
    if job.resume is not None and job.experiment is None and not job.go_on:
        return begun_run(job.resume, job.run_dir)
    if job.experiment is None or job.resume is not None:
        raise ConfigError(
            "serve: expected an experiment's YAML file (perhaps with --continue) or --resume RUN"
        )
    experiment, text = read_served(job.experiment)
    found = newest_run(experiment, job.run_dir) if job.go_on else None
    if found is None and folder.is_served:
        raise ConfigError(f"--server {folder.root}: another `myofed serve` uses it")
    if found is None and experiment.pack:
        _check_pack(Path(experiment.pack), folder, job.experiment)
    if found is None:
        check_free(listen)  # before there is a folder of a run that cannot be
    return found or new_run(experiment, (str(job.experiment), text), job.run_dir)


def _check_pack(pack: Path, folder: ServerFolder, experiment: Path) -> None:
    """Clients take whole packs of this server's key, and no other; ConfigError before anybody is asked."""
    try:
        read_manifest(pack).verify(public_key_of(load_or_create_key(folder.pack_key)))
    except DataError as error:
        raise ConfigError(
            f"{experiment}: pack: {error}; make one with `myofed pack --key {folder.pack_key} --out {pack}`"
        ) from None
