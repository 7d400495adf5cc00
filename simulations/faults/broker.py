"""The boards' broker killed while a board streams and a person records: what is there in the end.

All parts are real: the commands as people type them, a Mosquitto over TLS, the firmware's own code, kill -9.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from device.broker import GATEWAY, free_port
from device.broker.folder import read_broker
from device.broker.keeper import RUNNING, state_of
from device.recorder.finish import recorded
from distillation.recording import read_recording
from protocols.errors import DataError, LinkError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from device.broker import BrokerFolder
    from distillation.recording import Recording

BOARD = "emg-1"
SHORT = ("--gestures", "rest,hand_close", "--repetitions", "1", "--hold", "2", "--rest", "1")
STRIKES_S = (0.5, 3.0)  # of recorded signal, of six seconds
DEADLINE_S = 120.0
POLL_S = 0.05
STEP = 2.5  # samples that are more periods apart have something missing between them; jitter is less

T = TypeVar("T")


def broker_fault(root: Path, seed: int) -> dict[str, Any]:
    """Kill the broker once while a board streams: the recording has to end by itself, whole but for marked gaps.

    Args:
        root: a folder for broker, recording and logs; made where it is missing.
        seed: of the moment.

    Returns:
        fault, survived, lost (samples that were on the disk and are not in the recording), detail.

    Raises:
        LinkError: a part did not come up, or did not come back.
    """
    moment_s = float(np.random.default_rng(seed).uniform(*STRIKES_S))
    root.mkdir(parents=True, exist_ok=True)
    with ExitStack() as parts:
        broker = parts.enter_context(_broker(root))
        url = f"{broker.place(broker.client_host)}/{BOARD}".replace("://", "://{}@")
        emulate = ("emulate", "--mqtt", url.format(BOARD), "--data", "synthetic")
        parts.enter_context(_running(root, emulate, _secrets(broker, BOARD)))
        record = (
            "record",
            url.format(GATEWAY),
            "--out",
            str(root / "own"),
            "--subject",
            "ada",
            *SHORT,
            "--yes",
        )
        recorder = parts.enter_context(_running(root, record, _secrets(broker, GATEWAY)))
        before = _wait_for(lambda: _so_far(root, moment_s), f"{moment_s:.1f} s of signal", recorder)
        killed_s = _kill(broker)
        _wait_for(lambda: _is_back(broker), "the broker's return", recorder)
        away_s = time.monotonic() - killed_s
        code = recorder.wait(DEADLINE_S)
    if code:
        said = (root / "record.log").read_text().strip().splitlines()[-1:]
        return _result(survived=False, lost=0, detail=f"the recorder ended with code {code}: {said}")
    return judge_recording(before, read_recording(next((root / "own").glob("*.hdf5"))), away_s)


def judge_recording(before: Recording, after: Recording, away_s: float) -> dict[str, Any]:
    """Compare what was on the disk when the broker was killed with the whole recording.

    Args:
        before: what had been recorded at that moment.
        after: the whole.
        away_s: how long there was no broker.
    """
    had, has = (Counter(row.tobytes() for row in each.emg) for each in (before, after))
    lost = (had - has).total()
    holes = int((np.diff(after.time_s) > STEP / after.sample_rate_hz).sum())
    missing_s = sum(gap.end_s - gap.start_s for gap in after.gaps)
    reconnects = 0 if after.link is None else after.link.reconnects
    detail = (
        f"killed after {len(before.emg)} samples on the disk, back after {away_s:.1f} s; {reconnects} reconnection, "
        f"{len(after.gaps)} marked gap of {missing_s:.1f} s, {len(after.holds)} holds, {len(after.emg)} samples"
    )
    went_on = reconnects > 0 and len(after.emg) > len(before.emg)
    return _result(survived=went_on and not lost and holes <= len(after.gaps), lost=lost, detail=detail)


def _result(*, survived: bool, lost: int, detail: str) -> dict[str, Any]:
    return {"fault": "broker killed", "survived": survived, "lost": lost, "detail": detail}


@contextmanager
def _broker(root: Path) -> Iterator[BrokerFolder]:
    """`myofed board broker`, while the block lasts."""
    folder = root / "broker"
    command = ("broker", str(folder), "--boards", BOARD, "--port", str(free_port()))
    with _running(root, command, {}) as process:
        _wait_for(lambda: state_of(folder).state == RUNNING, "the broker", process)
        broker = read_broker(folder)
        if broker is None:
            raise LinkError(f"{folder}: the broker wrote no settings")
        yield broker


@contextmanager
def _running(
    root: Path, command: tuple[str, ...], secrets: dict[str, str]
) -> Iterator[subprocess.Popen[bytes]]:
    """One `myofed board …` with its log, ended as by Ctrl-C with the block."""
    with (root / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(  # noqa: S603  (our own arguments)
            [str(Path(sys.executable).with_name("myofed")), "board", *command],
            env=os.environ | secrets,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
        )
    try:
        yield process
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(DEADLINE_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _secrets(broker: BrokerFolder, user: str) -> dict[str, str]:
    return {"MYOFED_MQTT_PASSWORD": broker.passwords[user], "MYOFED_MQTT_CA": str(broker.ca)}


def _so_far(root: Path, seconds: float) -> Recording | None:
    """What the journal on the disk holds, once it is so long."""
    for journal in (root / "own").glob("*.journal"):
        copy = shutil.copyfile(journal, root / "journal-then")
        try:
            found = recorded(copy)
        except DataError:  # no samples yet
            return None
        return found if len(found.emg) >= seconds * found.sample_rate_hz else None
    return None


def _kill(broker: BrokerFolder) -> float:
    """Kill -9; when."""
    pid = state_of(broker.folder).pid
    if pid is None:
        raise LinkError(f"{broker.folder}: no broker to be killed")
    os.kill(pid, signal.SIGKILL)
    return time.monotonic()


def _is_back(broker: BrokerFolder) -> bool:
    now = state_of(broker.folder)
    return now.restarts == 1 and now.state == RUNNING


def _wait_for(found: Callable[[], T | None], what: str, process: subprocess.Popen[bytes]) -> T:
    """Wait for a moment; LinkError where it does not come, or the process that brings it ended."""
    deadline = time.monotonic() + DEADLINE_S
    while not (it := found()):
        if process.poll() is not None or time.monotonic() > deadline:
            raise LinkError(f"{what} did not come (exit code {process.poll()})")
        time.sleep(POLL_S)
    return it
