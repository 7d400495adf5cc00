"""A real federation, watched in a real browser: it runs, is killed, goes on, and completes, without reloading."""

import signal
import subprocess

import pytest
from browser import chromium, screenshot, watching
from tiny import MYOFED, write_tiny

from simulations.synthetic import write_dataset

ROUNDS = 20  # enough to be killed in the middle
SLOW_MS = 60_000  # what a loaded machine may take
LATEST_ROUND = r"""([least, selector, attribute]) => {
    const element = document.querySelector(selector)
    const text = (attribute ? element?.getAttribute(attribute) : element?.innerText) ?? ""
    return Math.max(0, ...[...text.matchAll(/round (\d+)/g)].map((found) => +found[1])) >= least
}"""
OUTCOME = "p => new RegExp(p).test(document.querySelector('.outcome')?.innerText ?? '')"


@pytest.fixture
def experiment(tmp_path):
    write_dataset(tmp_path / "people", num_people=6, seed=0, repetitions=2, sessions=1)
    path = write_tiny(tmp_path, tmp_path / "people", rounds=ROUNDS)
    path.write_text(path.read_text().replace("others}", "others, validation: 1}"))
    return path


def simulate(*arguments):
    command = [MYOFED, "simulate", *map(str, arguments), "--workers", "1"]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


def wait_for_round(page, number):
    """Until the outcome line, and the chart in its own words, have come to this round."""
    for where in ((".outcome", ""), (".curves-plot", "aria-label")):
        page.wait_for_function(LATEST_ROUND, arg=[number, *where], timeout=SLOW_MS)


def wait_for_outcome(page, pattern):
    page.wait_for_function(OUTCOME, arg=pattern, timeout=SLOW_MS)


def test_a_federation_is_seen_to_run_to_be_killed_and_to_go_on(tmp_path, experiment):
    """One page, never reloaded, from the first round to the final figures, over a kill -9 of the simulation."""
    runs = tmp_path / "runs"
    with chromium() as browser, watching(runs) as (address, _):
        page = browser.new_page()
        errors = []
        page.on("pageerror", lambda error: errors.append(error))  # noqa: PLW0108  playwright marks what it calls
        page.goto(address)
        run = simulate(experiment, "--method", "federated", "--run-dir", runs)
        try:
            page.wait_for_url("**/run/*", timeout=SLOW_MS)
            page.evaluate("window.neverReloaded = true")
            wait_for_round(page, 3)
            wait_for_round(page, 6)
        finally:
            run.send_signal(signal.SIGKILL)
            run.wait()
        wait_for_outcome(page, "^stopped")
        assert "--resume" in page.locator("#main").inner_text()
        (folder,) = runs.iterdir()
        assert simulate("--resume", folder).wait() == 0
        wait_for_outcome(page, "^completed.*2 tested people")
        assert page.evaluate("window.neverReloaded") is True
        screenshot(page, "federation-completed")
        assert errors == []
