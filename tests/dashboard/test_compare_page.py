"""The page that compares runs, in a real browser."""

from urllib.parse import quote

import pytest
from browser import chromium, screenshot, watching
from some_runs import HOSTILE, append_round, write_runs

from server.dashboard.compare_page import AT_MOST, complaints


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
def compare(browser, address):
    contexts = []

    def opened(*names, width=1280, colors="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=colors)
        contexts.append(context)
        page = context.new_page()
        page.goto(f"{address}/compare?" + "&".join(f"runs={quote(name, safe='')}" for name in names))
        page.wait_for_selector(".compare-run, .empty")
        return page

    yield opened
    for context in contexts:
        context.close()


def chart(page):
    return page.locator(".curves-plot")


def drawn(page, said):
    """Wait for what the chart says of itself to hold this."""
    page.wait_for_function(
        "said => document.querySelector('.curves-plot')?.getAttribute('aria-label')?.includes(said)",
        arg=said,
        timeout=20_000,
    )
    return chart(page).get_attribute("aria-label")


def table(page, label):
    return page.locator(".comparison", has=page.get_by_role("columnheader", name=label))


def cells(page, label, row):
    line = table(page, label).locator("tbody tr", has=page.get_by_role("rowheader", name=row, exact=True))
    return line.locator("td")


def test_the_curves_of_all_runs_lie_over_each_other(compare):
    page = compare("good", "fair")
    said = drawn(page, "round 2")
    assert "good · with teacher 54.0 %" in said
    assert "fair · with teacher 54.0 %" in said
    assert "held back for validation" in page.inner_text("main")
    screenshot(page, "compare-1280")


def test_final_figures_stand_side_by_side_and_the_best_is_bold(compare):
    page = compare("fair", "good")
    found = cells(page, "Figure", "shared, with teacher")
    assert found.all_inner_texts() == ["70.0 %", "90.0 %"]
    weights = found.evaluate_all("cells => cells.map(cell => Number(getComputedStyle(cell).fontWeight))")
    assert weights[1] > weights[0]


def test_only_the_settings_that_differ_are_shown_and_the_others_on_request(compare):
    page = compare("good", "fair")
    cells(page, "Setting", "student").first.wait_for()
    assert cells(page, "Setting", "student").all_inner_texts() == ["convonly", "tiny"]
    assert table(page, "Setting").first.locator("tbody tr").count() == 1
    same = page.get_by_text("All the same:")
    same.click()
    page.get_by_role("rowheader", name="federation.rounds").wait_for()


def test_a_run_that_goes_on_grows_without_reloading(compare, folder):
    page = compare("growing", "good")
    drawn(page, "round 2")
    page.evaluate("window.notReloaded = true")
    for number in (2, 3, 4):
        append_round(folder / "growing", number)
    said = drawn(page, "round 4")
    assert "growing · with teacher 58.0 %" in said
    page.wait_for_function(
        "[...document.querySelectorAll('.comparison td')].some(c => c.innerText.startsWith('4 of 20'))"
    )
    assert page.evaluate("window.notReloaded")


def test_the_switch_says_where_there_is_nothing_personal(compare):
    page = compare("good", "fair")
    drawn(page, "round 2")
    page.get_by_role("button", name="Personalised student").click()
    page.get_by_text("No personalised accuracy by round on record for any of these runs.").wait_for()
    page.get_by_role("button", name="Shared student").click()
    drawn(page, "round 2")


def test_unknown_names_are_said_and_the_others_are_shown(compare):
    page = compare("good", "<script>document.title='taken'</script>", "../../etc")
    notice = page.locator(".notice").inner_text()
    assert "<script>" in notice
    assert "../../etc" in notice
    drawn(page, "round 2")
    assert page.title().startswith("Compare")


def test_without_any_run_the_page_leads_to_the_table(compare):
    page = compare("nobody")
    assert page.get_by_role("link", name="All runs").get_attribute("href") == "/runs"


def test_broken_and_hostile_runs_can_be_compared_too(compare):
    page = compare("broken", HOSTILE, "good")
    drawn(page, "round 2")
    assert page.locator("main img").count() == 0
    assert "run.json is not readable" in page.locator(".compare-run").first.inner_text()
    page.get_by_text("The settings of broken cannot be read; they are left out here.").wait_for()


def test_every_run_and_its_files_are_linked(compare, address):
    page = compare("good", "fair")
    line = page.locator(".compare-run").first
    links = {link.inner_text(): link.get_attribute("href") for link in line.get_by_role("link").all()}
    assert links["good"] == "/run/good"
    assert links["remove"] == "/compare?runs=fair"
    for name in ("rounds.csv", "result.json", "run.json", "rounds.jsonl"):
        assert page.request.get(address + links[name]).ok


@pytest.mark.parametrize("colors", ["light", "dark"])
def test_on_a_phone_only_the_tables_scroll_sideways(compare, colors):
    page = compare("good", "fair", "growing", width=390, colors=colors)
    drawn(page, "round")
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    screenshot(page, f"compare-390-{colors}")


def test_more_runs_than_can_be_told_apart_are_said():
    names = [f"run {i}" for i in range(AT_MOST + 3)]
    (sentence,) = complaints(names, dict.fromkeys(names))
    assert f"{AT_MOST + 3} runs were asked for" in sentence
    assert complaints(names[:2], dict.fromkeys(names)) == []
