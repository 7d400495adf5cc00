"""`myofed plot`: what it writes for whole, partial, several, broken and hostile runs."""

import json
import shutil
import subprocess
import sys
import xml.etree.ElementTree as ET
from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread

from protocols.errors import ConfigError, DataError
from server.plots import job as plotting
from server.plots import style
from server.plots.drawn_run import ARRIVAL, VALIDATION, DrawnRun
from server.plots.job import PlotJob, plot_text, run_plot_job
from server.plots.style import shown
from server.plots.traffic import megabytes
from server.run_record import RunRecord

WITHOUT, WITH = "seed0/fold0/federated", "seed0/fold0/federated_distilled"
ALL = ["accuracy", "people", "confusion-federated", "confusion-federated_distilled", "bytes", "methods"]
HOSTILE = (
    "_hidden",
    "$\\frac{1}{0}$",
    "<script>alert(1)</script>",
    "]]>&amp;--",
    "\u202eevil",
    "日本語👍🏽",
    "x" * 5000,
    "a\x00b\x1bc",
    "\ud800",
    "../../etc/passwd",
)


def write_run(
    folder, *, people=("a", "b"), tested=("t", "u"), rounds=3, gestures=("rest", "fist"), validates=True
):
    """Two federations; the figures are made up, and the same each time."""
    size = len(gestures)
    for part in (WITHOUT, WITH):
        record = RunRecord(folder, part)
        record.append(
            "start", rounds=rounds, clients=list(people), tested=list(tested), gestures=list(gestures)
        )
        if part == WITH:
            record.append("pack", pack="00", bytes_down=2_000_000, bytes_saved=0)
        for number in range(1, rounds + 1):
            for subject in people:
                metrics = {"accuracy_on_arrival": 0.2 * number}
                record.append(
                    "client", round=number, subject=subject, num_examples=8, metrics=metrics, bytes_up=1
                )
            means = {"accuracy_on_arrival": 0.2 * number}
            sent = {"bytes_up": 1_000_000, "bytes_down": 3_000_000, "seconds": 1.0}
            record.append("round", round=number, of=rounds, asked=len(people), metrics=means, **sent)
            asked = [(s, "validation") for s in ("v", "w") if validates]
            asked += [(s, "test") for s in tested if number == rounds]
            for at, (subject, split) in enumerate(asked):
                counts = (np.eye(size, dtype=int) * 9 + at).tolist()
                accuracy = {"shared": 0.5 + 0.03 * (at % 10)}
                evaluation = {
                    "split": split,
                    "num_examples": 9,
                    "accuracy": accuracy,
                    "confusion": {"shared": counts},
                }
                record.append("evaluation", round=number, subject=subject, **evaluation)
            record.append("evaluated", round=number, metrics={}, bytes_up=0, bytes_down=0)
    (folder / "run.json").write_text(json.dumps({"run": folder.name, "experiment": {"name": "made up"}}))
    return folder


@pytest.fixture(autouse=True)
def _coarse(monkeypatch):
    """Dots cost time, and a test looks at few of them."""
    monkeypatch.setattr(style, "DPI", 60)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("runs") / "whole")


def draw(*runs, out, **settings):
    return run_plot_job(PlotJob(runs=tuple(map(str, runs)), out=out, **settings))


def test_a_run_gets_every_picture_under_its_name(whole, tmp_path):
    result = draw("whole", out=tmp_path / "out", run_dir=whole.parent)
    assert [file["picture"] for file in result["files"]] == ALL
    assert [Path(f["file"]).name for f in result["files"]] == [f"whole-{picture}.png" for picture in ALL]
    assert result["missing"] == result["problems"] == {}
    for file in result["files"]:
        pixels = imread(file["file"])[..., :3]
        assert pixels.shape[1] == 7 * style.DPI
        assert pixels.std() > 0.05  # something is on it


def test_svg_and_csv_too(whole, tmp_path):
    result = draw(whole, out=tmp_path, formats=("svg", "csv", "svg"))
    names = sorted(Path(file["file"]).name for file in result["files"])
    assert names == sorted([*(f"whole-{picture}.svg" for picture in ALL), "whole-rounds.csv"])
    for path in tmp_path.glob("*.svg"):
        assert ET.parse(path).getroot().tag.endswith("svg")  # noqa: S314  (our own)
    assert len((tmp_path / "whole-rounds.csv").read_text().splitlines()) == 1 + 2 * 3


def test_the_same_run_gives_the_same_svg(whole, tmp_path):
    for out in ("one", "two"):
        draw(whole, out=tmp_path / out, formats=("svg",))
    assert (tmp_path / "one/whole-methods.svg").read_bytes() == (
        tmp_path / "two/whole-methods.svg"
    ).read_bytes()


def test_several_runs_are_overlaid(whole, tmp_path):
    other = write_run(tmp_path / "other", rounds=2, validates=False)
    result = draw(whole, other, whole, out=tmp_path / "out")
    assert [(f["run"], f["picture"]) for f in result["files"][-2:]] == [
        ("all runs", "accuracy"),
        ("all runs", "bytes"),
    ]
    assert len(result["files"]) == 2 * len(ALL) + 2


def test_runs_of_one_name_do_not_overwrite_each_other(whole, tmp_path):
    twin = write_run(tmp_path / "whole")
    result = draw(whole, twin, out=tmp_path / "out")
    files = [file["file"] for file in result["files"]]
    assert len(set(files)) == len(files)


