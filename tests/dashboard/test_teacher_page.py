"""The page of what the teacher added."""

import math

import pytest
from browser import chromium, screenshot, watching
from run_folders import METHODS, healthy

from server.dashboard.teacher_page import gain_rows, points, verdict, what_is_missing
from server.history.figures import TeacherGain


def gain(mean, low, high, people=4):
    persons = tuple((f"p{i}", 0.5, 0.5 + mean, mean) for i in range(people))
    gestures = (
        ("fist", 0.5, 0.4, -0.1),
        ("rest", 0.5, 0.9, 0.4),
        ("never shown", math.nan, math.nan, math.nan),
    )
    return TeacherGain("shared", gestures, persons, mean, low, high)


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(0.01, 0.2, "helps"), (-0.2, -0.01, "harms"), (-0.1, 0.1, "makes no clear difference")],
)
def test_the_verdict_follows_the_interval(low, high, word):
    assert verdict(gain(0.05, low, high))[0] == f"The teacher {word}: +5.0 points of accuracy"


def test_one_person_gives_no_verdict():
    said, why = verdict(gain(0.05, math.nan, math.nan, people=1))
    assert "one person" in said
    assert "no verdict" in why


def test_gestures_go_from_gain_to_harm_and_what_was_never_shown_is_left_out():
    rows = gain_rows(gain(0.05, 0, 0))
    assert [(row["name"], row["text"]) for row in rows] == [("rest", "+40.0"), ("fist", "-10.0")]


def test_no_difference_has_no_sign():
    assert [points(d) for d in (0.0, -0.0001, 0.0004, -0.0006, 0.051)] == [
        "0.0",
        "0.0",
        "0.0",
        "-0.1",
        "+5.1",
    ]


def test_a_missing_arm_is_named_with_the_command_that_runs_it():
    said, how = what_is_missing(("federated",))
    assert said == "This run has no federation with teacher"
    assert "--method federated --method federated_distilled" in how


def test_the_page_shows_gestures_people_pack_and_fidelity(tmp_path):
    healthy(tmp_path / "both")
    healthy(tmp_path / "one", rounds=2, methods=METHODS[:1])
    with watching(tmp_path) as (address, _), chromium() as browser:
        page = browser.new_page()
        page.goto(f"{address}/teacher/both")
        page.get_by_text("The teacher helps").wait_for()
        page.locator(".gains-row").nth(5).wait_for()  # what a script draws comes after the words
        page.locator(".dots-row").nth(3).wait_for()
        assert page.locator(".gains-row").count() == 6
        assert page.locator(".dots-row").count() == 4
        assert "CC-BY-4.0" in page.locator(".facts").inner_text()
        page.wait_for_function(
            "document.querySelector('.curves-plot')?.getAttribute('aria-label').includes('in round 20')"
        )
        screenshot(page, "teacher")
        page.get_by_text("the clients' own recordings take over").wait_for()
        page.goto(f"{address}/teacher/one")
        page.get_by_text("no federation with teacher").wait_for()
        page.get_by_text("--method federated_distilled").wait_for()
