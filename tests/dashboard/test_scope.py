"""What of a signal travels to a viewer, and what the browser makes of it."""

import json
import time
from base64 import b64decode

import numpy as np
import pytest
from browser import chromium, screenshot
from fake_boards import board, piece
from fake_watch import fake_watch

from protocols.board_status import ScopePiece
from server.dashboard.scope_page import away_words, student_hint, waiting_words
from server.dashboard.scope_view import AHEAD, KEPT_S, packed, stretches

HOSTILE = "<img src=x onerror=alert(1)>"


def values(sent):
    """(n, C, 2) microvolts, as the browser reads them."""
    numbers = np.frombuffer(b64decode(sent["values"]), "<i2").reshape(sent["count"], sent["channels"], 2)
    return numbers * sent["uv_per_unit"]


def test_a_piece_arrives_with_the_precision_of_16_bits():
    came = piece(np.arange(40))
    received = values(packed(came))
    step_uv = max(np.abs(came.low).max() / 32767, np.abs(came.high).max() / 32767, 1e-3)
    assert np.abs(received[..., 0] - came.low).max() <= step_uv
    assert np.abs(received[..., 1] - came.high).max() <= step_uv


def test_nothing_older_than_one_can_see_travels():
    came = piece(np.arange(1000, 9000))
    sent = packed(came)
    assert sent["count"] == KEPT_S * 1000 / 5
    assert sent["first"] == 9000 - sent["count"]
    assert np.allclose(values(sent)[-1, :, 1], came.high[-1], atol=0.1)


def test_numbers_that_are_none_travel_as_0():
    odd = np.array([[np.nan, np.inf], [-np.inf, 1.0]], np.float32)
    sent = packed(
        ScopePiece(5.0, 3, odd, odd, np.zeros(2, bool), predicted=((3, "a", float("nan")), (4, "b", 0.0)))
    )
    assert values(sent)[..., 0].tolist() == [[0, 0], [0, pytest.approx(1)]]
    assert sent["predicted"] == [(3, "a", None), (4, "b", None)]


def test_a_piece_of_nothing_but_rest_travels():
    flat = np.zeros((4, 2), np.float32)
    assert not values(packed(ScopePiece(5.0, 0, flat, flat, np.zeros(4, bool)))).any()


def test_lost_columns_are_named_as_stretches():
    flags = np.array([1, 1, 0, 0, 1, 0, 1], bool)
    assert list(stretches(flags, 10)) == [(10, 12), (14, 15), (16, 17)]
    assert list(stretches(np.zeros(0, bool), 10)) == []


def test_a_second_of_eight_channels_takes_less_than_16_kilobytes():
    sent = [packed(piece(np.arange(first, first + 10))) for first in range(0, 200, 10)]
    assert sum(len(json.dumps(one)) for one in sent) < 16_000


# A number that stands for what the canvas shows.
PIXELS = """() => { const c = document.querySelector("canvas");
const data = c.getContext("2d").getImageData(0, 0, c.width, c.height).data;
let sum = 0; for (let i = 0; i < data.length; i += 4) sum = (sum * 31 + data[i] + data[i + 3]) % 1e9;
return sum; }"""


def until_it_moves(page):
    page.wait_for_function(f"before => ({PIXELS})() !== before", arg=page.evaluate(PIXELS))


@pytest.fixture(scope="module")
def watched(tmp_path_factory):
    boards = [{"board_id": "emg-1"}, {"board_id": HOSTILE, "streaming": False, "gesture": HOSTILE}]
    with fake_watch(tmp_path_factory.mktemp("runs"), *boards) as running, chromium() as browser:
        yield running, browser


@pytest.fixture
def page(watched):
    running, browser = watched
    context = browser.new_context(viewport={"width": 1280, "height": 900}, base_url=running.url)
    shown = context.new_page()
    shown.set_default_timeout(20_000)
    shown.fail = []
    shown.on("pageerror", lambda error: shown.fail.append(str(error)))
    shown.on("dialog", lambda dialog: shown.fail.append(dialog.message))
    yield shown
    context.close()
    assert not shown.fail


def opened(page, path="/devices/emg-1"):
    page.goto(path)
    page.get_by_text("● live").wait_for()
    return page


def test_the_scope_moves_and_says_what_is_recognised(page):
    opened(page)
    until_it_moves(page)
    page.locator(".scope-gesture", has_text="rest").or_(
        page.locator(".scope-gesture", has_text="fist")
    ).wait_for()
    page.locator(".scope-asked .chip").wait_for()
    assert page.locator("canvas").evaluate("c => c.width") > 1000
    screenshot(page, "scope-light")


NOTE_VERDICTS = """() => {
    window.verdicts = new Set()
    const chips = () => document.querySelectorAll(".scope-asked .chip")
    const note = () => chips().forEach((chip) => window.verdicts.add(chip.innerText.trim()))
    const every = {subtree: true, childList: true, characterData: true}
    new MutationObserver(note).observe(document.querySelector(".scope"), every)
}"""


def test_the_gesture_before_a_prompt_is_no_mistake_while_the_person_reacts(page):
    opened(page)
    page.evaluate(NOTE_VERDICTS)  # "reacting" is there for a moment: nobody who polls may be asked for it
    for verdict in ("reacting", "✓ right", "✗ different"):  # the last long after its prompt
        page.wait_for_function("v => window.verdicts.has(v)", arg=verdict, timeout=60_000)


def test_a_board_that_was_never_heard_has_no_controls_that_would_do_nothing(page, watched):
    running, _ = watched
    running.tell(board="away", say={"online": False, "streaming": False, "seen_s": None, "channels": 0})
    page.goto("/devices/away")
    page.locator(".notice", has_text="away is offline. Nothing has been heard of it yet.").wait_for()
    assert not page.get_by_role("button", name="Pause").is_visible()
    assert not page.get_by_role("button", name="Start streaming").is_visible()
    running.tell(remove="away")


