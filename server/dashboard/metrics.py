"""`/metrics` for Prometheus, and `/healthz` for whoever keeps the page running.

What the latest runs and the boards say at the moment of the scrape; nothing is kept but the figures of finished runs.
"""

from __future__ import annotations

import asyncio
import hashlib
import math
import time
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.requests import Request  # noqa: TC002  (FastAPI reads the annotation)
from starlette.responses import JSONResponse, PlainTextResponse, Response

from server.dashboard.layout import shown
from server.dashboard.login_page import address_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from fastapi import FastAPI
    from prometheus_client.core import Metric

    from protocols.board_status import BoardStatus
    from server.dashboard.login_page import Door
    from server.dashboard.state import Site
    from server.history.history import History
    from server.history.part import Part
    from server.history.summary import RunSummary

NEWEST = 20  # runs that are shown, and all that are running
NEW_WORK_S = 3.0  # reading long records anew stops after this; the rest comes with the next scrape
ANSWER_S = 5.0  # a scrape is answered after this with what was known before; Prometheus gives up after 10 s
MAX_LABEL = 80  # characters

# Name: (help, labels).
GAUGES: dict[str, tuple[str, tuple[str, ...]]] = {
    "myofed_scrape_complete": (
        "1 if all runs were read in time, else 0: their figures are an earlier scrape's, or missing.",
        (),
    ),
    "myofed_run_running": ("1 while the run goes on, else 0.", ("run",)),
    "myofed_rounds": ("Rounds that are over, of all seeds and folds.", ("run", "method")),
    "myofed_rounds_planned": ("Rounds that there are to be, of all seeds and folds.", ("run", "method")),
    "myofed_accuracy_ratio": (
        "Accuracy of the shared student on validation people, latest round; over: mean or worst_decile.",
        ("run", "method", "over"),
    ),
    "myofed_test_accuracy_ratio": ("Mean accuracy over tested people, by row of the result.", ("run", "row")),
    "myofed_round_clients": (
        "Clients of the latest round; state: asked, answered, dropped, rejected.",
        ("run", "method", "state"),
    ),
    "myofed_traffic_bytes": (
        "Bytes so far, evaluations and packs included; direction: up or down.",
        ("run", "method", "direction"),
    ),
    "myofed_round_seconds": ("How long the latest round took.", ("run", "method")),
    "myofed_board_online": ("1 if the board is connected, 0 if not.", ("board",)),
    "myofed_board_rate_hz": ("Measured samples a second; none while it does not stream.", ("board",)),
    "myofed_board_loss_ratio": (
        "Share of the last minute's samples that were lost; none while it does not stream.",
        ("board",),
    ),
    "myofed_board_battery_volts": ("Battery.", ("board",)),
}
Samples = dict[str, dict[tuple[str, ...], float]]  # by gauge, then by the labels' values


@dataclass
class Scraper:
    """Reads what a scrape asks for.

    Attributes:
        _finished: of runs that do not change any more, with the summary that they belong to.
        _followed: records that still grow, so that a scrape reads what is new only.
        _reading: one for all who scrape; it goes on in its thread where it takes longer than an answer may.
        _latest: what the last one found, and whether that was all.
    """

    site: Site
    _finished: dict[str, tuple[RunSummary, Samples]] = field(default_factory=dict)
    _followed: dict[str, History] = field(default_factory=dict)
    _reading: asyncio.Task[tuple[Samples, bool]] | None = None
    _is_all: bool = True
    _latest: tuple[Samples, bool] = field(default_factory=lambda: ({}, False))

    async def text(self, boards: Sequence[BoardStatus]) -> bytes:
        """All gauges in Prometheus' text format, within about `ANSWER_S`."""
        if self._reading is None or self._reading.done():
            self._reading = asyncio.create_task(asyncio.to_thread(self._read))
        reading = self._reading
        await asyncio.wait({reading}, timeout=ANSWER_S)
        if reading.done():
            self._latest = reading.result()
        runs, is_all = self._latest
        complete: Samples = {"myofed_scrape_complete": {(): float(reading.done() and is_all)}}
        registry = CollectorRegistry(auto_describe=False)
        registry.register(_Families(merged([complete, runs, board_samples(boards)])))
        return generate_latest(registry)

    def _read(self) -> tuple[Samples, bool]:
        """The samples of the runs, and whether there was time for all."""
        self._is_all = True
        samples = merged(self._runs())
        return samples, self._is_all

    def _runs(self) -> Iterable[Samples]:
        summaries = self.site.shelf.summaries()
        wanted = [s for i, s in enumerate(summaries) if i < NEWEST or s.state == "running"]
        names = {s.name for s in wanted}
        self._finished = {name: kept for name, kept in self._finished.items() if name in names}
        self._followed = {s.name: self._followed[s.name] for s in wanted if s.name in self._followed}
        deadline_s = time.monotonic() + NEW_WORK_S
        for summary in wanted:
            yield summary_samples(summary)
            yield self._rounds(summary, deadline_s)

    def _rounds(self, summary: RunSummary, deadline_s: float) -> Samples:
        kept = self._finished.get(summary.name)
        if kept is not None and kept[0] == summary:
            return kept[1]
        if summary.state == "unreadable":
            return {}
        is_new = summary.name not in self._followed
        if (is_new and time.monotonic() > deadline_s) or not self._read_on(summary, deadline_s):
            self._is_all = False
            return {}  # half a record says what was; the next scrape reads on
        history = self._followed[summary.name]
        samples = merged(method_samples(summary.name, m, history.of(m)) for m in history.methods())
        if summary.state != "running":
            self._finished[summary.name] = (summary, samples)
            self._followed.pop(summary.name, None)
        return samples

    def _read_on(self, summary: RunSummary, deadline_s: float) -> bool:
        """Whether a record could be read to its end in time."""
        from server.history.history import History

        history = self._followed.setdefault(summary.name, History(summary.folder))
        while history.follow():
            if time.monotonic() > deadline_s:
                return False
        return True


