"""From a teacher's file and a folder of recordings to a signed pack; licences; kills."""

import json
import os
import signal
import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import torch

from distillation.datasets import open_dataset
from distillation.models import build_window
from distillation.spec import SignalSpec
from distillation.teacher import load_teacher
from distillation.weights import save_weights
from protocols.errors import ConfigError, DataError
from protocols.manifest import PackTask
from protocols.pack import KnowledgePack
from protocols.shard import Segment
from protocols.signing import load_or_create_key
from server.pack_builder import build_pack, pack_facts, person_segments, predictor, segments_of
from server.pack_job import PackJob, run_pack_job
from server.pack_license import may_pass_on, window_rights

torch.set_num_threads(1)

ROOT = Path(__file__).parents[2]
GESTURES = ("rest", "fist", "point")
C, RATE_HZ, WINDOW = 4, 200, 50


def write_dataset(folder, *, license_name="CC0-1.0", num_people=3, **meta):
    """Three people, three gestures, two repetitions of a second and a bit; integers as a board gives them."""
    folder.mkdir(parents=True)
    facts = {
        "name": folder.name,
        "subjects": [f"s{i}" for i in range(num_people)],
        "label_names": list(GESTURES),
        "channels": C,
        "sample_rate_hz": RATE_HZ,
        "n_sessions": 1,
        "units": "raw",
        "license": license_name,
    } | meta
    (folder / "meta.json").write_text(json.dumps(facts))
    for person in range(num_people):
        rng = np.random.default_rng(person)
        lengths = rng.integers(210, 300, 6)
        np.savez_compressed(
            folder / f"s{person}.npz",
            emg=rng.integers(-100, 100, (lengths.sum(), C)).astype(np.int8),
            offset=np.concatenate([[0], np.cumsum(lengths)]),
            label=np.tile(np.arange(3), 2).astype(np.int16),
            rep=np.repeat(np.arange(2), 3).astype(np.int16),
            session=np.zeros(6, np.int16),
        )


def write_teacher(path, **changes):
    sizes = {"channels": C, "outputs": len(GESTURES), "sample_rate_hz": RATE_HZ, "window": WINDOW} | changes
    model = build_window("convonly", **sizes, generator=torch.Generator().manual_seed(0))
    model.label_names = GESTURES
    save_weights(model, path)


@pytest.fixture
def job(tmp_path):
    write_dataset(tmp_path / "data" / "made")
    write_teacher(tmp_path / "teacher.safetensors")
    return make_job(tmp_path)


def make_job(tmp_path, **changes):
    settings = {
        "teacher": tmp_path / "teacher.safetensors",
        "data": "made",
        "subjects": ("s0", "s2"),
        "folder": tmp_path / "out" / "pack",
        "data_dir": tmp_path / "data",
        "shard_windows": 16,
    }
    return PackJob(**settings | changes)


