"""Dashboard: a folder of many long runs in a real browser, and TensorBoard on the same runs beside it.

Usage: python benchmarks/dashboard.py [--runs 100] [--rounds 500] [--clients 100] [--validation 10] [--updates 40]
       [--replayed 3600] [--no-tensorboard] [--json]

Writes the runs (about 15 MB each) into a temporary folder, starts `myofed watch` on it and opens it in Chromium; the
last run is still going on: rounds are appended to its record as its federation would, and the page shows them.
- first answer, all runs: from the start of the process to its first answer over HTTP, and to the page that names every
  run (TensorBoard: until its API has the last round of each). Ratios: TensorBoard's figure, divided by ours;
- view: from the address to the table, or the curves, on the screen;
- update: from a round appended to the record to the frame in which its curve is on the screen. The page looks once
  a second, so an update takes up to that by design; `beyond_poll` is what the slowest twentieth took on top;
- bytes: what the page's socket received, by update; CPU: the server's share of one core at one round a second;
- memory: of the server (resident) and the page (JavaScript, after garbage collection) before and after an hour's worth
  of updates appended as fast as they are taken in.
TensorBoard gets event files with as many figures of every round, but none of each person: it has no place for these.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from many_runs import ROUND_S, Size, Writer, add_size, write_runs
from tensorboard_runs import cpu_s, fetch, measure_tensorboard, resident_mb

from server.dashboard.run_page import EVERY_S

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

ROOT = Path(__file__).parents[1]
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--js-flags=--expose-gc",
]
READY = re.compile(r"http://\S+")
PATIENCE_S = 60  # for anything that is waited for
AT_ONCE = 60  # rounds appended between two looks of the page, where an hour is replayed
# When a chart says that it drew a round, the next two frames bring it to the screen.
PAINTED = r"""([round, patience]) => new Promise((done, fail) => {
  setTimeout(() => fail(new Error(`round ${round} was not drawn in time`)), patience);
  const drawn = () => [...document.querySelectorAll('.curves-plot')]
    .some((plot) => new RegExp(`round ${round}\\b`).test(plot.getAttribute('aria-label')));
  const look = () => drawn() && (watch.disconnect(),
    requestAnimationFrame(() => requestAnimationFrame(() => done(Date.now() / 1000))));
  const watch = new MutationObserver(look);
  watch.observe(document.body, { subtree: true, childList: true, attributes: true, attributeFilter: ['aria-label'] });
  look();
})"""


@dataclass(frozen=True, slots=True)
class Job:
    """What is measured.

    Attributes:
        size: of the folder.
        updates: how many rounds are timed one by one.
        replayed: how many are appended fast.
    """

    size: Size
    updates: int
    replayed: int


def main() -> None:
    """Measure, and print lines or one JSON object."""
    job, tensorboard, as_json = _options()
    with tempfile.TemporaryDirectory(prefix="myofed-bench-") as scratch:
        figures = measure(job, Path(scratch), tensorboard=tensorboard)
    if as_json:
        print(json.dumps(figures))
    else:
        print(
            "\n".join(
                f"{k:38} {v:,.4g}" if isinstance(v, float) else f"{k:38} {v:,}" for k, v in figures.items()
            )
        )


def _options() -> tuple[Job, bool, bool]:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    add_size(parser, Size())
    parser.add_argument("--updates", type=int, default=40, help="rounds timed one by one")
    parser.add_argument("--replayed", type=int, default=3600, help="rounds appended fast")
    parser.add_argument("--no-tensorboard", action="store_true")
    parser.add_argument("--json", action="store_true")
    asked = parser.parse_args()
    size = Size(asked.runs, asked.rounds, asked.clients, asked.validation)
    return Job(size, asked.updates, asked.replayed), not asked.no_tensorboard, asked.json


def measure(job: Job, scratch: Path, *, tensorboard: bool) -> dict[str, Any]:
    """Everything, in this order: the folder, the dashboard, TensorBoard."""
    needed = job.size.runs * job.size.rounds * (job.size.clients * 240 + job.size.validation * 600)
    if shutil.disk_usage(scratch).free < 2 * needed:
        sys.exit(
            f"dashboard: {scratch} has too little room for {needed / 1e6:,.0f} MB of runs; use fewer --runs"
        )
    began_s = time.perf_counter()
    runs = write_runs(scratch / "runs", job.size)
    figures: dict[str, Any] = {
        "runs": job.size.runs,
        "rounds": job.size.rounds,
        "clients": job.size.clients,
        "records_mb": sum((run / "rounds.jsonl").stat().st_size for run in runs) / 1e6,
        "written_s": time.perf_counter() - began_s,
    }
    figures |= measure_dashboard(job, scratch / "runs", runs)
    if tensorboard:
        figures |= measure_tensorboard(scratch / "events", job.size)
        for name in ("first_answer_s", "all_runs_s", "server_mb"):
            figures[f"{name}_tensorboard_ratio"] = figures[f"tensorboard_{name}"] / figures[name]
    return figures


def measure_dashboard(job: Job, folder: Path, runs: list[Path]) -> dict[str, Any]:
    """`myofed watch` and Chromium."""
    from playwright.sync_api import sync_playwright

    with watching(folder) as (address, process, found), sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium(), args=FLAGS)
        try:
            page = browser.new_page(viewport={"width": 1280, "height": 900})
            found |= {"view_runs_s": _until(page, f"{address}/runs", ".runs-link")}
            found["view_run_s"] = _view_run(page, f"{address}/run/{runs[0].name}", job.size.rounds)
            found["view_run_again_s"] = _view_run(page, f"{address}/run/{runs[0].name}", job.size.rounds)
            watched = Watched(job, page, process.pid, runs[-1])
            found["view_running_run_s"] = _view_run(page, f"{address}/run/{runs[-1].name}", watched.round)
            return found | watched.measure()
        finally:
            browser.close()


class Watched:
    """The run that goes on, and the page that shows it."""

    def __init__(self, job: Job, page: Page, server: int, run: Path) -> None:
        self._job, self._page, self._server = job, page, server
        self._record = run / "rounds.jsonl"
        self._writer = Writer(job.size, 99, started_s=time.time() - ROUND_S * job.size.rounds)
        self.round = job.size.rounds // 2
        self._received = Received(page)

    def measure(self) -> dict[str, Any]:
        """Updates one by one, at one a second, and an hour of them."""
        return self._updates() | self._load() | self._hour()

    def _append(self, rounds: int = 1) -> float:
        """Let so many rounds end now; returns when, Unix."""
        lines = [self._writer.round(self.round + 1 + i, time_s=time.time()) for i in range(rounds)]
        with self._record.open("ab") as record:
            record.write(b"".join(lines))
        self.round += rounds
        return time.time()

    def _updates(self) -> dict[str, Any]:
        took_s, num_bytes = [], []
        rng = np.random.default_rng(0)
        for _ in range(self._job.updates):
            time.sleep(EVERY_S * rng.random())  # at any phase of the page's looking
            before = self._received.num_bytes
            appended_s = self._append()
            took_s.append(self._page.evaluate(PAINTED, [self.round, 1e3 * PATIENCE_S]) - appended_s)
            num_bytes.append(self._received.num_bytes - before)
        beyond_s = np.percentile(took_s, 95) - EVERY_S
        return {
            "update_p50_ms": 1e3 * float(np.percentile(took_s, 50)),
            "update_p95_ms": 1e3 * float(np.percentile(took_s, 95)),
            "update_fastest_ms": 1e3 * min(took_s),
            "update_beyond_poll_ms": 1e3 * max(float(beyond_s), 0.0),
            "update_bytes_p50": int(np.percentile(num_bytes, 50)),
        }

    def _load(self, seconds: int = 20) -> dict[str, Any]:
        began_s, used_s = time.monotonic(), cpu_s(self._server)
        for second in range(1, seconds + 1):
            self._append()
            time.sleep(max(began_s + second - time.monotonic(), 0))
        elapsed_s = time.monotonic() - began_s
        return {"server_cpu_percent": 100 * (cpu_s(self._server) - used_s) / elapsed_s}

    def _hour(self) -> dict[str, Any]:
        before = self._memory()
        began_s, received = time.monotonic(), self._received.num_bytes
        for _ in range(self._job.replayed // AT_ONCE):
            self._append(AT_ONCE)
            self._page.evaluate(PAINTED, [self.round, 1e3 * PATIENCE_S])
        after = self._memory()
        return {
            "replayed_rounds": self._job.replayed,
            "replayed_s": time.monotonic() - began_s,
            "replayed_bytes_a_round": (self._received.num_bytes - received) / max(self._job.replayed, 1),
            "server_mb": before[0],
            "server_mb_after": after[0],
            "page_mb": before[1],
            "page_mb_after": after[1],
        }

    def _memory(self) -> tuple[float, float]:
        """Of the server and of the page, in MB."""
        session = self._page.context.new_cdp_session(self._page)
        session.send("HeapProfiler.collectGarbage")
        heap = session.send("Runtime.getHeapUsage")["usedSize"]
        session.detach()
        return resident_mb(self._server), heap / 1e6


class Received:
    """What the page's sockets have received so far."""

    def __init__(self, page: Page) -> None:
        self.num_bytes = 0
        page.on("websocket", lambda socket: socket.on("framereceived", self._count))

    def _count(self, payload: str | bytes) -> None:
        self.num_bytes += len(payload.encode() if isinstance(payload, str) else payload)


