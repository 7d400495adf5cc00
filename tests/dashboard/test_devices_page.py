"""What the devices page says of boards and of those who take part."""

import math
import shutil

import pytest
from browser import chromium, screenshot
from fake_boards import board
from fake_watch import fake_watch
from run_folders import age, healthy

from server.dashboard.board_list import difference
from server.dashboard.board_rows import ago, battery, board_path, board_row, problems, state_of
from server.dashboard.client_rows import client_row
from server.dashboard.devices_page import clients_note, latest_history
from server.dashboard.state import Site, open_site
from server.history.history import History
from server.history.people import Participant, participation
from server.history.shelf import Shelf

NOW_S = 1_800_000_000.0
HOSTILE = "<script>alert(1)</script>"


@pytest.mark.parametrize(
    ("online", "streaming", "state"),
    [
        (True, True, "streaming"),
        (True, False, "idle"),
        (False, False, "offline"),
        (False, True, "offline"),
        (None, False, "unknown"),
        (None, True, "streaming"),
    ],
)
def test_a_board_is_in_one_state(online, streaming, state):
    assert state_of(board(online=online, streaming=streaming)) == state


@pytest.mark.parametrize(
    ("millivolts", "words", "kind"),
    [
        (None, "–", ""),
        (0, "–", ""),
        (3912, "ok, 3.91 V", ""),
        (3420, "low, 3.42 V", "warn"),
        (3300, "empty, 3.30 V", "bad"),
        (5020, "5.02 V", ""),  # no lithium cell: nothing can be said
    ],
)
def test_a_battery_is_judged_only_where_it_may_be_one_cell(millivolts, words, kind):
    assert battery(millivolts) == (words, kind)


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0, "just now"),
        (-50, "just now"),
        (17, "15 s ago"),
        (130, "2 min ago"),
        (7300, "2 h ago"),
        (2e5, "2 d ago"),
    ],
)
def test_last_heard_is_coarse(seconds, words):
    assert ago(NOW_S - seconds, NOW_S) == words


@pytest.mark.parametrize("never", [None, math.nan, math.inf])
def test_who_was_never_heard_is_said_so(never):
    assert ago(never, NOW_S) == "never"


def test_a_healthy_board_has_no_problems():
    assert problems(board()) == []


def test_problems_are_said_in_words():
    said = problems(
        board(
            contact=("good", "off"),
            sentences=("channel 2 is not touching the skin",),
            measured_rate_hz=900.0,
            loss=0.05,
            drift_ppm=-900.0,
            battery_mv=3400,
            message="the converter answers late",
        )
    )
    assert said == [
        "the converter answers late",
        "channel 2 is not touching the skin",
        "sends 900 of 1000 Hz: the link or the board is too slow",
        "5.0 % of the samples were lost",
        "its clock is off by -900 millionths; expected less than 200",
        "battery low, 3.40 V: charge it",
    ]


def test_a_board_that_sends_more_than_it_declares_is_not_called_slow():
    assert problems(board(measured_rate_hz=1900.0)) == ["sends 1900 of 1000 Hz: more than it declares"]


def test_an_idle_board_is_not_blamed_for_sending_nothing():
    assert problems(board(streaming=False, measured_rate_hz=0.0, loss=0.5)) == []


def test_numbers_that_are_none_are_not_shown():
    row = board_row(
        board(loss=math.nan, drift_ppm=math.inf, confidence=math.nan, measured_rate_hz=math.nan), NOW_S
    )
    assert (row["loss"], row["drift"], row["sure"], row["rate"]) == ("–", "–", "–", "–, declares 1000 Hz")


def test_of_an_idle_board_nothing_is_measured():
    row = board_row(board(streaming=False, measured_rate_hz=1000.0, loss=0.0), NOW_S)
    assert (row["rate"], row["loss"]) == ("–, declares 1000 Hz", "–")