def test_the_pack_holds_what_the_teacher_says_of_these_people(tmp_path, job):
    """Scaled by each person's own RMS, cut in time order, within the code of the teacher's own logits."""
    result = run_pack_job(job)
    pack = KnowledgePack.open(job.folder, public_key=result["public_key"])
    teacher = load_teacher(job.teacher)
    expected = []
    for subject in ("s0", "s2"):
        trials = [r.emg for r in open_dataset("made", job.data_dir).recordings(subject)]
        rms = np.sqrt(np.mean(np.concatenate(trials) ** 2, axis=0))
        for emg in trials:
            expected += [(emg / rms)[i : i + WINDOW].T for i in range(0, len(emg) - WINDOW + 1, WINDOW // 2)]
    windows, said = pack.take(np.arange(len(pack)))
    assert np.allclose(windows, expected, atol=1e-5)
    exact = predictor(teacher)(windows)
    assert np.abs(said - (exact - exact.max(1, keepdims=True))).max() <= np.ptp(exact, axis=1).max() / 500
    assert {pack.reference(i)[0] for i in range(len(pack))} == {"s0", "s2"}
    assert pack.manifest.gestures == GESTURES


def test_the_figures_are_the_packs(job):
    result = run_pack_job(job)
    manifest = KnowledgePack.open(job.folder).manifest
    assert (result["windows"], result["shards"]) == (manifest.num_windows, len(manifest.shards))
    assert result["bytes"] == sum(path.stat().st_size for path in job.folder.glob("*.shard"))
    assert result["kl_loss"] == manifest.kl_loss < 1e-4
    assert result["top1_agreement"] == manifest.top1_agreement > 0.9
    assert (result["license"], result["includes_windows"], result["local_only"]) == ("CC0-1.0", True, False)
    assert json.loads(json.dumps(result)) == result


def test_recorded_integers_go_in_unless_filters_change_them(tmp_path, job):
    run_pack_job(job)
    assert {s.tensors["emg"].dtype for s in KnowledgePack.open(job.folder)._shards} == {np.dtype(np.int8)}
    filtered = make_job(tmp_path, folder=tmp_path / "filtered", remove_mean=True)
    run_pack_job(filtered)
    pack = KnowledgePack.open(filtered.folder)
    assert {s.tensors["emg"].dtype for s in pack._shards} == {np.dtype(np.int16)}
    assert "remove_mean=true" in pack.manifest.filters


@pytest.mark.parametrize(
    ("license_name", "allowed"),
    [
        ("Apache-2.0", True),
        ("MIT", True),
        ("CC-BY-4.0 (LICENSE-DATA)", True),
        ("cc by 4.0", True),
        ("CC0-1.0", True),
        ("CC-BY-NC-4.0", False),
        ("CC BY-NC 4.0", False),
        ("CC-BY-ND-4.0", False),
        ("CC-BY-SA-4.0", False),
        ("GPL-3.0", False),
        ("none stated (README: asks for credit)", False),
        ("not MIT", False),
        ("", False),
        ("(MIT)", False),
    ],
)
def test_only_licences_known_to_allow_it_let_windows_out(license_name, allowed):
    assert may_pass_on(license_name) is allowed
    assert window_rights(license_name, wanted=None, simulation=False) == (allowed, False)
    assert window_rights(license_name, wanted=False, simulation=False) == (False, False)
    assert window_rights(license_name, wanted=None, simulation=True) == (True, not allowed)
    if not allowed:
        with pytest.raises(ConfigError, match="does not allow passing windows on"):
            window_rights(license_name, wanted=True, simulation=False)


def test_a_closed_set_gives_outputs_alone_that_its_holder_can_use(tmp_path):
    """Both sides prepare the same recordings, so the holder's windows are the teacher's."""
    write_dataset(tmp_path / "data" / "made", license_name="none stated")
    write_teacher(tmp_path / "teacher.safetensors")
    job = make_job(tmp_path)
    result = run_pack_job(job)
    assert (result["includes_windows"], result["local_only"]) == (False, False)
    whole = make_job(tmp_path, folder=tmp_path / "whole", simulation=True)
    assert run_pack_job(whole)["local_only"] is True
    dataset = open_dataset("made", tmp_path / "data")
    signal = SignalSpec(gestures=GESTURES, sample_rate_hz=RATE_HZ, channels=C)
    held = {(s.subject, s.trial): s.codes * s.scale for s in segments_of(dataset, ("s0", "s2"), signal)}
    pack = KnowledgePack.open(job.folder, trials=lambda subject, trial: held[subject, trial])
    every = np.arange(len(pack))
    for found, expected in zip(pack.take(every), KnowledgePack.open(whole.folder).take(every), strict=True):
        assert np.array_equal(found, expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"subjects": ("s9",)}, "subjects: found 's9', made has s0, s1, s2"),
        ({"subjects": ("s0", "s0")}, "twice"),
        ({"window_ms": 300}, r"window_ms: found 300 \(60 samples\), expected 250 \(50\)"),
        ({"device": "tpu"}, "allowed are cpu, cuda, auto"),
        ({"data": "nowhere"}, "nowhere"),
    ],
)
def test_a_wrong_setting_is_named(tmp_path, job, changes, message):
    with pytest.raises(ConfigError, match=message):
        run_pack_job(make_job(tmp_path, **changes))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": 8}, "channels: found 4 in made, expected 8"),
        ({"sample_rate_hz": 1000, "window": 250}, "rate"),
    ],
)
def test_a_teacher_of_another_signal_is_named(tmp_path, job, changes, message):
    write_teacher(job.teacher, **changes)
    with pytest.raises(ConfigError, match=message):
        run_pack_job(job)


