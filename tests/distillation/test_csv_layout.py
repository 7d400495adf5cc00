"""CSV files with a label column, imported once."""

import numpy as np
import pytest

from distillation.csv_import import CsvFacts, import_csv
from distillation.datasets import open_dataset
from protocols.errors import ConfigError, DataError

FACTS = {"rate_hz": 100.0, "units": "uV", "label_column": "gesture"}


def write(path, labels, header="ch1,ch2,gesture", row="{i}.5,-{i},{label}"):
    lines = [header, *(row.format(i=i * 7 % 10, t=i * 10, label=label) for i, label in enumerate(labels))]
    path.write_text("\n".join(lines) + "\n")
    return path


def imported(source, **facts):
    return open_dataset(import_csv(source, CsvFacts(**FACTS | facts)))


def facts_of(dataset, subject):
    return [(t.gesture, t.repetition, len(t.emg)) for t in dataset.recordings(subject)]


def test_runs_of_one_label_are_trials_and_repetitions_are_counted(tmp_path):
    write(tmp_path / "ada.csv", ["rest"] * 5 + ["fist"] * 4 + [""] * 3 + ["fist"] * 2 + ["rest"] * 6)
    dataset = imported(tmp_path, rest="rest")
    assert (dataset.subjects, dataset.label_names, dataset.rest_label) == (("ada",), ("fist", "rest"), 1)
    assert facts_of(dataset, "ada") == [("rest", 0, 5), ("fist", 0, 4), ("fist", 1, 2), ("rest", 1, 6)]
    np.testing.assert_array_equal(dataset.recordings("ada")[1].emg[0], [5.5, -5])
    assert dataset.recordings("ada")[1].time_s[0] == pytest.approx(0.05)


def test_the_files_stay_as_they_are(tmp_path):
    before = write(tmp_path / "ada.csv", ["fist"] * 3).read_bytes()
    imported(tmp_path)
    assert (tmp_path / "ada.csv").read_bytes() == before
    assert {p.name for p in tmp_path.iterdir()} == {"ada.csv", "meta.json"}


def test_a_second_import_does_not_overwrite_the_first(tmp_path):
    write(tmp_path / "ada.csv", ["fist"] * 3)
    imported(tmp_path)
    with pytest.raises(ConfigError, match=r"meta\.json exists"):
        imported(tmp_path)


def test_unlabelled_values_belong_to_no_trial(tmp_path):
    write(tmp_path / "ada.csv", ["idle"] * 5 + ["fist"] * 4 + ["pause"])
    dataset = imported(tmp_path, unlabelled=("idle", "pause"))
    assert (dataset.label_names, facts_of(dataset, "ada")) == (("fist",), [("fist", 0, 4)])


def test_columns_may_name_person_session_and_repetition(tmp_path):
    rows = ["gesture;who;day;rep;a;b"]
    rows += [
        f"fist;{who};{day};{rep};{n % 3};{n % 2}"
        for who in "xy"
        for day in (0, 1)
        for rep in (0, 1)
        for n in range(4)
    ]
    (tmp_path / "all.csv").write_text("\n".join(rows))
    dataset = imported(
        tmp_path / "all.csv", subject_column="who", session_column="day", repetition_column="rep"
    )
    assert (dataset.subjects, dataset.channels, dataset.num_sessions) == (("x", "y"), 2, 2)
    assert [(t.session, t.repetition, len(t.emg)) for t in dataset.recordings("y")] == [
        (0, 0, 4), (0, 1, 4), (1, 0, 4), (1, 1, 4),
    ]  # fmt: skip


def test_a_clock_column_gives_the_time_and_the_gaps(tmp_path):
    path = write(tmp_path / "ada.csv", ["fist"] * 6, "t,ch1,gesture", "{t},{i},{label}")
    path.write_text(path.read_text().replace("\n50,", "\n950,"))
    (trial,) = imported(tmp_path, time_column="t", time_unit="ms").recordings("ada")
    np.testing.assert_allclose(trial.time_s, [0, 0.01, 0.02, 0.03, 0.04, 0.95])
    assert len(trial.gaps) == 1


def test_a_clock_that_contradicts_the_rate_is_refused(tmp_path):
    write(tmp_path / "ada.csv", ["fist"] * 6, "t,ch1,gesture", "{t},{i},{label}")
    with pytest.raises(ConfigError, match=r"--rate: found 100 Hz, .*runs at 0\.1 Hz.*--time-unit"):
        imported(tmp_path, time_column="t")


def test_a_column_that_only_rises_is_not_taken_for_emg(tmp_path):
    write(tmp_path / "ada.csv", ["fist"] * 6, "t,ch1,gesture", "{t},{i},{label}")
    with pytest.raises(ConfigError, match=r"--channels: .*\['t'\] only rise"):
        imported(tmp_path)
    assert imported(tmp_path, channels=("ch1",)).channels == 1


@pytest.mark.parametrize(
    ("facts", "message"),
    [
        ({"label_column": "word"}, "--label-column: found 'word', .*ch1, ch2, gesture"),
        ({"channels": ("ch1", "ch9")}, "--channels: found 'ch9'"),
        ({"rest": "calm"}, "--rest: found 'calm', the labels are fist"),
    ],
)
def test_a_flag_that_does_not_fit_is_named(tmp_path, facts, message):
    write(tmp_path / "ada.csv", ["fist"] * 6)
    with pytest.raises(ConfigError, match=message):
        imported(tmp_path, **facts)
    assert not (tmp_path / "meta.json").exists()


@pytest.mark.parametrize("facts", [{"rate_hz": 0.0}, {"rate_hz": float("nan")}, {"time_unit": "h"}])
def test_impossible_facts_are_refused(facts):
    with pytest.raises(ConfigError):
        CsvFacts(**FACTS | facts)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ch1,gesture\n1,fist\n2\n", "line 3: found 1 values, expected 2"),
        ("ch1,gesture\n", "rows below a header"),
        ("ch1,ch1,gesture\n1,2,fist\n", "distinct names"),
        ("", "header"),
        ("ch1,gesture\n1,\n", "no sample has a label"),
    ],
)
def test_a_broken_csv_is_named_with_its_line(tmp_path, text, message):
    (tmp_path / "ada.csv").write_text(text)
    with pytest.raises(DataError, match=message):
        imported(tmp_path)


def test_text_in_a_channel_of_a_later_file_is_named(tmp_path):
    write(tmp_path / "ada.csv", ["fist"] * 3)
    write(tmp_path / "bob.csv", ["fist"] * 3, row="{i},oops,{label}")
    with pytest.raises(DataError, match=r"bob\.csv, line 2: ch2 is 'oops'"):
        imported(tmp_path)


def test_files_cannot_leave_their_folder(tmp_path):
    write(tmp_path / "ada.csv", ["fist"] * 3)
    imported(tmp_path)
    meta = (tmp_path / "meta.json").read_text().replace('"ada.csv"', '"../ada.csv"')
    (tmp_path / "meta.json").write_text(meta)
    with pytest.raises(DataError, match="plain file names"):
        open_dataset(tmp_path)


def test_no_csv_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="found no CSV"):
        imported(tmp_path)


def test_number_labels_are_in_the_order_of_numbers(tmp_path):
    write(tmp_path / "ada.csv", ["10", "2", "rest", "1"])
    assert imported(tmp_path).label_names == ("1", "2", "10", "rest")