def test_pictures_of_before_are_replaced(whole, tmp_path):
    draw(whole, out=tmp_path)
    kept = (tmp_path / "whole-people.png").read_bytes()
    (tmp_path / "whole-people.png").write_bytes(b"torn")
    draw(whole, out=tmp_path)
    assert (tmp_path / "whole-people.png").read_bytes() == kept
    assert list(tmp_path.glob(".*")) == []  # no scratch file is left


def test_where_nobody_validates_the_accuracy_on_arrival_is_drawn(tmp_path):
    run = DrawnRun.read(write_run(tmp_path / "run", validates=False))
    assert run.kind() == ARRIVAL
    assert [m.row for m in run.curves(run.kind())] == ["federated", "federated_distilled"]


def test_bytes_are_those_sent_until_an_accuracy_was_reached(whole):
    run = DrawnRun.read(whole)
    parts = run.history.of("federated_distilled")
    (mean,) = (a.mean for m, a in run.curves(VALIDATION).items() if m.row == "federated_distilled")
    assert megabytes(parts, mean, VALIDATION) == [6.0, 10.0, 14.0]  # 2 MB of pack, 4 MB a round
    assert megabytes(parts, mean, ARRIVAL) == [2.0, 6.0, 10.0]  # weights that arrive are of the round before


def test_what_a_run_does_not_have_is_named(tmp_path):
    run = write_run(tmp_path / "young", tested=(), rounds=1)
    result = draw(run, out=tmp_path / "out")
    assert result["missing"] == {
        "young": {"people": "nobody was tested yet", "methods": "nobody was tested yet"}
    }
    assert "young: no picture of people: nobody was tested yet" in plot_text(result)


def test_a_corrupt_record_is_drawn_as_far_as_it_can_be_read(tmp_path, capsys):
    run = write_run(tmp_path / "torn")
    with (run / "rounds.jsonl").open("a") as file:
        file.write(
            '{garbage\n{"event": "round", "part": "seed0/fold0/federated", "round": 1e999}\n{"event": "rou'
        )
    (run / "result.json").write_text("[1, 2")
    result = draw(run, out=tmp_path / "out")
    assert [file["picture"] for file in result["files"]] == ALL
    said = capsys.readouterr().err
    assert "myofed: torn: rounds.jsonl, line" in said
    assert "myofed: torn: result.json is not readable" in said
    assert result["problems"]["torn"]


def test_names_are_drawn_and_never_obeyed(tmp_path, recwarn):
    run = write_run(tmp_path / "$x^2$ <b>_", people=HOSTILE, tested=HOSTILE, gestures=HOSTILE)
    result = draw(run, run, out=tmp_path / "out", formats=("svg", "png"))
    assert result["missing"] == {}
    assert {path.parent for path in tmp_path.rglob("*.svg")} == {tmp_path / "out"}
    for path in tmp_path.rglob("*.svg"):
        text = path.read_text(encoding="utf-8")
        root = ET.fromstring(text)  # noqa: S314  (well-formed, whatever a name holds)
        assert not [e for e in root.iter() if e.tag.endswith(("script", "}b"))]
    assert not [w for w in recwarn if "Glyph" in str(w.message)]


def test_a_name_is_one_short_line_that_keeps_its_end():
    assert shown("subject_with_a_long_name_0123", limit=15) == "subject_w…_0123"
    assert shown("a\nb\u202e") == "a\ufffdb\ufffd"
    assert shown("_x") == " _x"  # Matplotlib hides keys that begin with an underscore
    assert shown("") == "(no name)"


def test_hundreds_of_people_and_22_gestures_fit(tmp_path):
    many = [f"person{n:03}" for n in range(300)]
    run = write_run(tmp_path / "many", tested=many, rounds=1, gestures=[f"gesture{k}" for k in range(22)])
    result = draw(run, out=tmp_path / "out")
    assert [file["picture"] for file in result["files"]] == ALL


def test_nothing_to_draw_at_all_is_an_error(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "run.json").write_text("nope")
    with pytest.raises(DataError, match=r"nothing to draw in empty: .*nobody was tested yet"):
        draw(tmp_path / "empty", out=tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_run_that_is_none_is_a_wrong_call_that_names_those_there_are(whole, tmp_path):
    with pytest.raises(ConfigError, match=r"RUN: found 'nobody'.*there are whole"):
        draw("nobody", out=tmp_path, run_dir=whole.parent)
    with pytest.raises(ConfigError, match="--format: found 'bmp', allowed are png, svg, csv"):
        draw(whole, out=tmp_path, formats=("bmp",))


def test_a_figure_that_cannot_be_drawn_leaves_the_others(whole, tmp_path, monkeypatch):
    def overflowing(run):
        raise OverflowError("too large to draw")

    monkeypatch.setattr(plotting, "people_picture", overflowing)
    result = draw(whole, out=tmp_path)
    assert result["missing"] == {"whole": {"people": "too large to draw"}}
    assert len(result["files"]) == len(ALL) - 1


def test_the_command_prints_the_files_and_leaves_the_run_alone(whole, tmp_path):
    before = sorted(path.name for path in whole.iterdir())
    myofed = shutil.which("myofed", path=str(Path(sys.executable).parent))
    command = [
        myofed,
        "plot",
        "whole",
        "--run-dir",
        whole.parent,
        "--out",
        tmp_path,
        "--format",
        "svg",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert [file["picture"] for file in json.loads(done.stdout)["files"]] == ALL
    assert sorted(path.name for path in whole.iterdir()) == before
