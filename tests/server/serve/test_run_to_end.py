"""What a run of a deployment does about failures: with a SuperLink of a few lines in place of Flower's."""

import json
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from protocols.errors import AggregationError, ConfigError, LinkError
from server.serve import served_run
from server.serve.served_experiment import new_run, read_served
from server.serve.server_folder import ServerFolder

EXPERIMENT = """
name: three-sites
signal: {gestures: [rest, fist], sample_rate_hz: 200, channels: 8}
student: convonly
federation: {rounds: 2}
"""


class Link:
    """A SuperLink whose runs end at once, with these words in their log; or that takes none."""

    def __init__(self, words="", refuses=False):
        self.words, self.refuses, self.asked = words, refuses, 0

    def start_run(self, _plan):
        self.asked += 1
        if self.refuses:
            raise LinkError("SuperLink: could not start the run: 403 no")
        return self.asked

    def run_status(self, _run_id):
        return "finished:failed"

    def log(self, _run_id):
        return f"Traceback (most recent call last):\n{self.words}\nERROR :     Exit Code: 201\n"


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text(EXPERIMENT)
    experiment, text = read_served(path)
    return new_run(experiment, (str(path), text), tmp_path / "runs")


def run_with(link, run, monkeypatch):
    @contextmanager
    def control(_folder):
        yield link

    monkeypatch.setattr(served_run, "open_control", control)
    monkeypatch.setattr(served_run, "_pause", lambda *_: None)
    deployment = SimpleNamespace(
        folder=ServerFolder(run.parent / "server"),
        superlink=SimpleNamespace(restarts=0),
        answers=lambda: True,
    )
    return served_run.run_to_end(deployment, run)


def test_a_wrong_setting_ends_the_run_at_its_first_attempt(run, monkeypatch):
    link = Link("protocols.errors.ConfigError: privacy.kind: found 'user', expected a client that can")
    with pytest.raises(ConfigError) as caught:
        run_with(link, run, monkeypatch)
    assert str(caught.value) == "privacy.kind: found 'user', expected a client that can"
    assert link.asked == 1
    assert "privacy.kind" in (run / "serverapp.log").read_text()


def test_another_failure_is_tried_three_times(run, monkeypatch):
    link = Link("protocols.errors.DataError: no ConfigError: a file that may come back")
    with pytest.raises(AggregationError, match="3 times without a new round"):
        run_with(link, run, monkeypatch)
    assert link.asked == 3
    events = [json.loads(line)["event"] for line in (run / "rounds.jsonl").read_text().splitlines()]
    assert events.count("restart") == 2


def test_a_superlink_that_takes_no_run_is_not_asked_for_ever(run, monkeypatch):
    link = Link(refuses=True)
    with pytest.raises(LinkError, match=f"403 no; asked {served_run.SUBMIT_TRIES} times"):
        run_with(link, run, monkeypatch)
    assert link.asked == served_run.SUBMIT_TRIES