def test_a_missing_teacher_is_a_sentence(tmp_path, job):
    for path, found in ((tmp_path / "nowhere", "nothing"), (tmp_path, "a folder")):
        with pytest.raises(DataError, match=f"teacher: found {found} at {path}, expected a safetensors file"):
            run_pack_job(make_job(tmp_path, teacher=path))


def test_recordings_are_no_teacher(tmp_path, job):
    """The first thing said is that the file is no checkpoint."""
    path = tmp_path / "data" / "made" / "s0.npz"
    with pytest.raises(
        DataError, match=f"teacher: {path} is no usable checkpoint: found a zip archive, expec"
    ):
        run_pack_job(make_job(tmp_path, teacher=path))


def test_a_file_where_the_pack_should_be_is_named(tmp_path, job):
    for out in (job.teacher, job.teacher / "pack"):
        with pytest.raises(ConfigError, match=f"out: found the file {job.teacher}, expected a folder"):
            run_pack_job(make_job(tmp_path, folder=out))


FACTS = {
    "filters": ["clip_abs=null", "remove_mean=true", "band_pass_hz=null", "notch_hz=null", 'mode="causal"']
}


@pytest.mark.parametrize(
    "wrong",
    [
        {"scaling": "none"},
        {"window_ms": 300.0},
        {"window_ms": "long"},
        {"window_ms": float("nan")},
        {"filters": 3},
        {"filters": [1]},
        {"filters": ["remove_mean=true"]},
        {"filters": ["clip_abs=9.0", *FACTS["filters"][1:]]},
        {"filters": [*FACTS["filters"][:4], 'mode="zero-phase"']},
        {"filters": [*FACTS["filters"], "rectify=true"]},
    ],
)
def test_a_teachers_file_that_says_what_we_cannot_prepare_is_refused(job, wrong):
    save_weights(load_teacher(job.teacher), job.teacher, FACTS | wrong)
    (field,) = wrong
    with pytest.raises(DataError, match=f"{field}: found"):
        run_pack_job(job)


def test_the_teachers_file_decides_where_it_speaks(tmp_path, job):
    """Older files say nothing of filters: there the flags decide."""
    flagged = make_job(tmp_path, folder=tmp_path / "flagged", remove_mean=True)
    run_pack_job(flagged)
    save_weights(load_teacher(job.teacher), job.teacher, FACTS)
    run_pack_job(job)
    found, expected = (KnowledgePack.open(each.folder).manifest for each in (job, flagged))
    assert found == expected
    assert found.filters == tuple(FACTS["filters"])


def test_a_teacher_with_a_licence_of_its_own_passes_it_on(tmp_path, job):
    teacher = load_teacher(job.teacher)
    teacher.license = "CC-BY-NC-4.0"
    save_weights(teacher, job.teacher)
    assert run_pack_job(job)["license"] == "CC0-1.0; teacher: CC-BY-NC-4.0"


def test_silent_channels_stay_silent(tmp_path, job):
    """A dead electrode has an RMS of 0: nothing is divided by it."""
    signal = SignalSpec(gestures=GESTURES, sample_rate_hz=RATE_HZ, channels=C)
    from distillation.prepare import own_scale, prepare

    trials = prepare(open_dataset("made", job.data_dir).recordings("s0"), signal)
    for emg in trials.emg:
        emg.flags.writeable = True
        emg[:, 2] = 0
    for segment in person_segments(trials, own_scale(trials), subject="s0", recorded=np.float32(1)):
        windows = segment.codes * segment.scale
        assert np.isfinite(windows).all()
        assert not windows[:, 2].any()