@pytest.mark.parametrize(
    ("ppm", "words"), [(-0.4, "0 ppm"), (0.3, "0 ppm"), (-12.2, "-12 ppm"), (7.0, "+7 ppm")]
)
def test_a_drift_has_a_sign_unless_it_is_none(ppm, words):
    assert board_row(board(drift_ppm=ppm), NOW_S)["drift"] == words


def test_no_student_differs_from_nothing_sure():
    assert board_row(board(gesture=None), NOW_S)["gesture"] == "nothing sure"
    assert board_row(board(gesture=None, student_version=None), NOW_S)["gesture"] == "no student"
    assert board_row(board(gesture=None, streaming=False), NOW_S)["gesture"] == "–"


def test_how_contact_is_judged_is_a_note_and_no_problem():
    assert board_row(board(), NOW_S)["notes"] == []
    row = board_row(board(contact=("good", "off"), sentences=("channel 2 is off",)), NOW_S)
    assert row["problems"] == ["channel 2 is off"]
    assert "Relax the arm" in row["notes"][0]


def test_each_electrode_has_a_mark_and_words():
    marks = board_row(board(contact=("good", "off", HOSTILE)), NOW_S)["electrodes"]
    assert [m["mark"] for m in marks] == ["●", "○", "?"]
    assert marks[1]["words"] == "channel 2 is not touching the skin"
    assert marks[2]["words"] == f"channel 3 {HOSTILE}"


def test_names_are_cut_and_keep_no_direction_marks():
    row = board_row(board("a\u202e" + "b" * 5000, gesture="\u2066" + "g" * 5000), NOW_S)
    assert len(row["name"]) <= 80
    assert len(row["gesture"]) <= 40
    assert "\u202e" not in row["name"] + row["whole"]


def test_a_board_named_like_a_path_leads_to_itself():
    assert board_path("serial:///dev/tty?a#b") == "/devices/serial%3A%2F%2F%2Fdev%2Ftty%3Fa%23b"


def test_only_cells_that_changed_are_sent():
    before = {"a": {"rate": "1", "loss": "0"}, "b": {"rate": "1", "loss": "0"}}
    now = {"a": {"rate": "1", "loss": "0"}, "b": {"rate": "2", "loss": "0"}}
    assert difference(before, now) == ([("b", {"rate": "2"})], None)
    assert difference(now, now) == ([], None)


def test_a_row_that_came_is_sent_whole_and_one_that_went_by_the_order():
    assert difference({"a": {"x": 1}}, {"b": {"x": 1}}) == ([("b", {"x": 1})], ["b"])


def test_a_client_is_said_in_words():
    client = Participant(
        HOSTILE, 5, 3, 1, 1, 5, "dropped", "no answer within 30 s", None, 1_234_567, None, None, ""
    )
    row = client_row(client, NOW_S)
    assert row["state"] == "did not answer"
    assert (row["answered"], row["sent"], row["took"], row["seen"]) == ("3 of 5", "1.23", "–", "never")
    assert row["name"] == HOSTILE


def test_the_counts_of_several_federations_are_said_to_be_sums(tmp_path):
    parts = tuple(read(healthy(tmp_path / "two", rounds=2)).parts.values())
    without = [part for part in parts if not part.with_teacher]
    (one, *_) = participation(without)
    assert (one.answered, one.asked) == (2, 2)  # of one method, however many a run compares
    assert clients_note([one], without, "two") == "1 in two, without teacher."
    assert clients_note([one], [*without, *without], "two").endswith(
        "sums over 2 federations (seeds and folds)."
    )
    assert clients_note([], (), "two") == "Nobody has been asked yet in two."


def test_a_run_whose_settings_cannot_be_read_is_not_taken_for_the_current_one(tmp_path):
    age(healthy(tmp_path / "whole", rounds=1))
    damaged = healthy(tmp_path / "damaged", rounds=1)
    (damaged / "run.json").write_text('{"run": "bro')
    open_site(Site(tmp_path, Shelf(tmp_path)))
    assert latest_history().folder.name == "whole"
    shutil.rmtree(tmp_path / "whole")
    assert latest_history().folder.name == "damaged"


