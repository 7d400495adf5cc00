"""The folder that the dashboard's benchmark looks at is one of real records."""

import json
import subprocess
import sys
from pathlib import Path

from server.history.shelf import Shelf

SCRIPT = Path(__file__).parents[2] / "benchmarks" / "many_runs.py"


def test_many_runs_are_complete_and_the_last_one_goes_on(tmp_path):
    size = ["--runs", "6", "--rounds", "8", "--clients", "5", "--validation", "2"]
    command = [sys.executable, str(SCRIPT), str(tmp_path / "runs"), *size, "--json"]
    found = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    assert found["bytes"] > 6 * 8 * 5 * 100
    shelf = Shelf(tmp_path / "runs")
    newest, *others = shelf.summaries()
    assert (newest.state, newest.rounds_done, newest.rounds_planned) == ("running", 4, 8)
    assert {(run.state, run.rounds_done) for run in others} == {("completed", 8)}
    history = shelf.history(others[0].name)
    while history.follow():
        pass
    assert history.problems == ()
    (part,) = history.parts.values()
    assert (len(part.rows), len(part.clients)) == (8, 5)
