"""The page of a run, in a real browser."""

import re

import pytest
from browser import chromium, screenshot, watching
from run_folders import METHODS, NAMES, begun, corrupt, healthy, hostile, killed, running, unreadable

ACCURACY = ".curves-plot >> nth=0"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    healthy(folder / "healthy")
    healthy(folder / "alone", rounds=2, people=1, validation=0, tested=1, methods=METHODS[:1])
    healthy(folder / "old", rounds=3, validation=0, old=True)
    killed(folder / "killed")
    corrupt(folder / "corrupt")
    unreadable(folder / "unreadable")
    hostile(folder / "hostile")
    begun(folder / "begun").close()
    return folder


@pytest.fixture(scope="module")
def address(folder):
    with watching(folder) as (found, _):
        yield found


@pytest.fixture(scope="module")
def browser():
    with chromium() as found:
        yield found


@pytest.fixture
def look(browser, address):
    contexts = []

    def looked(path, *, width=1280, colors="light"):
        context = browser.new_context(viewport={"width": width, "height": 900}, color_scheme=colors)
        contexts.append(context)
        page = context.new_page()
        page.errors = []
        page.on("pageerror", lambda error: page.errors.append(error))  # noqa: PLW0108  playwright marks what it calls
        page.goto(address + path)
        page.wait_for_selector(".outcome, .empty")
        return page

    yield looked
    for context in contexts:
        context.close()


def says(page, text):
    """Wait until the page says this somewhere."""
    page.get_by_text(re.compile(text)).first.wait_for(timeout=10_000)


def chart_says(page, pattern, timeout=10_000):
    """Wait until the first chart's figures, in words, match."""
    page.wait_for_function(
        "p => new RegExp(p).test(document.querySelector('.curves-plot')?.getAttribute('aria-label') ?? '')",
        arg=pattern,
        timeout=timeout,
    )


def all_drawn(page):
    """Wait until every chart is drawn, without scrolling: a printed page, or a picture of it, holds all of them."""
    page.wait_for_function(
        "[...document.querySelectorAll('.curves')].every(c => !c.offsetParent || c.querySelector('canvas'))"
    )


def test_a_completed_run_says_how_it_ended_and_draws_every_chart(look):
    page = look("/run/healthy")
    chart_says(page, "mean, without teacher .* in round 20, .* mean, with teacher")
    assert page.locator(".chip >> nth=0").inner_text().endswith("completed")
    assert page.locator(".outcome").inner_text().startswith("completed, accuracy")
    assert page.locator(".stat-value").count() == 4
    all_drawn(page)
    labels = [plot.get_attribute("aria-label") for plot in page.locator(".curves-plot").all()]
    assert [label.split(":")[0] for label in labels] == [
        "Accuracy by round",
        "Wrong gestures (CLER)",
        "Missed gestures per person",
        "False activations per minute",
        "Loss",
        "Data sent",
        "Time by round",
    ]
    assert not [label for label in labels if "Not measured" in label or "yet" in label]
    assert page.get_by_role("link", name="rounds.csv").get_attribute("href") == "/run/healthy/rounds.csv"
    assert not page.errors
    screenshot(page, "run-completed")


def test_the_curve_grows_without_reloading(look, folder):
    with running(folder / "growing", done=3) as run:
        page = look("/run/growing")
        chart_says(page, "in round 3,")
        page.evaluate("window.here = 1")
        run.append_round(dropped=["client001"], rejected=["client002"])
        chart_says(page, "in round 4,")
        says(page, "weights of norm 1e9")
        assert "running" in page.locator(".chip >> nth=0").inner_text()
        assert "round 4 of 20" in page.locator(".outcome").inner_text()
        row = page.locator("tr", has=page.get_by_text("client001", exact=True)).first
        assert "dropped" in row.inner_text()
        assert page.evaluate("window.here") == 1
        screenshot(page, "run-growing")


def test_switches_choose_what_is_drawn(look):
    page = look("/run/healthy")
    chart_says(page, "mean, without teacher")
    card = page.locator(".card", has=page.locator(".curves")).first
    card.get_by_role("button", name="With teacher", exact=True).click()
    chart_says(page, "^Accuracy by round: mean, with teacher")
    card.get_by_role("button", name="Personalised").click()
    chart_says(page, "^Accuracy by round: mean, with teacher 9")
    card.get_by_role("button", name="Balanced").click()
    says(page, "Each gesture counts as much")


