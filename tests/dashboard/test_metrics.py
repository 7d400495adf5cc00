"""What Prometheus scrapes."""

import asyncio
import threading
import time
from pathlib import Path

import httpx
import pytest
from browser import watching
from prometheus_client.parser import text_string_to_metric_families
from run_folders import NAMES, healthy, killed, running

from protocols.board_status import BoardStatus
from server.dashboard.metrics import GAUGES, MAX_LABEL, Scraper, label
from server.dashboard.state import Site
from server.history.shelf import Shelf


def scraped(text):
    """{(gauge, labels…): value}, as Prometheus reads it; a sample that comes twice is an error to it."""
    found = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            _, labels = GAUGES[sample.name]
            key = (sample.name, *(sample.labels[name] for name in labels))
            assert key not in found
            found[key] = sample.value
    return found


def now(scrape, boards=()):
    """What a scrape finds, all of it."""
    found = scraped(asyncio.run(scrape.text(boards)).decode())
    assert found.pop(("myofed_scrape_complete",)) == 1
    return found


def scraper(folder):
    return Scraper(Site(folder=folder, shelf=Shelf(folder)))


def test_a_finished_run_in_numbers(tmp_path):
    healthy(tmp_path / "done", rounds=4, people=6)
    found = now(scraper(tmp_path))
    assert found["myofed_run_running", "done"] == 0
    assert found["myofed_rounds", "done", "federated"] == 4
    assert found["myofed_rounds_planned", "done", "federated_distilled"] == 4
    assert found["myofed_round_clients", "done", "federated", "answered"] == 6
    assert found["myofed_round_clients", "done", "federated", "rejected"] == 0
    assert found["myofed_round_seconds", "done", "federated"] == 1
    mean, worst = (
        found["myofed_accuracy_ratio", "done", "federated", over] for over in ("mean", "worst_decile")
    )
    assert 0 < worst < mean < 1
    assert 0 < found["myofed_test_accuracy_ratio", "done", "lda"] < 1
    assert found["myofed_traffic_bytes", "done", "federated", "up"] > 4 * 6 * 261_458


def test_a_running_run_goes_on_from_scrape_to_scrape(tmp_path):
    scrape = scraper(tmp_path)
    with running(tmp_path / "now", done=2) as run:
        before = now(scrape)
        run.append_round(dropped=run.writer.clients[:1], rejected=run.writer.clients[1:2])
        after = now(scrape)
    assert before["myofed_run_running", "now"] == 1
    assert (before["myofed_rounds", "now", "federated"], after["myofed_rounds", "now", "federated"]) == (2, 3)
    states = ("asked", "answered", "dropped", "rejected")
    assert [after["myofed_round_clients", "now", "federated", state] for state in states] == [6, 4, 1, 1]
    assert now(scrape)["myofed_run_running", "now"] in (0, 1)


def test_only_the_newest_runs_are_scraped_and_all_that_run(tmp_path):
    for number in range(25):
        healthy(tmp_path / f"run{number:02}", rounds=1, methods=("federated",), started_s=1.7e9 + number)
    with running(tmp_path / "old", started_s=1.6e9, done=1):
        found = now(scraper(tmp_path))
    names = {key[1] for key in found if key[0] == "myofed_run_running"}
    assert names == {"old", *(f"run{number:02}" for number in range(5, 25))}


def test_finished_runs_are_read_once(tmp_path, monkeypatch):
    healthy(tmp_path / "done", rounds=2)
    scrape = scraper(tmp_path)
    first = now(scrape)
    monkeypatch.setattr("server.history.history.History.follow", lambda _: pytest.fail("read again"))
    assert now(scrape) == first


def test_half_written_and_broken_runs_are_no_error(tmp_path):
    killed(tmp_path / "killed")
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "run.json").write_bytes(b"\xff{")
    (tmp_path / "broken" / "rounds.jsonl").write_bytes(b'{"event": "round", "round": 1e400}\n[]\n\x00\n')
    found = now(scraper(tmp_path))
    assert found["myofed_rounds", "killed", "federated"] == 7
    assert ("myofed_run_running", "broken") in found


def test_a_folder_that_is_not_there_has_nothing_to_say(tmp_path):
    assert now(scraper(tmp_path / "none")) == {}


def test_a_scrape_is_answered_in_time_with_what_was_known_before(tmp_path, monkeypatch):
    healthy(tmp_path / "done", rounds=2)
    scrape = scraper(tmp_path)
    before = now(scrape)
    slow = threading.Event()
    summaries = scrape.site.shelf.summaries
    monkeypatch.setattr("server.dashboard.metrics.ANSWER_S", 0.1)
    monkeypatch.setattr(scrape.site.shelf, "summaries", lambda: slow.wait(30) and summaries())

    async def scrape_thrice():
        told = [scraped((await scrape.text(())).decode()) for _ in range(2)]
        assert threading.active_count() < 10
        slow.set()
        while (last := scraped((await scrape.text(())).decode()))["myofed_scrape_complete",] == 0:
            pass
        return told, last

    began_s = time.monotonic()
    told, last = asyncio.run(scrape_thrice())
    assert time.monotonic() - began_s < 10
    assert told == [before | {("myofed_scrape_complete",): 0}] * 2
    assert last == before | {("myofed_scrape_complete",): 1}


def test_records_for_which_there_was_no_time_are_read_by_the_next_scrapes(tmp_path, monkeypatch):
    healthy(tmp_path / "done", rounds=2)
    scrape = scraper(tmp_path)
    monkeypatch.setattr("server.dashboard.metrics.NEW_WORK_S", -1)
    found = scraped(asyncio.run(scrape.text(())).decode())
    assert found["myofed_scrape_complete",] == 0
    assert ("myofed_rounds", "done", "federated") not in found
    monkeypatch.setattr("server.dashboard.metrics.NEW_WORK_S", 3)
    assert now(scrape)["myofed_rounds", "done", "federated"] == 2


@pytest.mark.parametrize("name", NAMES)
def test_names_stay_short_printable_and_different(name):
    assert len(label(name)) <= MAX_LABEL
    assert label(name).isprintable() or "\u200d" in label(name)
    assert label(name) != label(name + " ")
    label(name).encode()


def test_boards_of_any_name_are_scraped():
    boards = [
        BoardStatus(
            board_id='emg-1"\n} 1',
            online=True,
            streaming=True,
            measured_rate_hz=999.5,
            loss=0.01,
            battery_mv=3700,
        ),
        BoardStatus(board_id="emg-2"),
        BoardStatus(board_id="idle", measured_rate_hz=200.0, loss=0.0),
        BoardStatus(board_id="emg-3", online=False, measured_rate_hz=float("nan")),
    ]
    found = now(scraper(Path("/nonexistent")), boards)
    hostile = label('emg-1"\n} 1')
    assert found == {
        ("myofed_board_online", hostile): 1,
        ("myofed_board_rate_hz", hostile): 999.5,
        ("myofed_board_loss_ratio", hostile): 0.01,
        ("myofed_board_battery_volts", hostile): 3.7,
        ("myofed_board_online", "emg-3"): 0,
    }


def test_the_page_serves_both(tmp_path):
    healthy(tmp_path / "done", rounds=2)
    with watching(tmp_path) as (address, _):
        metrics = httpx.get(f"{address}/metrics")
        health = httpx.get(f"{address}/healthz").json()
    assert metrics.headers["content-type"].startswith("text/plain; version=")
    assert scraped(metrics.text)["myofed_rounds", "done", "federated"] == 2
    assert health["status"] == "ok"
    assert set(health) == {"status", "version"}
