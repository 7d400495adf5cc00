"""A pack gives back what the teacher saw and said, and nothing that was tampered with."""

import json
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from packs import C, K, T, expected, facts, make, predict, segments, weights

from protocols.errors import DataError, PackMismatch, VersionMismatch
from protocols.manifest import Manifest, PackTask, ShardInfo, SignedManifest, fits
from protocols.pack import KnowledgePack, read_manifest
from protocols.shard import Segment, Shard
from protocols.signing import load_or_create_key, public_key_of


@pytest.fixture
def folder(tmp_path):
    make(tmp_path / "pack")
    return tmp_path / "pack"


def task(**changes):
    return PackTask(("rest", "fist", "point", "wave"), "categorical", 200.0, (0, 1, 2), T, **changes)


def test_windows_come_back_exactly_and_logits_within_the_code(folder):
    windows, logits = expected(segments())
    pack = KnowledgePack.open(folder)
    found, said = pack.take(np.arange(len(pack)))
    assert found.dtype == said.dtype == np.float32
    assert np.array_equal(found, windows)
    below = logits - logits.max(axis=1, keepdims=True)
    assert np.abs(said - below).max() <= np.ptp(logits, axis=1).max() / 500
    assert np.array_equal(pack.logits(np.arange(len(pack))), said)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.uint16, np.int32])
def test_recorded_integers_stay_what_they_are(tmp_path, dtype):
    make(tmp_path / "pack", source=segments(dtype=dtype))
    pack = KnowledgePack.open(tmp_path / "pack")
    assert {shard.tensors["emg"].dtype for shard in pack._shards} == {np.dtype(dtype)}
    assert np.array_equal(pack.take(np.arange(len(pack)))[0], expected(segments(dtype=dtype))[0])


def test_any_order_and_repeats(folder):
    pack = KnowledgePack.open(folder)
    whole = pack.take(np.arange(len(pack)))
    indices = np.array([40, 3, 3, len(pack) - 1, 0, 17])
    for part, all_of_it in zip(pack.take(indices), whole, strict=True):
        assert np.array_equal(part, all_of_it[indices])
    assert pack.take(np.array([], np.int64))[0].shape == (0, C, T)
    assert np.array_equal(pack.windows(5), whole[0][5])


@pytest.mark.parametrize("outside", [-1, 10_000])
def test_an_index_outside_is_an_error(folder, outside):
    with pytest.raises(IndexError):
        KnowledgePack.open(folder).take(np.array([0, outside]))


def test_batches_give_every_window_once(folder):
    pack = KnowledgePack.open(folder)
    batches = list(pack.batches(np.random.default_rng(3), 7))
    assert {len(windows) for windows, _ in batches[:-1]} == {7}
    seen = np.concatenate([windows for windows, _ in batches])
    assert sorted(map(bytes, seen)) == sorted(map(bytes, pack.take(np.arange(len(pack)))[0]))
    again = next(pack.batches(np.random.default_rng(3), 7))[0]
    assert np.array_equal(again, batches[0][0])


def test_outputs_alone_serve_who_holds_the_set(tmp_path):
    """No window in any file; the holder's recordings give the very same ones."""
    manifest = make(tmp_path / "pack", manifest=facts(includes_windows=False, license="none stated"))
    recordings = {(s.subject, s.trial): s.codes * s.scale for s in segments()}
    pack = KnowledgePack.open(tmp_path / "pack", trials=lambda subject, trial: recordings[subject, trial])
    windows, logits = pack.take(np.arange(len(pack)))
    assert np.array_equal(windows, expected(segments())[0])
    assert (logits.argmax(1) == expected(segments())[1].argmax(1)).mean() > 0.95
    assert manifest.num_bytes / manifest.num_windows < K + 2 + 60  # short shards: the header counts
    for path in (tmp_path / "pack").glob("*.shard"):
        assert b'"emg"' not in path.read_bytes()


def test_outputs_alone_are_refused_without_the_set_or_with_another(tmp_path):
    make(tmp_path / "pack", manifest=facts(includes_windows=False))
    with pytest.raises(DataError, match="holds no windows of made"):
        KnowledgePack.open(tmp_path / "pack").take(np.array([0]))
    other = KnowledgePack.open(tmp_path / "pack", trials=lambda _s, _t: np.zeros((T + 1, C), np.float32))
    with pytest.raises(DataError, match="not the recordings that the teacher saw"):
        other.take(np.array([3]))


def test_references_point_into_the_trial(folder):
    pack = KnowledgePack.open(folder)
    trials = {(s.subject, s.trial): s for s in segments()}
    for index in range(len(pack)):
        subject, trial, start = pack.reference(index)
        segment = trials[subject, trial]
        window = (segment.codes[start : start + T] * segment.scale).T
        assert np.array_equal(pack.windows(index), window.astype(np.float32))


def test_windows_of_one_person_have_one_number(folder):
    pack = KnowledgePack.open(folder)
    subjects = [pack.reference(index)[0] for index in range(len(pack))]
    assert [("s0", "s1")[number] for number in pack.people()] == subjects


