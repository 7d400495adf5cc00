"""`myofed board live`: a board, a student, and the gestures as they are made."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Console

from device.asking import Asker
from device.clock import board_speed
from device.links import open_link
from device.live.check import Check
from device.live.gestures import DEBOUNCE_S, decider
from device.live.hops import Predictor, check_fit
from device.live.person import only_person
from device.live.screen import LiveScreen
from device.live.session import Session
from device.live.student_version import student_version
from device.stopping import until_stopped
from device.tracker import SampleTracker
from distillation.datasets import open_dataset
from protocols.errors import ConfigError, LinkError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from device.links import Link
    from device.live.hops import StudentStream
    from device.live.session import Audience

SILENT_S = 3.0  # without a sample for this long, the person is told


@dataclass(frozen=True, slots=True)
class LiveJob:
    """What to follow, with whose student.

    Args:
        url: of the board.
        student: its file.
        recordings: folder or name of own recordings, which renew its scale and normalisation; None: as its file says.
        subject: whose of them; None: the only person's.
        threshold: probability at which a gesture counts; None: 0.35 of event students, as in CLER, 0.5 of others.
        debounce_s: see `device.live.gestures`.
        publish: a broker's address; None: nowhere.
        home_assistant: announce a sensor there.
        channel_map: from the donning check; None: channels as they come.
        check: how often each gesture is prompted; 0: not at all.
        seconds: how long; None: until stopped.
        seed: of the check's order; None: another one each time.
        data_dir: where datasets lie.
    """

    url: str
    student: Path
    recordings: str | None = None
    subject: str | None = None
    threshold: float | None = None
    debounce_s: float = DEBOUNCE_S
    publish: str | None = None
    home_assistant: bool = False
    channel_map: tuple[int, ...] | None = None
    check: int = 0
    seconds: float | None = None
    seed: int | None = None
    data_dir: Path | None = None

    def __post_init__(self) -> None:
        """ConfigError: a time that is none."""
        if self.seconds is not None and not 0 < self.seconds < math.inf:
            raise ConfigError(f"seconds: found {self.seconds:g}, expected a number above 0")


def run_live(job: LiveJob) -> dict[str, Any]:
    """Follow a board until it is stopped, the time is over or the check is done.

    Returns:
        gestures, events (the latest, as published), hops, latency_ms (p50, p99), link (its quality), check (see
        `device.live.check`, or None).

    Raises:
        ConfigError: something asked for that cannot be.
        DataError: a student, recordings and a board that do not fit each other.
        LinkError: no board, no broker, no samples, or an end before that of the check.
    """
    if job.home_assistant and job.publish is None:
        raise ConfigError("--home-assistant: found no broker, name it with --publish mqtt://HOST")
    if job.publish is not None:
        from device.live.publish import broker_url

        broker_url(job.publish)  # a wrong address is said before the slow part
    return asyncio.run(follow_board(job, ready_student(job)))


def ready_student(job: LiveJob) -> StudentStream:
    """The student at its first sample, calibrated by the recordings if there are any.

    Raises:
        DataError: a file that is no student, or recordings that do not fit it.
    """
    # The one place where this room reaches torch: here, not when it is imported.
    from distillation.student_runtime import calibrated, read_student

    student = read_student(job.student)
    if job.recordings is not None:
        dataset = open_dataset(job.recordings, job.data_dir)
        student = calibrated(student, dataset.recordings(only_person(dataset, job.subject)))
    return student.stream()


async def follow_board(job: LiveJob, student: StudentStream) -> dict[str, Any]:
    """Open the link, and follow it; see `run_live`."""
    screen = LiveScreen(Console(stderr=True))
    async with open_link(job.url, data_dir=job.data_dir) as link:
        check_fit(student, link.hello, job.channel_map)
        with ExitStack() as stack:
            audience: list[Audience] = [screen]
            if job.publish is not None:
                from device.live.publish import publishing

                told = publishing(
                    job.publish,
                    link.hello,
                    student.gestures,
                    home_assistant=job.home_assistant,
                    version=student_version(job.student),
                )
                audience.append(stack.enter_context(told))
            session, tracker = new_session(job, student, link, audience)
            stack.enter_context(screen.shown())
            asker = None if session.check is None else Asker(link, tracker, session.check.prompter)
            async with until_stopped(job.seconds):
                await follow(link, session, asker, screen)
        return result(student.gestures, session, tracker.quality(link).to_json(), link.hello.board_id)


def new_session(
    job: LiveJob, student: StudentStream, link: Link, audience: list[Audience]
) -> tuple[Session, SampleTracker]:
    """A session before its first frame."""
    hello, is_events = link.hello, student.is_events
    tracker = SampleTracker(hello)
    rng = np.random.default_rng(job.seed)
    check = (
        Check(student.gestures, job.check, hello.sample_rate_hz, rng=rng, is_events=is_events)
        if job.check
        else None
    )
    session = Session(
        tracker,
        Predictor(student, job.channel_map),
        decider(student.gestures, is_events=is_events, threshold=job.threshold, debounce_s=job.debounce_s),
        audience,
        speed=board_speed(hello),
        check=check,
        now_s=time.time,
    )
    return session, tracker


async def follow(link: Link, session: Session, asker: Asker | None, screen: LiveScreen) -> None:
    """Frame by frame, until the stream ends or the check is done; LinkError where the board cannot be asked."""
    silence = asyncio.create_task(tell_silence(link, session, screen))
    try:
        async for frame in link:
            for event, scene in session.take(frame, link.arrived_s):
                screen.ask(event, scene)
                if asker is not None:
                    asker.take(event)
            if asker is not None:
                asker.check()
            if session.done:
                return
    finally:
        silence.cancel()
        if asker is not None:
            await asker.aclose()


async def tell_silence(link: Link, session: Session, screen: LiveScreen) -> None:
    """Tell the person, once each time, that nothing comes from the board."""
    pieces, told = -1, False
    while True:
        if session.num_pieces != pieces:
            pieces, told = session.num_pieces, False
        elif not told:
            lost = "sends no samples" if link.connected else "is gone; looking for it"
            screen.say(f"board {link.hello.board_id} {lost}")
            told = True
        await asyncio.sleep(SILENT_S)


def result(
    gestures: tuple[str, ...], session: Session, link: Mapping[str, Any], board: str
) -> dict[str, Any]:
    """What is reported; LinkError where the job was not done."""
    if session.num_pieces == 0:
        raise LinkError(f"board {board} sent no samples; does `myofed board info` see any?")
    check = session.check
    if check is not None and not check.done:
        scene = check.scene
        raise LinkError(
            f"the stream ended before prompt {scene.number} of {scene.total} of the check was done"
        )
    latency = session.latency.percentiles_ms()
    return {
        "gestures": list(gestures),
        "latency_ms": None if latency is None else {"p50": latency[0], "p99": latency[1]},
        "hops": session.num_hops,
        "check": None if check is None else check.to_json(),
        "link": dict(link),
        "events": list(session.events),
    }


def live_text(found: Mapping[str, Any]) -> str:
    """The result as people read it."""
    lines = [f"{found['hops']} hops, {len(found['events'])} changes of the gesture"]
    if found["latency_ms"]:
        p50, p99 = found["latency_ms"]["p50"], found["latency_ms"]["p99"]
        lines.append(f"from sample to gesture: {p50:.0f} ms in half of the cases, {p99:.0f} ms in 99 %")
    lines.append(f"frames lost: {found['link']['lost_frames']} of {found['link']['frames']}")
    if found["check"]:
        lines += check_lines(found["check"])
    return "\n".join(lines)


def check_lines(check: Mapping[str, Any]) -> list[str]:
    """The accuracy, in all and by gesture."""

    def percent(share: float | None) -> str:
        return "  –  " if share is None else f"{100 * share:5.1f} %"

    rows = [f"  {percent(share)}  {name}" for name, share in check["per_gesture"].items()]
    head = f"right: {percent(check['accuracy']).strip()} of the {check['unit']}, "
    return [f"{head}{percent(check['prompts_right']).strip()} of {check['prompts']} prompts", *rows]
