"""One run on a deployment, kept going to its end: whatever stops it, it goes on behind its last checkpoint."""

from __future__ import annotations

import json
import logging
import re
import time
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from protocols.errors import AggregationError, ConfigError, LinkError
from server.plan import Plan
from server.run_record import RunRecord, write_atomically
from server.serve.control import FINISHED, open_control
from server.serve.run_teller import RunTeller
from server.serve.served_experiment import PLAN_FILE
from server.serve.supervised import backoff_s

if TYPE_CHECKING:
    from pathlib import Path

    from server.serve.deployment import Deployment
    from server.serve.server_folder import ServerFolder

log = logging.getLogger(__name__)

RETRY_S = 15.0  # a client that was killed is back after a minute, one that lost its network at once
POLL_S = 1.0  # how often the run and the processes are looked at
GIVE_UP = 3  # failures in a row without a new round: what fails then will fail again
SUBMIT_TRIES = 20  # refusals in a row of a SuperLink that is there
RAISED = re.compile(
    r"(?:[a-z_]\w*\.)*[A-Z]\w*(?:Error|Mismatch): .+"
)  # a traceback's last line; Flower adds some
WRONG_SETTING = f"{ConfigError.__module__}.{ConfigError.__qualname__}: "  # it fails the same way each time
LOG_CHARACTERS = 300  # of the ServerApp's last words, in an error message


@dataclass(frozen=True, slots=True)
class _Attempt:
    """One run of Flower's; a federation may take several."""

    run_id: int
    rounds: int
    superlink_restarts: int


def run_to_end(deployment: Deployment, folder: Path) -> RunRecord:
    """Submit the plan of a run's folder, and again after each failure, until the record says that it is complete.

    Raises:
        AggregationError: it failed three times in a row without a new round, with the ServerApp's last words.
        ConfigError: the ServerApp found a setting wrong; it is not tried again.
        LinkError: the SuperLink is there, and does not take the run.
    """
    plan_file = (folder / PLAN_FILE).absolute()
    plan = _of_this_server(plan_file, deployment.folder)
    record, failures = RunRecord(folder, plan.part), 0
    teller = RunTeller(record, deployment.folder.names)
    while not _complete(record):
        attempt = _submit(deployment, record, plan_file)
        status = _wait(deployment, attempt, teller)
        if _complete(record):
            break
        progressed = _rounds(record) > attempt.rounds
        disturbed = deployment.superlink.restarts > attempt.superlink_restarts
        failures = 0 if progressed or disturbed else failures + 1
        words = _last_words(deployment, attempt, folder)
        if words.startswith(WRONG_SETTING):
            raise ConfigError(words.removeprefix(WRONG_SETTING))
        if failures >= GIVE_UP:
            raise AggregationError(
                f"run {folder.name}: {status}, {failures} times without a new round; {words}; all of it in "
                f"{folder / 'serverapp.log'}"
            )
        why = "the SuperLink ended" if disturbed else words  # then the ServerApp's last words say nothing
        why = f"{status}: {why}" if why else status
        record.append("restart", reason=why)
        log.warning("run %s: %s; it goes on behind its last checkpoint", folder.name, why)
        _pause(deployment, backoff_s(failures))
    return record


def _of_this_server(plan_file: Path, folder: ServerFolder) -> Plan:
    """The plan, with what a network adds: names are checked by this server's list, and who fails is asked again."""
    found = Plan.read(plan_file)
    plan = replace(found, names=str(folder.names), retry_s=RETRY_S)
    if plan != found:  # it is new, or was begun elsewhere
        write_atomically(plan_file, json.dumps(plan.to_json(), indent=1))
    return plan


def _submit(deployment: Deployment, record: RunRecord, plan_file: Path) -> _Attempt:
    """Start a run of Flower's; LinkError if a SuperLink that is there refuses it again and again."""
    refused = 0
    while True:
        try:
            with open_control(deployment.folder) as control:
                run_id = control.start_run(str(plan_file))
        except LinkError as error:  # the SuperLink is on its way up again
            refused = refused + 1 if deployment.answers() else 0
            if refused >= SUBMIT_TRIES:
                raise LinkError(f"{error}; asked {refused} times, see {deployment.folder.logs}") from None
            log.warning("%s", error)
            _pause(deployment, POLL_S)
        else:
            return _Attempt(run_id, _rounds(record), deployment.superlink.restarts)


def _wait(deployment: Deployment, attempt: _Attempt, teller: RunTeller) -> str:
    """The status with which Flower's run ended; meanwhile, what goes on is told. Ctrl-C ends the run, too."""
    try:
        while True:
            _pause(deployment, POLL_S)
            with suppress(LinkError), open_control(deployment.folder) as control:
                status = control.run_status(attempt.run_id)
                teller.tell()
                if status.startswith(FINISHED):
                    return status
    except KeyboardInterrupt:
        with suppress(LinkError), open_control(deployment.folder) as control:
            control.stop_run(attempt.run_id)
        raise


def _pause(deployment: Deployment, seconds: float) -> None:
    until = time.monotonic() + seconds
    while True:
        deployment.tend()
        left = until - time.monotonic()
        if left <= 0:
            return
        time.sleep(min(left, POLL_S))


def _last_words(deployment: Deployment, attempt: _Attempt, folder: Path) -> str:
    """Why the ServerApp ended, by its log; all of that is kept in the run's folder."""
    try:
        with open_control(deployment.folder) as control:
            text = control.log(attempt.run_id)
    except LinkError:
        return ""
    with (folder / "serverapp.log").open("a") as file:
        file.write(text)
    return _why(text)[:LOG_CHARACTERS]


def _why(text: str) -> str:
    """The last exception of a log, or else its last line."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    raised = [line for line in lines if RAISED.fullmatch(line)]
    return (raised or lines or [""])[-1]


def _complete(record: RunRecord) -> bool:
    return any(event["event"] == "stop" for event in record.events())


def _rounds(record: RunRecord) -> int:
    return max((event["round"] for event in record.events() if event["event"] == "round"), default=0)