def test_event_streams_keep_frames(tmp_path):
    """Independent outputs (N, K, F) keep their level."""
    frames = np.random.default_rng(2).normal(0, 1, (C * T, K * 6)).astype(np.float32)

    def teacher(windows):
        return (windows.reshape(len(windows), -1) @ frames).reshape(-1, K, 6) * np.float32(0.1)

    manifest = make(
        tmp_path / "pack",
        manifest=facts(output_kind="independent", codec="output-uint8", num_frames=6),
        predict=teacher,
    )
    exact = teacher(expected(segments())[0])
    said = KnowledgePack.open(tmp_path / "pack").logits(np.arange(manifest.num_windows))
    assert said.shape == exact.shape
    assert np.abs(said - exact).max() <= np.ptp(exact) / 500
    assert 0 < manifest.kl_loss < 1e-4


def test_a_pack_fits_its_task(folder):
    fits(KnowledgePack.open(folder).manifest, task())


@pytest.mark.parametrize(
    ("field", "other"),
    [
        ("gestures", ("fist", "rest", "point", "wave")),
        ("sample_rate_hz", 1000.0),
        ("channel_map", (2, 1, 0)),
        ("window_length", 50),
        ("filters", ("notch 50 Hz",)),
        ("output_kind", "independent"),
        ("scaling", "z-score"),
    ],
)
def test_a_misfit_names_its_field(field, other):
    with pytest.raises(PackMismatch, match=field) as caught:
        fits(replace(facts(), **{field: other}), task())
    assert (caught.value.field, caught.value.found) == (field, other)
    assert caught.value.expected == getattr(task(), field)


def test_another_format_version_names_both(folder):
    changed = json.loads((folder / "manifest.json").read_bytes()) | {"format_version": 7}
    with pytest.raises(VersionMismatch, match=r"version 7, .* 1$"):
        Manifest.from_json(json.dumps(changed).encode())


@pytest.mark.parametrize("harm", ["flip", "cut", "grow", "swap", "remove"])
def test_a_damaged_or_foreign_shard_is_refused_by_name(folder, harm):
    victim, other = sorted(folder.glob("*.shard"))[:2]
    content = bytearray(victim.read_bytes())
    if harm == "flip":
        content[-1] ^= 1
    changed = {"cut": content[:-1], "grow": content + b"\0", "swap": other.read_bytes()}.get(harm, content)
    victim.unlink()
    if harm != "remove":
        victim.write_bytes(changed)
    with pytest.raises(DataError, match=victim.name):
        KnowledgePack.open(folder)


def test_a_changed_manifest_or_foreign_signer_is_refused(folder):
    manifest = folder / "manifest.json"
    content = manifest.read_bytes()
    manifest.write_bytes(content.replace(b'"CC0-1.0"', b'"MIT-0.0"'))
    with pytest.raises(DataError, match="does not fit"):
        KnowledgePack.open(folder)
    manifest.write_bytes(content)
    stranger = public_key_of(load_or_create_key(folder / "other.key"))
    with pytest.raises(DataError, match="signed by key"):
        KnowledgePack.open(folder, public_key=stranger)
    ours = public_key_of(load_or_create_key(folder.parent / "pack.key"))
    KnowledgePack.open(folder, public_key=ours)


def test_a_folder_without_a_pack_says_so(tmp_path):
    with pytest.raises(DataError, match=r"no knowledge pack, .*manifest\.json is missing"):
        KnowledgePack.open(tmp_path)


@pytest.mark.parametrize(
    "name", ["../" * 10 + "etc/passwd", "a/" + "0" * 62, "A" * 64, "", "0" * 63 + "\n", "0" * 65]
)
def test_a_shard_cannot_name_a_path(folder, name):
    facts_text = json.loads((folder / "manifest.json").read_bytes())
    facts_text["shards"][0]["sha256"] = name
    with pytest.raises(DataError, match="sha256"):
        Manifest.from_json(json.dumps(facts_text).encode())


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gestures", []),
        ("gestures", ["a", "a", "b", "c"]),
        ("gestures", "rest"),
        ("gestures", [1, 2]),
        ("channel_map", [True, False]),
        ("channel_map", [-1]),
        ("window_length", 10**12),
        ("window_length", 10.0),
        ("window_stride", 0),
        ("sample_rate_hz", float("nan")),
        ("temperature", -1.0),
        ("codec", "pickle"),
        ("output_kind", "both"),
        ("teacher_sha256", "xyz"),
        ("includes_windows", 1),
        ("num_windows", 1),
        ("shards", [{"sha256": "0" * 64}]),
        ("shards", [[]]),
        ("shards", None),
        ("extra", 1),
        ("augmentation_seed", "7"),
    ],
)
def test_a_wrong_fact_is_refused_by_key(folder, key, value):
    text = json.loads((folder / "manifest.json").read_bytes()) | {key: value}
    with pytest.raises(DataError, match=key):
        Manifest.from_json(json.dumps(text, sort_keys=True, separators=(",", ":")).encode())


@pytest.mark.parametrize("content", [b"", b"[" * 100_000, b"[]", b"null", b"\xff", b"{}"])
def test_what_is_no_manifest_is_refused(content):
    with pytest.raises((DataError, VersionMismatch)):
        Manifest.from_json(content)


