"""`myofed board record`: a person holds gestures as prompted, and a recording in Meta's layout comes out.

Everything that arrives goes into an append-only journal at once; the recording is made from it at the end, or at the
next start after a crash. See docs/boards.md.
"""

from __future__ import annotations

import asyncio
import sys
import time
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from device.asking import PromptRefused
from device.links import open_link
from device.recorder.check import HoldSignal, check_holds
from device.recorder.desk import Desk
from device.recorder.folder import PersonFolder, finish_journal, open_person_folder
from device.recorder.journal import Journal, JournalHeader
from device.recorder.plan import DEFAULT_GESTURES, Plan, Prompt, Timing
from device.recorder.prompter import DAMAGED, Prompter
from device.recorder.screen import choose_screen
from device.stopping import until_stopped
from device.tracker import SampleTracker
from distillation.recording import read_recording
from protocols.errors import ConfigError, DataError, LinkError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from device.links import Link
    from device.recorder.folder import Finished
    from distillation.recording import Recording


@dataclass(frozen=True, slots=True)
class RecordJob:
    """What to record.

    Attributes:
        url: of the board.
        out: folder of everybody's recordings.
        subject: who; never a real name.
        gestures: to hold.
        repetitions: of each.
        hold_s: how long each is shown.
        rest_s: before each.
        session: 0-based; an earlier one is gone on with; None: the next.
        seed: of the order; None: drawn anew.
        channel_map: the board's channel for each place of the recording; None keeps them.
        ask: whether the person may be asked to repeat what the check names.
        data_dir: where a replayed dataset is looked for.
    """

    url: str
    out: Path
    subject: str
    gestures: tuple[str, ...] = DEFAULT_GESTURES
    repetitions: int = 3
    hold_s: float = 3.0
    rest_s: float = 2.0
    session: int | None = None
    seed: int | None = None
    channel_map: tuple[int, ...] | None = None
    ask: bool = True
    data_dir: Path | None = None

    @property
    def plan(self) -> Plan:
        """All that is asked for; ConfigError names what cannot be."""
        timing = Timing(hold_s=self.hold_s, rest_s=self.rest_s)
        return Plan(self.gestures, self.repetitions, timing, self.channel_map)


@dataclass(frozen=True, slots=True, eq=False)
class Session:
    """Where a recording begins.

    Attributes:
        place: the folder.
        number: of the session.
        earlier: what the session holds already.
        plan: of the whole session.
    """

    place: PersonFolder
    number: int
    earlier: tuple[Recording, ...]
    plan: Plan

    @property
    def signals(self) -> dict[Prompt, HoldSignal]:
        """The holds that were recorded before."""
        trials = (HoldSignal.of(trial) for recording in self.earlier for trial in recording.trials())
        return {trial.prompt: trial for trial in trials}

    @property
    def done(self) -> set[Prompt]:
        """The prompts of the plan that were done before."""
        asked = {Prompt(name, i) for name in self.plan.gestures for i in range(self.plan.repetitions)}
        return asked & {prompt for prompt, signal in self.signals.items() if signal.damaged_share <= DAMAGED}


def run_record(job: RecordJob) -> dict[str, Any]:
    """Record, check, and say what came out; `complete` is false where the person stopped before the end.

    Raises:
        ConfigError: a setting, folder or gesture set that does not fit.
        LinkError: the board cannot be reached, or is gone; what was recorded is kept.
        DataError: the board's rate is wrong, or the disk is full; what was recorded is kept.
    """
    session = open_session(job)
    done, total = len(session.done), session.plan.num_prompts
    if done:
        going_on = "going on" if done < total else "nothing is left to record"
        sys.stderr.write(
            f"{job.subject}, session {session.number}: {done} of {total} done before, {going_on}\n"
        )
    if done == total:
        return _result(session, session.earlier[-1], _latest_file(session))
    journal = session.place.new_journal(session.number)
    try:
        asyncio.run(_record(job, session, journal))
    except (LinkError, DataError) as error:
        if not journal.exists():
            raise
        aside = "its gestures cannot all be prompted" if isinstance(error, PromptRefused) else ""
        raise type(error)(f"{error}; {_kept(session, journal, aside)}") from error
    finished = finish_journal(journal)
    if finished is None or finished.aside:
        sys.stderr.write(f"{_said(finished)}\n")
        raise KeyboardInterrupt  # stopped before there was anything to go on from
    return _result(session, read_recording(finished.file), finished.file)


def _said(finished: Finished | None) -> str:
    """What came of it, where nothing can be gone on from."""
    if finished is None:
        return "nothing was recorded"
    return f"what came is set aside in {finished.file}: {finished.aside}"


def _kept(session: Session, journal: Path, aside: str) -> str:
    """Save what can be saved after an error, and say where it is."""
    try:
        finished = finish_journal(journal, aside=aside)
    except DataError as error:
        return f"what was recorded is kept in {journal} ({error}); run the same command again to go on"
    if finished is None or finished.aside:
        return _said(finished)
    return f"what was recorded is in {finished.file}; go on with --session {session.number}"


def open_session(job: RecordJob) -> Session:
    """Finish what crashes left behind, and find out which session this is and what it lacks.

    Raises:
        ConfigError: as run_record.
        DataError: a journal cannot be finished.
    """
    plan, place = job.plan, open_person_folder(job.out, job.subject)
    if job.session is not None and not 0 <= job.session < 10_000:
        raise ConfigError(f"session: found {job.session}, expected 0 to 9999")
    finished = [found for found in map(finish_journal, place.journals()) if found is not None]
    recovered = [found.session for found in finished if not found.aside]
    if recovered:
        place = open_person_folder(job.out, job.subject)
    place.check_gestures(plan.gestures)
    latest = recovered[-1] if recovered else place.next_session
    number = job.session if job.session is not None else latest
    return Session(place, number, place.recordings(number), plan)