def _until(page: Page, address: str, selector: str) -> float:
    began_s = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector(selector, timeout=1e3 * PATIENCE_S)
    return time.perf_counter() - began_s


def _view_run(page: Page, address: str, last_round: int) -> float:
    began_s = time.time()
    page.goto(address, wait_until="domcontentloaded")
    return float(page.evaluate(PAINTED, [last_round, 1e3 * PATIENCE_S])) - began_s


@contextmanager
def watching(folder: Path) -> Iterator[tuple[str, subprocess.Popen[str], dict[str, Any]]]:
    """`myofed watch`; with how long it took to say that it answers, and to answer with all runs."""
    began_s = time.perf_counter()
    command = [sys.executable, str(ROOT / "myofed.py"), "watch", "--run-dir", str(folder), "--port", "0"]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    try:
        address = _address(process)
        ready_s = time.perf_counter() - began_s
        fetch(f"{address}/healthz")
        first_answer_s = time.perf_counter() - began_s
        page = fetch(f"{address}/runs")
        if missing := [run.name for run in folder.iterdir() if run.name not in page]:
            sys.exit(f"dashboard: the page of all runs lacks {len(missing)}, such as {missing[0]}")
        found = {
            "ready_s": ready_s,
            "first_answer_s": first_answer_s,
            "all_runs_s": time.perf_counter() - began_s,
        }
        yield address, process, found
    finally:
        process.terminate()
        process.wait(30)


def _address(process: subprocess.Popen[str]) -> str:
    said = ""
    for line in process.stderr or ():
        said += line
        if found := READY.search(line):
            threading.Thread(target=process.stderr.read, daemon=True).start()  # type: ignore[union-attr]
            return found.group().rstrip("/.,;)")
    sys.exit(f"dashboard: myofed watch ended with {process.wait()}: {said}")


def chromium() -> str:
    """The system's Chromium."""
    found = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found is None:
        sys.exit("dashboard: chromium is missing: install it with `make system`")
    return found


if __name__ == "__main__":
    main()