class _Families(Collector):
    def __init__(self, samples: Samples) -> None:
        self._samples = samples

    def collect(self) -> Iterable[Metric]:
        """One family a gauge that has samples."""
        for name, (help_text, labels) in GAUGES.items():
            if found := self._samples.get(name):
                family = GaugeMetricFamily(name, help_text, labels=labels)
                for values, number in found.items():
                    family.add_metric(values, number)
                yield family


def summary_samples(summary: RunSummary) -> Samples:
    """What the table of runs knows of a run."""
    run = label(summary.name)
    return known(
        {
            "myofed_run_running": {(run,): float(summary.state == "running")},
            "myofed_test_accuracy_ratio": {
                (run, label(row)): share for row, share in summary.accuracy.items()
            },
        }
    )


def method_samples(name: str, method: str, parts: Sequence[Part]) -> Samples:
    """What the record says of one method of a run."""
    from server.history.figures import accuracy_curves, traffic

    labels = (label(name), label(method))
    last = max((part.rows[-1] for part in parts if part.rows), key=lambda row: row.time_s, default=None)
    accuracy, bytes_so_far = accuracy_curves(parts), traffic(parts)
    over = {"mean": accuracy.mean.values[-1:], "worst_decile": accuracy.worst_decile.values[-1:]}
    return known(
        {
            "myofed_rounds": {labels: sum(len(part.rows) for part in parts)},
            "myofed_rounds_planned": {labels: sum(part.planned for part in parts)},
            "myofed_accuracy_ratio": {
                (*labels, key): value for key, latest in over.items() for value in latest
            },
            "myofed_traffic_bytes": {
                (*labels, "up"): bytes_so_far.total_up,
                (*labels, "down"): bytes_so_far.total_down,
            },
            "myofed_round_clients": {}
            if last is None
            else {
                (*labels, state): getattr(last, state)
                for state in ("asked", "answered", "dropped", "rejected")
            },
            "myofed_round_seconds": {} if last is None else {labels: last.seconds},
        }
    )


def board_samples(boards: Sequence[BoardStatus]) -> Samples:
    """What is known of the boards."""
    named = {(label(board.board_id),): board for board in boards}
    return known(
        {
            "myofed_board_online": {key: board.online for key, board in named.items()},
            "myofed_board_rate_hz": {
                key: board.measured_rate_hz for key, board in named.items() if board.streaming
            },
            "myofed_board_loss_ratio": {key: board.loss for key, board in named.items() if board.streaming},
            "myofed_board_battery_volts": {
                key: None if board.battery_mv is None else board.battery_mv / 1000
                for key, board in named.items()
            },
        }
    )


def known(samples: Mapping[str, Mapping[tuple[str, ...], float | None]]) -> Samples:
    """Without what nobody knows: None and nan."""
    return {
        name: {key: float(n) for key, n in found.items() if n is not None and math.isfinite(n)}
        for name, found in samples.items()
    }


def merged(pieces: Iterable[Samples]) -> Samples:
    """The samples of several runs as one."""
    together: Samples = {}
    for piece in pieces:
        for name, found in piece.items():
            together.setdefault(name, {}).update(found)
    return together


def label(text: str) -> str:
    """Untrusted text as a label's value: bounded and printable, and still a name of its own."""
    short = shown(text, MAX_LABEL)
    if short == text:
        return short
    return f"{shown(text, MAX_LABEL - 9)}~{hashlib.sha256(text.encode(errors='replace')).hexdigest()[:8]}"


def add_metrics(app: FastAPI, site: Site, door: Door | None) -> None:
    """The addresses /metrics and /healthz."""
    scraper = Scraper(site)

    @app.get("/metrics")
    async def metrics(request: Request) -> Response:
        if door is not None and (refusal := await refused(request, door)) is not None:
            return refusal
        boards = () if site.boards is None else site.boards.statuses()
        return Response(await scraper.text(boards), media_type=CONTENT_TYPE_LATEST)

    @app.get("/healthz")
    async def healthz() -> Response:  # asks no disk, and no thread that others may keep
        return JSONResponse(
            {"status": "ok", "version": own_version()},
            headers={"Cache-Control": "no-store"},
        )


async def refused(request: Request, door: Door) -> Response | None:
    """None for who is logged in, or sends the password as `Authorization: Bearer`."""
    if door.sessions.is_open(request.cookies.get(door.sessions.cookie, "")):
        return None
    scheme, _, word = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        headers = {"WWW-Authenticate": "Bearer"}
        return PlainTextResponse(
            "Send the password: Authorization: Bearer …\n", status_code=401, headers=headers
        )
    wait_s = await door.knock(address_of(request), word.strip())
    if wait_s > 0:
        headers = {"Retry-After": str(wait_s)}
        return PlainTextResponse(f"Too many tries; wait {wait_s} s.\n", status_code=429, headers=headers)
    return None if wait_s == 0 else PlainTextResponse("That is not the password.\n", status_code=401)


def own_version() -> str:
    """Of the installed package; empty in a checkout that is not installed."""
    try:
        return version("myofed")
    except PackageNotFoundError:
        return ""