def test_where_nobody_validates_the_curve_is_called_what_it_is(look):
    page = look("/run/old")
    says(page, "Nobody validates in this run")
    chart_says(page, "in round 3,")
    all_drawn(page)
    says(page, "Not measured in this run")


@pytest.mark.parametrize(
    ("run", "state", "words"),
    [
        ("killed", "stopped", "stopped"),
        ("corrupt", "stopped", "rounds.jsonl, line"),
        ("unreadable", "unreadable", "run.json"),
        ("begun", "", "Getting ready|No federation on record"),
        ("alone", "completed", "completed"),
    ],
)
def test_every_state_is_told_in_words(look, run, state, words):
    page = look(f"/run/{run}")
    says(page, words)
    assert state in page.locator(".chip >> nth=0").inner_text()
    assert not page.errors


@pytest.mark.parametrize("path", ["/run/hostile", "/teacher/hostile"])
def test_names_of_a_record_are_text(look, path):
    page = look(path)
    page.locator(".run-name").wait_for()
    all_drawn(page)
    if path.startswith("/run"):
        says(page, re.escape(NAMES[0]))
        page.locator(".curves-plot").first.hover()
    assert page.evaluate("window.pwned") is None
    assert page.locator("main script, main img").count() == 0
    assert not page.errors
    screenshot(page, f"{path.split('/')[1]}-hostile")


@pytest.mark.parametrize("path", ["/run/healthy", "/run/hostile", "/run/corrupt", "/teacher/healthy"])
def test_a_phone_needs_no_sideways_scrolling(look, path):
    page = look(path, width=390, colors="dark")
    page.locator(".run-name").wait_for()
    all_drawn(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    screenshot(page, f"phone{path.replace('/', '-')}")


def test_a_run_that_there_is_not_is_said_so(look):
    page = look("/run/no%20such%20run")
    assert page.request.get(page.url).status == 404
    says(page, "no such run")
    assert page.get_by_role("link", name="All runs").is_visible()


def test_lines_can_be_hidden_with_the_keyboard(look):
    page = look("/run/healthy")
    chart_says(page, "mean")
    key = page.locator(".curves-key").first
    key.focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.querySelector('.curves-key').ariaPressed === 'false'")


def test_the_arrows_lead_from_line_to_line(look):
    page = look("/run/healthy")
    chart_says(page, "mean")
    legend = page.locator(".curves-legend").first
    assert legend.locator("[tabindex='0']").count() == 1
    legend.locator("button").first.focus()
    page.keyboard.press("ArrowRight")
    page.wait_for_function("document.querySelectorAll('.curves-key')[1] === document.activeElement")


def test_wrong_gestures_say_whom_they_count(look):
    page = look("/run/healthy")
    card = page.locator(".card", has=page.get_by_text("Wrong, missed and false gestures", exact=True)).first
    card.get_by_text(re.compile(r"^4 tested people, \d+ held gestures each")).wait_for()
    assert re.search(r"[0-9.]+ of \d+", card.locator("table").inner_text())
    card.get_by_role("button", name="Validation").click()
    card.get_by_text(re.compile("^3 validation people")).wait_for()
    all_drawn(page)
    assert card.locator("canvas").count() == 3


def test_a_finished_run_shows_every_method_under_its_head(look):
    page = look("/run/healthy")
    page.get_by_text("Highest mean:").wait_for()
    rows = page.locator("table[aria-label='Result of every method'] tbody tr")
    assert rows.count() == 5
    assert "LDA, own data" in rows.first.inner_text()


def test_times_are_the_visitors_own(browser, address):
    context = browser.new_context(timezone_id="Asia/Tokyo", locale="en-GB")
    page = context.new_page()
    page.goto(f"{address}/run/killed")
    cell = page.locator("td[title$=' UTC']").first
    cell.wait_for()
    shown, (day, clock, _) = cell.inner_text(), cell.get_attribute("title").split(" ")
    assert len(day) == 10
    assert int(shown[-8:-6]) == (int(clock[:2]) + 9) % 24
    context.close()