def test_kill_9_and_again_gives_the_same_bytes(tmp_path, job):
    """A real process with a real teacher, killed in its third batch."""
    program = (
        "import os, signal, sys; from pathlib import Path; import torch; torch.set_num_threads(1)\n"
        "from server.pack_job import PackJob, run_pack_job\n"
        "teacher, out, data = map(Path, sys.argv[1:])\n"
        "def stop(done):\n"
        "    if done >= 40: os.kill(os.getpid(), signal.SIGKILL)\n"
        "job = PackJob(teacher=teacher, data='made', subjects=('s0', 's2'), folder=out, data_dir=data,\n"
        "              shard_windows=16)\n"
        "run_pack_job(job, stop)\n"
    )
    broken = make_job(tmp_path, folder=tmp_path / "out" / "broken")
    run = [sys.executable, "-c", program, job.teacher, broken.folder, job.data_dir]
    killed = subprocess.run(run, env=os.environ | {"PYTHONPATH": str(ROOT)}, check=False)
    assert killed.returncode == -signal.SIGKILL
    kept = {path.name: path.stat().st_mtime_ns for path in broken.folder.glob("*.shard")}
    assert len(kept) == 2
    done = []
    run_pack_job(broken, done.append)
    assert done[0] == 48  # the first two shards of 16 are not asked again
    run_pack_job(job)
    assert {p.name: p.read_bytes() for p in broken.folder.iterdir()} == {
        p.name: p.read_bytes() for p in job.folder.iterdir()
    }
    assert {name: (broken.folder / name).stat().st_mtime_ns for name in kept} == kept


def test_building_stays_within_one_shard_of_memory(tmp_path):
    """Ten times the recordings, the same peak of Python's and numpy's memory."""
    teacher = build_window("convonly", channels=C, outputs=3, sample_rate_hz=RATE_HZ, window=WINDOW)
    task = PackTask(GESTURES, "categorical", RATE_HZ, tuple(range(C)), WINDOW)
    facts = pack_facts(teacher, task, dataset="made", license_name="MIT", window_stride=WINDOW)
    key = load_or_create_key(tmp_path / "key")
    peaks = []
    for num_trials in (2, 20):
        rng = np.random.default_rng(0)
        source = (
            Segment(
                "s", i, 0, rng.integers(-99, 99, (256 * WINDOW, C)).astype(np.int8), np.ones(C, np.float32)
            )
            for i in range(num_trials)
        )
        tracemalloc.start()
        build_pack(teacher, source, facts, tmp_path / str(num_trials), key, shard_windows=256)
        peaks.append(tracemalloc.get_traced_memory()[1])
        tracemalloc.stop()
    assert peaks[1] < 1.2 * peaks[0]


def test_the_command_prints_one_object(tmp_path, job):
    arguments = ["--teacher", job.teacher, "--data", "made", "--subjects", "s0,s2", "--out", job.folder]
    run = [sys.executable, "-m", "myofed", "pack", *arguments, "--data-dir", job.data_dir, "--json"]
    done = subprocess.run(run, cwd=ROOT, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    result = json.loads(done.stdout)
    assert result["windows"] == KnowledgePack.open(job.folder).manifest.num_windows
    wrong = subprocess.run(
        [*run, "--include-windows", "--remove-mean"], cwd=ROOT, check=False, capture_output=True
    )
    assert wrong.returncode == 2
    assert b"another knowledge pack" in wrong.stderr
    assert b"Traceback" not in wrong.stderr


def data_folder():
    folder = Path(os.environ.get("MYOFED_DATA", ROOT.parent / "shared" / "data"))
    if not (folder / "myo25_kanoga").is_dir():
        pytest.skip("the myo25 recordings are not here (MYOFED_DATA)")
    return folder


def test_real_recordings_keep_their_bytes(tmp_path):
    """Myo codes of 8 channels: 25 samples of stride and 10 bytes of outputs a window, within a tenth."""
    data = data_folder()
    gestures = open_dataset("myo25_kanoga", data).label_names[:8]
    model = build_window("convonly", channels=8, outputs=8, sample_rate_hz=200, window=50)
    model.label_names = gestures
    save_weights(model, tmp_path / "teacher.safetensors")
    job = make_job(tmp_path, data="myo25_kanoga", subjects=("s01", "s02"), data_dir=data, shard_windows=4096)
    result = run_pack_job(job)
    assert result["windows"] == 2 * 8 * 5 * 19
    assert result["bytes_per_window"] < 1.15 * (25 * 8 + 10)
    assert result["includes_windows"]