def read(folder):
    history = History(folder)
    while history.follow():
        pass
    return history


@pytest.fixture(scope="module")
def browser():
    with chromium() as running:
        yield running


@pytest.fixture
def page(browser):
    context = browser.new_context(viewport={"width": 1280, "height": 900})
    shown = context.new_page()
    shown.set_default_timeout(20_000)
    wrong = []
    shown.on("pageerror", lambda error: wrong.append(str(error)))
    shown.on("dialog", lambda dialog: wrong.append(dialog.message))
    yield shown
    context.close()
    assert not wrong


def row_of(page, name):
    return page.locator(".board").filter(has=page.locator(f'.board-name bdi:text-is("{name}")'))


def test_boards_change_before_ones_eyes(page, tmp_path):
    boards = [
        {"board_id": "arm"},
        {
            "board_id": HOSTILE,
            "battery_mv": 3300,
            "contact": ["good", "off"],
            "sentences": ["channel 2 is off"],
        },
    ]
    with fake_watch(tmp_path, *boards) as running:
        page.goto(running.url + "/devices")
        row_of(page, "arm").get_by_text("streaming").wait_for()
        row_of(page, HOSTILE).get_by_text("battery empty, 3.30 V: charge it").wait_for()
        row_of(page, HOSTILE).get_by_label("channel 2 is not touching the skin").wait_for()
        screenshot(page, "devices-light")
        page.evaluate("window.notReloaded = true")
        running.tell(board="arm", say={"online": False, "streaming": False})
        row_of(page, "arm").get_by_text("offline").wait_for()
        running.tell(board="new", say={"streaming": False})
        row_of(page, "new").get_by_text("idle").wait_for()
        running.tell(remove="arm")
        row_of(page, "arm").wait_for(state="detached")
        assert page.evaluate("window.notReloaded")


def test_a_hundred_boards_are_filtered_and_sent_in_cells(page, tmp_path):
    boards = [{"board_id": f"board-{i:03d}"} for i in range(99)] + [{"board_id": "weak", "battery_mv": 3400}]
    with fake_watch(tmp_path, *boards) as running:
        frames = []
        # Playwright marks the function that it is given, which a built-in one does not let it.
        heard = lambda frame: frames.append(frame)  # noqa: E731, PLW0108
        page.on("websocket", lambda socket: socket.on("framereceived", heard))
        page.set_viewport_size({"width": 390, "height": 844})
        page.emulate_media(color_scheme="dark")
        page.goto(running.url + "/devices")
        page.get_by_text("100 of 100 boards online, 1 with problems").wait_for()
        assert page.evaluate("document.documentElement.scrollWidth") <= 390
        screenshot(page, "devices-dark-phone", whole=False)
        frames.clear()
        running.tell(board="board-050", say={"gesture": "wave"})
        row_of(page, "board-050").get_by_text("wave").wait_for()
        told = [frame for frame in frames if "wave" in str(frame)]
        assert len(told) == 1
        assert len(told[0]) < 400
        page.get_by_role("button", name="With problems").click()
        row_of(page, "board-050").wait_for(state="detached")
        assert page.locator(".board").count() == 1


def test_without_boards_the_page_says_how_to_see_one(page, tmp_path):
    with fake_watch(tmp_path) as running:
        page.goto(running.url + "/devices")
        page.get_by_text("myofed board emulate --serial /tmp/emg --data synthetic").wait_for()
        page.get_by_text("myofed watch --boards serial:///tmp/emg").wait_for()
        page.get_by_text("No run yet").wait_for()
        page.goto(running.url + "/devices/any")
        page.get_by_text("started without boards").wait_for()
