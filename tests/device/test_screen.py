"""What the person sees while recording."""

import io
import time

import numpy as np
import pytest
from rich.console import Console

from device.recorder.letters import big
from device.recorder.plan import Prompt
from device.recorder.prompter import Scene
from device.recorder.screen import REDRAW_S, Levels, LineScreen, Picture, TerminalScreen, choose_screen, part

RATE_HZ = 1000.0
FIST = Prompt("fist", 0)
HOLDING = Scene("hold", FIST, 1.5, 3.0, 2, 21)


def noise(n=20, scale=(10, 100, 1000, 0)):
    return (np.random.default_rng(n).standard_normal((n, 4)) * scale).astype(np.float32)


def levels(seconds=3):
    found = Levels(4, RATE_HZ, 0.1)
    for _ in range(50 * seconds):
        found.take(noise())
    return found


def text(scene, width=80):
    console = Console(record=True, width=width, file=io.StringIO(), force_terminal=True)
    console.print(Picture(scene, levels(), width))
    return console.export_text()


def test_a_hold_on_the_terminal():
    lines = text(HOLDING).splitlines()
    assert lines[0].rstrip() == "2 of 21  HOLD"
    assert [line.rstrip() for line in lines[1:6]] == [
        "██████  ██████    ████  ██████",
        "██        ██    ██        ██",
        "████      ██      ██      ██",
        "██        ██        ██    ██",
        "██      ██████  ████      ██",
    ]
    assert lines[6] == "━" * 36 + "─" * 36 + "  1.5 s"
    assert [line.split("█")[0].strip() for line in lines[7:10]] == ["1", "2", "3"]
    filled = [line.count("█") for line in lines[7:11]]
    assert filled[3] == 0
    assert [filled[1] - filled[0], filled[2] - filled[1]] == pytest.approx([35 / 4] * 2, abs=1)
    assert lines[10].endswith("0.0 µV ! not touching the skin")


def test_a_countdown_shrinks():
    shown = text(Scene("relax", FIST, 0.5, 2.0, 1, 21)).splitlines()
    assert shown[0].rstrip() == "1 of 21  relax; next"
    assert shown[6].count("━") == 54


def test_the_drawing_keeps_its_height():
    """A long name, a short one and none: the bars stay where they are."""
    scenes = [
        HOLDING,
        Scene("hold", Prompt("radial_deviation", 0), 0, 3, 1, 2),
        Scene("done", None, 0, 2, 2, 2),
    ]
    assert len({len(text(scene).splitlines()) for scene in scenes}) == 1


def test_bars_are_logarithmic_from_1_uv_to_10_mv():
    assert part(np.array([0.0, 1.0, 10.0, 100.0, 10_000.0, 1e6])).tolist() == pytest.approx(
        [0, 0, 0.25, 0.5, 1, 1]
    )


def test_peaks_fall_and_never_below_the_bar():
    found = Levels(4, RATE_HZ, 0.1)
    found.take(noise(200))
    peak = found.peaks.copy()
    found.take(noise(200, scale=(0, 0, 0, 0)))
    assert (found.peaks <= peak).all()
    assert found.peaks[2] == pytest.approx(peak[2] - 0.1, abs=0.01)


def test_levels_hold_two_seconds_however_long_it_lasts():
    assert sum(map(len, levels(10)._latest)) <= 2 * RATE_HZ + 20


def test_letters_are_as_large_as_the_width_allows():
    assert len(big("fist", 80).splitlines()) == 5
    assert len(big("wrist_flexion", 80).splitlines()) == 3
    assert big("wrist_flexion", 40) == "WRIST FLEXION"
    assert big("Fäuste", 80) == "FÄUSTE"


def test_elsewhere_each_thing_to_do_is_one_line(capsys):
    with LineScreen() as screen:
        for elapsed_s in (0.0, 0.5):
            screen.show(Scene("relax", FIST, elapsed_s, 2.0, 2, 21), noise())
        for elapsed_s in (0.0, 0.5):
            screen.show(Scene("hold", FIST, elapsed_s, 3.0, 2, 21), noise())
        screen.show(Scene("done", None, 0.0, 3.0, 21, 21), noise())
    assert capsys.readouterr() == ("", "NEXT: fist (2 of 21)\nHOLD: fist\n")


def test_without_a_terminal_lines_are_chosen():
    assert isinstance(choose_screen(4, RATE_HZ, 0.1), LineScreen)


def test_the_terminal_is_drawn_12_times_a_second_and_costs_little():
    """20 s of 20-ms frames in less than 5 % of one core."""
    now_s, drawn = 0.0, io.StringIO()
    console = Console(file=drawn, force_terminal=True, width=100)
    began_s = time.process_time()
    with TerminalScreen(levels(1), console, now=lambda: now_s) as screen:
        screen.say("hello")
        for _ in range(1000):
            now_s += 0.02
            screen.show(HOLDING, noise())
    assert time.process_time() - began_s < 1.0
    assert drawn.getvalue().count("HOLD") == pytest.approx(
        20 / 0.1, abs=10
    )  # every fifth frame: 12 Hz at most
    assert REDRAW_S < 0.1
    assert drawn.getvalue().startswith("\x1b[?25l")  # the cursor is hidden, and shown again
    assert "\x1b[?25h" in drawn.getvalue()


def test_slow_samples_have_levels_and_no_notes():
    found = Levels(4, 10.0, 0.1)
    for _ in range(10):
        found.take(np.full((10, 4), 5, np.float32))
    assert not found.notes
