"""Building survives a kill: finished shards are kept, and the manifest comes out the same."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from packs import K, expected, facts, make, predict, segments

from protocols.codec import decode, encode, kl_per_window, top1_per_window
from protocols.errors import ConfigError, DataError
from protocols.pack import KnowledgePack


class CountedTeacher:
    def __init__(self, stop_at=None):
        self.num_windows, self.stop_at = 0, stop_at

    def __call__(self, windows):
        self.num_windows += len(windows)
        if self.stop_at is not None and self.num_windows > self.stop_at:
            raise KeyboardInterrupt
        return predict(windows)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_shards_hold_their_share_and_measurements_are_of_all(tmp_path):
    manifest = make(tmp_path / "pack")
    _, logits = expected(segments())
    assert [info.num_windows for info in manifest.shards][:-1] == [16] * (len(manifest.shards) - 1)
    assert manifest.num_windows == len(logits)
    coded = decode(encode(logits, "row-uint8"), "row-uint8", slice(None))
    assert manifest.kl_loss == pytest.approx(kl_per_window(logits, coded, "categorical").mean())
    assert manifest.top1_agreement == top1_per_window(logits, coded, "categorical").mean()


def test_interrupted_and_continued_gives_the_same_bytes(tmp_path):
    make(tmp_path / "whole")
    for stop_at in (1, 20, 40):
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "broken", predict=CountedTeacher(stop_at))
    teacher = CountedTeacher()
    make(tmp_path / "broken", predict=teacher)
    assert files(tmp_path / "broken") == files(tmp_path / "whole")
    assert (
        teacher.num_windows == len(expected(segments())[0]) - 48
    )  # three finished shards were not asked again


def test_kill_9_loses_only_the_shard_in_the_making(tmp_path):
    """A real process, killed by itself after 40 windows: two shards of 16 stay."""
    program = (
        "import os, signal, sys; from pathlib import Path; sys.path.insert(0, sys.argv[2]); import packs\n"
        "seen = 0\n"
        "def teacher(windows):\n"
        "    global seen; seen += len(windows)\n"
        "    if seen > 40: os.kill(os.getpid(), signal.SIGKILL)\n"
        "    return packs.predict(windows)\n"
        "packs.make(Path(sys.argv[1]), predict=teacher)\n"
    )
    here = Path(__file__).parent
    environment = os.environ | {"PYTHONPATH": str(here.parents[1])}
    broken = tmp_path / "broken"
    killed = subprocess.run([sys.executable, "-c", program, broken, here], env=environment, check=False)
    assert killed.returncode == -signal.SIGKILL
    assert not (broken / "manifest.json").exists()
    teacher = CountedTeacher()
    make(broken, predict=teacher)
    make(tmp_path / "whole")
    assert files(broken) == files(tmp_path / "whole")
    assert teacher.num_windows == len(expected(segments())[0]) - 32


def test_a_torn_line_and_a_damaged_shard_are_made_again(tmp_path):
    make(tmp_path / "whole")
    broken = tmp_path / "broken"
    with pytest.raises(KeyboardInterrupt):
        make(broken, predict=CountedTeacher(70))
    journal = broken / "building.jsonl"
    done = [json.loads(line)["info"]["sha256"] for line in journal.read_text().splitlines()[1:]]
    (broken / f"{done[1]}.shard").write_bytes(b"damaged")
    with journal.open("a") as file:
        file.write('{"info": {"sha')
    make(broken)
    assert files(broken) == files(tmp_path / "whole")


def test_a_finished_pack_is_not_built_again(tmp_path):
    manifest = make(tmp_path / "pack")
    teacher = CountedTeacher()
    assert make(tmp_path / "pack", predict=teacher) == manifest
    assert teacher.num_windows == 0


@pytest.mark.parametrize("finished", [True, False])
def test_another_pack_in_the_folder_is_refused(tmp_path, finished):
    if finished:
        make(tmp_path / "pack")
    else:
        with pytest.raises(KeyboardInterrupt):
            make(tmp_path / "pack", predict=CountedTeacher(40))
    with pytest.raises(ConfigError, match="another"):
        make(tmp_path / "pack", manifest=facts(teacher_sha256="cd" * 32))


def test_progress_counts_every_window(tmp_path):
    told = []
    manifest = make(tmp_path / "pack", progress=told.append)
    assert told == sorted(set(told))
    assert told[-1] == manifest.num_windows


def test_a_bad_output_ends_the_build_with_a_reason(tmp_path):
    def broken(windows):
        return np.full((len(windows), K), np.nan, np.float32)

    with pytest.raises(DataError, match="not finite"):
        make(tmp_path / "a", predict=broken)
    with pytest.raises(DataError, match=r"outputs \(8, 2\), the pack is for \(8, 4\)"):
        make(tmp_path / "b", predict=lambda windows: predict(windows)[:, :2])


def test_recordings_that_hold_no_window_end_with_a_reason(tmp_path):
    with pytest.raises(DataError, match="made: no recording is as long as a window of 10 samples"):
        make(tmp_path / "pack", source=segments(samples=(3, 9)))


def test_short_recordings_are_passed_over(tmp_path):
    source = [*segments(2, samples=(3, 9)), *segments(2)]
    make(tmp_path / "pack", source=source)
    pack = KnowledgePack.open(tmp_path / "pack")
    assert np.array_equal(pack.take(np.arange(len(pack)))[0], expected(source[2:])[0])


def test_a_stray_segment_is_refused_by_name(tmp_path):
    other = facts(channel_map=(0, 1))
    with pytest.raises(DataError, match=r"s0, trial 0: found int8 \(\d+, 3\), expected integers \(T, 2\)"):
        make(tmp_path / "pack", manifest=other)