async def _record(job: RecordJob, session: Session, path: Path) -> None:
    """Everything between the first frame and the last; what arrived is in the journal, however this ends."""
    plan, rng = session.plan, np.random.default_rng(job.seed)
    async with open_link(job.url, data_dir=job.data_dir) as link:
        hello = link.hello
        session.place.check_board(hello, plan)
        prompter = Prompter(
            plan.prompts(rng, session.done), plan.timing, hello.sample_rate_hz, done=len(session.done)
        )
        screen = choose_screen(hello.num_channels, hello.sample_rate_hz, hello.uv_per_count)
        with Journal.create(path, _header(session, link)) as journal, screen:
            desk = Desk(link, SampleTracker(hello), prompter, journal, screen)
            async with aclosing(desk):
                async with until_stopped():
                    await desk.run()
                    if not prompter.done:
                        raise LinkError(f"{link.url}: ended before everything was asked")
                    if job.ask:
                        await _repeat(desk, session, hello.sample_rate_hz)
                desk.note_link()


def _header(session: Session, link: Link) -> JournalHeader:
    place, plan = session.place, session.plan
    started_s = time.time()
    return JournalHeader(
        place.subject, session.number, plan.gestures, link.url, link.hello, started_s, plan.to_json()
    )


async def _repeat(desk: Desk, session: Session, sample_rate_hz: float) -> None:
    """Ask again for what the check names, once, if the person agrees."""
    found = check_holds(list((session.signals | desk.held).values()), sample_rate_hz)
    named = [r for r in found.repeat if Prompt(r.gesture, r.repetition) in desk.held]
    if not named or not sys.stdin.isatty():
        return
    what = "this" if len(named) == 1 else f"these {len(named)}"
    question = "\n".join([*(repeat.sentence() for repeat in named), f"Repeat {what} now? [Y/n]"])
    if await desk.confirm(question):
        desk.ask([Prompt(r.gesture, r.repetition) for r in named])
        await desk.run()


def _latest_file(session: Session) -> Path:
    """The last recording of a session."""
    headers, subject = session.place.headers, session.place.subject
    return max(p for p, h in headers.items() if (h.subject, h.session) == (subject, session.number))


def _result(session: Session, recording: Recording, file: Path) -> dict[str, Any]:
    """What came out, as plain values."""
    trials = [HoldSignal.of(trial) for trial in recording.trials()]
    signals = session.signals | {trial.prompt: trial for trial in trials}
    start_s = float(recording.time_s[0])
    good = {trial.prompt for trial in trials if trial.damaged_share <= DAMAGED}
    total, done = session.plan.num_prompts, len(session.done | good)
    return {
        "file": str(file),
        "subject": recording.subject,
        "session": recording.session,
        "holds": [
            {
                "gesture": hold.gesture,
                "repetition": hold.repetition,
                "start_s": hold.start_s - start_s,
                "end_s": hold.end_s - start_s,
                "damaged": trial.damaged_share > DAMAGED,
                "damaged_share": trial.damaged_share,
            }
            for hold, trial in zip(recording.holds, trials, strict=True)
        ],
        "seconds": len(recording.emg) / recording.sample_rate_hz,
        "link": None if recording.link is None else recording.link.to_json(),
        "check": check_holds(list(signals.values()), recording.sample_rate_hz).to_json(),
        "resumed": bool(session.earlier),
        "done": done,
        "total": total,
        "complete": done == total,
    }


def check_record(result: Mapping[str, Any]) -> None:
    """Say how to go on where something is missing.

    Raises:
        DataError: the link lost too much of some holds, whenever they were asked for.
        KeyboardInterrupt: the person stopped before the end.
    """
    damaged = sum(hold["damaged"] for hold in result["holds"])
    if damaged and result["done"] + damaged >= result["total"]:
        raise DataError(
            f"{damaged} of {result['total']} holds are damaged: the link loses too much; improve it, and go on with "
            f"the same command and --session {result['session']}"
        )
    if not result["complete"]:
        sys.stderr.write(
            f"{result['done']} of {result['total']} are done and kept; to go on, run the same command with "
            f"--session {result['session']}\n"
        )
        raise KeyboardInterrupt


def record_text(result: Mapping[str, Any]) -> str:
    """For people; channels and repetitions count from 1 there."""
    link, check = result["link"] or {}, result["check"]
    lost = link.get("lost_samples", 0)
    lines = [
        f"{result['file']}: {len(result['holds'])} holds in {result['seconds']:.0f} s, {lost} samples lost",
        "",
        f"{'gesture':20} {'right':>6} {'strength':>11} {'over rest':>10} {'damaged':>8}",
    ]
    lines += [_gesture_line(name, found) for name, found in check["per_gesture"].items()]
    lines += ["", *(repeat["message"] for repeat in check["repeat"])]
    return "\n".join(lines if check["repeat"] else [*lines, "nothing needs to be repeated"])


def _gesture_line(name: str, found: Mapping[str, Any]) -> str:
    right = "-" if found["accuracy"] is None else f"{found['accuracy']:.0%}"
    over = "-" if found["over_rest_db"] is None else f"{found['over_rest_db']:.0f} dB"
    return f"{name:20} {right:>6} {found['amplitude_uv']:>8.1f} µV {over:>10} {found['damaged_share']:>8.0%}"