def test_manifest_round_trip_and_hash(folder):
    signed = read_manifest(folder)
    manifest = signed.verify()
    assert Manifest.from_json(manifest.to_json()) == manifest
    assert SignedManifest.of(manifest, load_or_create_key(folder.parent / "pack.key")) == signed
    spaced = json.dumps(json.loads(signed.content), sort_keys=True).encode()
    with pytest.raises(DataError, match="canonical"):
        Manifest.from_json(spaced)


SHARD_HARM = {
    "no outputs": lambda t: t.pop("logits_code"),
    "other type": lambda t: t.update(logits_code=t["logits_code"].astype(np.int16)),
    "too few": lambda t: t.update(logits_scale=t["logits_scale"][:-1]),
    "nan": lambda t: t.update(logits_scale=np.full_like(t["logits_scale"], np.nan)),
    "segments": lambda t: t.update(segment_windows=t["segment_windows"] + 1),
    "negative": lambda t: t.update(segment_windows=np.array([17, -1], np.int32)),
    "subject": lambda t: t.update(segment_subject=t["segment_subject"] + 9),
    "start": lambda t: t.update(segment_start=t["segment_start"] - 1),
    "emg": lambda t: t.update(emg=t["emg"][:-1]),
    "floats": lambda t: t.update(emg=t["emg"].astype(np.float32)),
    "no emg": lambda t: t.pop("emg"),
}


@pytest.mark.parametrize("harm", SHARD_HARM)
def test_a_shard_that_contradicts_its_manifest_is_refused(harm):
    """Signed does not mean sound: a shard's arrays are checked before one is used."""
    from protocols.tensors import decode_tensors, encode_tensors

    source = list(segments(2, samples=(60, 61)))
    shard = Shard.of(facts(), [source[0].part(0, 8, T, 5), source[1].part(0, 8, T, 5)])
    content = shard.encode(np.zeros((16, K), np.float32))
    Shard.decode(content, facts(), 16, where="sound")
    tensors, metadata = decode_tensors(content, where="x")
    SHARD_HARM[harm](tensors)
    with pytest.raises(DataError, match="harmed"):
        Shard.decode(encode_tensors(tensors, metadata), facts(), 16, where="harmed")


def test_prepared_emg_becomes_integers_again():
    """With the recorded unit exactly; without one, within 16 bits of each channel's peak."""
    rng = np.random.default_rng(0)
    codes = rng.integers(-128, 128, (200, C))
    rms = rng.uniform(10, 40, C).astype(np.float32)
    prepared = (codes / rms).astype(np.float32)
    exact = Segment.from_emg(prepared, subject="s", trial=0, unit=1 / rms)
    assert np.array_equal(exact.codes, codes)
    near = Segment.from_emg(prepared, subject="s", trial=0)
    assert np.abs(near.codes * near.scale - prepared).max() <= 1.6e-5 * np.abs(prepared).max()
    silent = Segment.from_emg(np.zeros((20, C), np.float32), subject="s", trial=0)
    assert not (silent.codes * silent.scale).any()
    with pytest.raises(DataError, match="off the recorded integers"):
        Segment.from_emg(prepared, subject="s", trial=0, unit=0.7 / rms)
    with pytest.raises(DataError, match="s, trial 4: non-finite"):
        Segment.from_emg(np.full((20, C), np.nan, np.float32), subject="s", trial=4)


def test_a_large_pack_is_never_loaded_whole(tmp_path):
    """120,000 windows of 8 channels: opening and taking cost a small part of the pack's size."""
    rng = np.random.default_rng(0)
    manifest = facts(channel_map=tuple(range(8)), window_length=50, window_stride=25)
    big = rng.integers(-128, 128, (25 * 2000 + 25, 8)).astype(np.int8)
    source = (Segment("s", i, 0, np.roll(big, i, 0), np.ones(8, np.float32)) for i in range(60))
    matrix = rng.normal(0, 0.01, (50 * 8, K)).astype(np.float32)
    built = make(
        tmp_path / "pack",
        manifest=manifest,
        source=source,
        predict=lambda w: w.reshape(len(w), -1) @ matrix,
        shard_windows=4096,
        batch_size=4096,
    )
    assert (built.num_windows, len(built.shards)) == (120_000, 30)
    tracemalloc.start()
    pack = KnowledgePack.open(tmp_path / "pack")
    for _ in range(20):
        windows, logits = pack.take(rng.integers(len(pack), size=64))
    _, peak_bytes = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (windows.shape, logits.shape) == ((64, 8, 50), (64, K))
    assert built.num_bytes > 24e6
    assert peak_bytes < 4e6


def test_shards_are_listed_once():
    info = ShardInfo("0" * 64, 1, 1)
    with pytest.raises(DataError, match="each shard once"):
        facts(shards=(info, info))


def test_the_teacher_here_uses_every_sample():
    """Guards the tests above: another sample gives other logits."""
    windows = np.zeros((1, C, T), np.float32)
    windows[0, -1, -1] = 1
    assert np.array_equal(predict(windows)[0], weights()[-1])