def test_who_has_no_student_is_told_how_to_have_one():
    serial, mqtt = board(), board(url="mqtt://gateway@host:1883/emg-1")
    assert student_hint(serial) == [
        ("Start this page with", "--student FILE")
    ]  # a port has one reader, this page
    assert student_hint(mqtt)[1][1] == (
        "myofed board live mqtt://gateway@host:1883/emg-1 --student FILE --publish mqtt://gateway@host:1883"
    )


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"streaming": False}, "press Start streaming"),
        ({"online": None, "streaming": False}, "while emulated-1 is away"),
        ({"online": False, "streaming": False}, "while emulated-1 is away"),
    ],
)
def test_what_to_do_for_a_signal_depends_on_the_board(said, words):
    assert words in waiting_words(board(**said))


def test_why_a_board_is_away_is_said_with_what_to_do():
    gone = away_words(board(online=False, streaming=False, seen_s=5.0))
    assert gone.startswith("emulated-1 is offline. Last heard ")
    assert gone.endswith("it appears here by itself.")
    never = away_words(board(online=False, seen_s=None, problem="/dev/nope: there is no such port"))
    assert never.startswith("/dev/nope: there is no such port. Nothing has been heard of it yet.")


def test_a_paused_viewer_is_sent_no_more_and_goes_on_where_the_signal_is(page, watched):
    running, _ = watched
    opened(page).get_by_role("button", name="Pause").click()
    page.get_by_text("paused").wait_for()
    page.evaluate("new Promise((drawn) => requestAnimationFrame(() => requestAnimationFrame(drawn)))")
    still = page.evaluate(PIXELS)
    takes = [running.ask()["takes"]]
    page.wait_for_timeout(1500)  # the claim is that nothing happens meanwhile
    takes.append(running.ask()["takes"])
    assert takes[1] - takes[0] <= AHEAD
    assert page.evaluate(PIXELS) == still
    page.get_by_role("button", name="Go on").click()
    until_it_moves(page)


def test_a_hidden_page_is_sent_no_more(page, watched):
    running, _ = watched
    opened(page)
    page.evaluate("Object.defineProperty(document, 'hidden', { value: true, configurable: true })")
    takes = [running.ask()["takes"]]
    page.wait_for_timeout(1500)  # the claim is that nothing happens meanwhile
    takes.append(running.ask()["takes"])
    assert takes[1] - takes[0] <= AHEAD + 2  # what was on its way
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    until_it_moves(page)


def test_keys_set_span_size_and_channels(page):
    opened(page).locator(".scope").focus()
    page.keyboard.press("]")
    assert page.get_by_role("button", name="10 s").get_attribute("aria-pressed") == "true"
    page.keyboard.press("2")
    assert page.get_by_role("button", name="Channel 2").get_attribute("aria-pressed") == "false"
    before = page.locator(".scope-range").inner_text()
    page.keyboard.press("-")
    assert page.locator(".scope").get_by_role("button", name="Auto").get_attribute("aria-pressed") == "false"
    assert page.locator(".scope-range").inner_text() != before
    page.keyboard.press(" ")
    page.get_by_text("paused").wait_for()


def test_the_last_channel_cannot_be_hidden(page):
    opened(page).locator(".scope").focus()
    for key in "12345678":
        page.keyboard.press(key)
    shown = page.locator(".scope-channel[aria-pressed=true]")
    assert shown.count() == 1


def test_a_board_of_a_hostile_name_is_shown_as_text_and_started(page, watched):
    running, _ = watched
    page.goto("/devices")
    page.get_by_role("link", name=f"Signal of {HOSTILE}").click()
    page.get_by_role("heading", name=HOSTILE).wait_for()
    page.get_by_role("button", name="Start streaming").click()
    page.get_by_text(f"Answer: {HOSTILE} streams").wait_for()
    assert running.ask()["commands"] == [[HOSTILE, "start"]]


def test_a_board_that_nobody_heard_of_is_said_so_until_it_comes(page, watched):
    running, _ = watched
    page.goto("/devices/late")
    page.get_by_text("No board of this name has been heard.").wait_for()
    running.tell(board="late", say={})
    page.get_by_text("● live").wait_for()
    running.tell(remove="late")
    page.get_by_text("No board of this name has been heard.").wait_for()


def test_dark_and_narrow_the_page_fits(page):
    page.set_viewport_size({"width": 390, "height": 844})
    page.emulate_media(color_scheme="dark")
    until_it_moves(opened(page))
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    screenshot(page, "scope-dark-phone")


def test_viewers_who_left_are_forgotten(page, watched):
    running, _ = watched
    opened(page)
    assert running.ask()["viewers"] >= 1
    page.goto("about:blank")
    deadline_s = time.monotonic() + 20
    while running.ask()["viewers"] and time.monotonic() < deadline_s:
        page.wait_for_timeout(100)
    assert running.ask()["viewers"] == 0


def test_a_page_for_status_only_has_no_scope(tmp_path, watched):
    _, browser = watched
    with fake_watch(tmp_path, {"board_id": "emg-1"}, status_only=True) as running:
        page = browser.new_page(base_url=running.url)
        page.goto("/devices/emg-1")
        page.get_by_text("Status only: signals stay on each person's own gateway.").wait_for()
        assert page.locator("canvas").count() == 0
        page.goto("/devices")
        page.get_by_text("Status only: signals stay on each person's own gateway.").wait_for()
        assert page.get_by_text("emg-1").count() == 1
        assert page.get_by_role("link", name="Signal of emg-1").count() == 0
        assert running.ask()["takes"] == 0
        page.close()
