"""The page of all runs, in a real browser."""

import csv
import io
import urllib.request

import pytest
from browser import chromium, screenshot, watching
from some_runs import HOSTILE, append_round, write_facts, write_runs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return write_runs(tmp_path_factory.mktemp("runs"))


@pytest.fixture(scope="module")
def address(folder):
    with watching(folder) as (found, _):
        yield found


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def open_runs(browser, address):
    contexts = []

    def opened(path="/runs", *, width=1280, colors="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=colors)
        contexts.append(context)
        page = context.new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(error))  # noqa: PLW0108  playwright marks what it calls
        page.goto(address + path)
        page.wait_for_selector(".runs-link, .runs-empty")
        return page

    yield opened
    for context in contexts:
        context.close()


def names(page):
    return page.locator("tbody .runs-link").all_inner_texts()


def row(page, name):
    return page.locator("tbody tr", has=page.get_by_role("link", name=name, exact=True))


def test_every_run_is_a_row_and_a_broken_one_says_why(open_runs):
    page = open_runs()
    assert set(names(page)) == {"good", "fair", "growing", "broken", HOSTILE}
    assert "90.0 %" not in row(page, "fair").inner_text()
    assert "95.0 %" in row(page, "good").inner_text()
    assert "personalised, with teacher" in row(page, "good").inner_text()
    assert "run.json is not readable" in row(page, "broken").inner_text()
    screenshot(page, "runs-1280")


def test_text_of_a_record_never_becomes_markup(open_runs):
    page = open_runs()
    assert page.locator("img, tbody script").count() == 0
    assert "<script>" in row(page, HOSTILE).inner_text()
    assert page.title() == "Runs · myofed"


def test_numbers_sort_as_numbers_and_what_is_missing_comes_last(open_runs):
    page = open_runs()
    heading = page.get_by_role("columnheader", name="Accuracy")
    heading.focus()
    page.keyboard.press("Enter")
    assert heading.get_attribute("aria-sort") == "ascending"
    assert names(page)[:2] == ["fair", "good"]
    page.keyboard.press("Enter")
    assert names(page)[:2] == ["good", "fair"]
    assert heading.get_attribute("aria-sort") == "descending"


def test_one_field_filters_over_everything_that_is_shown(open_runs):
    page = open_runs()
    page.get_by_label("Filter runs").fill("tiny completed")
    page.wait_for_function("document.querySelectorAll('tbody .runs-link').length === 1")
    assert names(page) == ["fair"]
    assert "1 of 5 runs" in page.locator(".runs-count").inner_text()
    page.get_by_label("Filter runs").fill("nothing has this")
    page.get_by_role("button", name="Show all runs").click()
    assert len(names(page)) == 5


def test_a_picker_leaves_one_state_and_the_address_remembers_it(open_runs):
    page = open_runs()
    page.get_by_label("State").click()
    page.get_by_role("option", name="unreadable").click()
    page.keyboard.press("Escape")
    page.wait_for_function("location.search.includes('state=unreadable')")
    assert names(page) == ["broken"]
    page.reload()
    page.wait_for_selector("tbody .runs-link")
    assert names(page) == ["broken"]


def test_a_running_row_changes_in_place_and_only_it_is_sent(open_runs, folder):
    page = open_runs()
    row(page, "good").get_by_role("checkbox").click()
    page.get_by_label("Filter runs").fill("synthetic")
    heading = page.get_by_role("columnheader", name="Run", exact=True)
    heading.click()
    frames = []
    page.on("websocket", lambda _: pytest.fail("the page was loaded again"))
    session = page.context.new_cdp_session(page)
    session.send("Network.enable")
    session.on("Network.webSocketFrameReceived", lambda e: frames.append(e["response"]["payloadData"]))
    append_round(folder / "growing", 2)
    page.wait_for_function(
        "[...document.querySelectorAll('tbody tr')]"
        ".some(r => ['growing', '2 of 20'].every(words => r.innerText.includes(words)))",
        timeout=20_000,
    )
    assert heading.get_attribute("aria-sort") == "ascending"
    assert page.get_by_label("Filter runs").input_value() == "synthetic"
    assert row(page, "good").get_by_role("checkbox").get_attribute("aria-checked") == "true"
    sent = "".join(frame for frame in frames if "put" in frame)
    assert "growing" in sent
    assert "good" not in sent
    assert "fair" not in sent


def test_a_new_run_appears_by_itself_and_goes_when_it_is_gone(open_runs, folder):
    page = open_runs()
    write_facts(folder / "newcomer", started="2026-11-20T15:00:00+00:00")
    page.get_by_role("link", name="newcomer", exact=True).wait_for(timeout=20_000)
    (folder / "newcomer" / "run.json").unlink()
    (folder / "newcomer").rmdir()
    page.get_by_role("link", name="newcomer", exact=True).wait_for(state="detached", timeout=20_000)
    assert page.errors == []


def test_two_runs_that_are_picked_can_be_compared(open_runs):
    page = open_runs()
    row(page, "good").get_by_role("checkbox").click()
    assert page.get_by_role("link", name="Compare").count() == 0
    row(page, "fair").get_by_role("checkbox").click()
    page.get_by_role("link", name="Compare 2 runs").click()
    page.wait_for_url("**/compare?runs=good&runs=fair")


def test_a_column_can_be_hidden_and_stays_so(open_runs):
    page = open_runs()
    page.get_by_role("button", name="Columns").click()
    page.get_by_role("checkbox", name="Student", exact=True).click()
    page.get_by_role("columnheader", name="Student").wait_for(state="detached")
    page.reload()
    page.wait_for_selector("tbody .runs-link")
    assert page.get_by_role("columnheader", name="Student").count() == 0


@pytest.mark.parametrize("colors", ["light", "dark"])
def test_on_a_phone_runs_are_cards_and_nothing_scrolls_sideways(open_runs, colors):
    page = open_runs(width=390, colors=colors)
    assert page.locator(".run-card").count() == 5
    assert page.locator("tbody").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    screenshot(page, f"runs-390-{colors}")


def test_the_table_can_be_downloaded(address):
    def downloaded(query):
        with urllib.request.urlopen(f"{address}/runs.csv{query}") as answer:  # noqa: S310  our own server
            assert answer.headers["Content-Disposition"] == 'attachment; filename="runs.csv"'
            return list(csv.DictReader(io.StringIO(answer.read().decode())))

    assert {run["run"] for run in downloaded("")} >= {"good", "fair", "growing", "broken", HOSTILE}
    assert [run["accuracy"] for run in downloaded("?runs=good")] == ["0.95"]


def test_a_folder_that_is_not_there_yet_says_what_to_do(browser, tmp_path):
    with watching(tmp_path / "nowhere") as (address, _):
        page = browser.new_page()
        page.goto(f"{address}/runs")
        page.wait_for_selector(".runs-empty")
        assert f"myofed simulate --run-dir {tmp_path}/nowhere" in page.inner_text(".runs-empty .mono")
        page.close()
