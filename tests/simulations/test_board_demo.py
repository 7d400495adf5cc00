"""The whole way: emulated boards, a real broker, recordings, a federation, and live gestures that are right."""

from pathlib import Path

from parts import need

from distillation.datasets import open_dataset
from simulations.board_demo import WEARERS, board_demo, demo_text


def test_what_boards_record_makes_a_student_that_knows_the_gestures(tmp_path):
    for part in ("mosquitto", "gcc"):
        need(part)
    result = board_demo(tmp_path, speed=30, live_speed=10)
    assert result["lost_samples"] == 0
    dataset = open_dataset(tmp_path / "recordings")
    assert set(dataset.subjects) == set(WEARERS)
    for subject in dataset.subjects:
        trials = dataset.recordings(subject)
        assert len(trials) == 3 * len(dataset.label_names) == 24
        assert {t.repetition for t in trials} == {0, 1, 2}
    assert Path(result["student"]).exists()
    assert result["live"]["check"]["prompts"] == 16
    assert result["live"]["check"]["accuracy"] > 0.8  # eight gestures: chance is 0.125
    assert "Live gestures: in 16 prompts" in demo_text(result)
