"""The person who wears an emulated board."""

import json

import numpy as np
import pytest

from device.emulator.performer import Performer, Playback, count_size, counts, parse_repetitions
from distillation.datasets import open_dataset
from distillation.recording import Recording
from protocols.errors import ConfigError, DataError

RATE_HZ, TRIAL = 100, 50
GESTURES = ("rest", "fist", "point")


def dataset(folder, *, rest_label=0, scale=1.0, values=None):
    """Trials whose every sample says gesture and repetition: 10 × gesture + repetition."""
    pairs = [(g, r) for r in range(3) for g in range(len(GESTURES))]
    codes = np.concatenate([np.full((TRIAL, 2), 10 * g + r, np.int16) for g, r in pairs])
    np.savez(
        folder / "ada.npz",
        emg=codes if values is None else values,
        offset=np.arange(len(pairs) + 1) * TRIAL,
        label=np.array([g for g, _ in pairs], np.int16),
        rep=np.array([r for _, r in pairs], np.int16),
        session=np.zeros(len(pairs), np.int16),
    )
    meta = {"name": "tiny", "subjects": ["ada"], "label_names": GESTURES, "channels": 2, "scale": scale}
    meta |= {"sample_rate_hz": RATE_HZ} | ({} if rest_label is None else {"rest_label": rest_label})
    (folder / "meta.json").write_text(json.dumps(meta))
    return open_dataset(folder)


def performer(folder, **options):
    return Performer(dataset(folder), rng=np.random.default_rng(0), **options)


def played(person, n):
    return person.next(n)[:, 0].astype(int).tolist()


def after_reaction(person):
    """Skip the longest reaction."""
    person.next(int(0.35 * RATE_HZ) + 1)
    return person


def test_somebody_rests_until_prompted(tmp_path):
    assert set(played(performer(tmp_path), 5 * TRIAL)) == {0}


def test_a_prompt_is_followed_after_a_reaction_of_150_to_350_ms(tmp_path):
    person = performer(tmp_path)
    person.prompt("fist")
    begun = played(person, TRIAL).index(10)
    assert 0.15 * RATE_HZ <= begun <= 0.35 * RATE_HZ


def test_each_prompt_gives_the_next_repetition_over_and_over_until_the_next(tmp_path):
    person, seen = performer(tmp_path), []
    for _ in range(4):
        person.prompt("fist")
        seen.append(set(played(after_reaction(person), 3 * TRIAL)))
    assert seen == [{10}, {11}, {12}, {10}]


def test_only_the_repetitions_asked_for_are_performed(tmp_path):
    person = performer(tmp_path, repetitions=(2,))
    assert set(played(person, TRIAL)) == {2}
    person.prompt("point")
    assert set(played(after_reaction(person), TRIAL)) == {22}


def test_how_the_samples_are_cut_changes_nothing(tmp_path):
    whole, pieces = performer(tmp_path), performer(tmp_path)
    whole.prompt("fist")
    pieces.prompt("fist")
    cut = np.concatenate([pieces.next(n) for n in (1, 7, 60, 132)])
    assert np.array_equal(whole.next(200), cut)


@pytest.mark.parametrize("word", ["rest", ""])
def test_rest_is_known_by_the_sets_name_and_by_ours(tmp_path, word):
    person = Performer(dataset(tmp_path, rest_label=1), rng=np.random.default_rng(0))
    assert person.prompt(word) == "fist"


def test_a_set_without_a_rest_rests_with_its_quietest_gesture(tmp_path):
    rng = np.random.default_rng(0)
    loudness = np.repeat(np.tile([50, 200, 5], 3), TRIAL)[:, None]  # rest is called otherwise there
    values = (rng.normal(size=(9 * TRIAL, 2)) * loudness).astype(np.int16)
    found = dataset(tmp_path, rest_label=None, values=values)
    named = found.meta.model_copy(update={"label_names": ("hold", "fist", "point")})
    person = Performer(type(found)(found.folder, named), rng=rng)
    assert person.rest == "point"


def test_an_unknown_gesture_is_refused_by_name_with_those_known(tmp_path):
    person = performer(tmp_path)
    assert person.answer("wave") == (False, "found gesture 'wave', ada knows rest, fist, point")
    assert person.answer("fist") == (True, "fist")


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"repetitions": (1, 7)}, r"repetitions: found \[7\], ada has \[0, 1, 2\]"),
        ({"rest": "sleep"}, "found gesture 'sleep'"),
        ({"subject": "bob"}, "found 'bob', tiny has ada"),
    ],
)
def test_what_is_not_there_is_named(tmp_path, options, expected):
    with pytest.raises(ConfigError, match=expected):
        performer(tmp_path, **options)


def test_recordings_without_holds_are_refused(tmp_path):
    found = dataset(tmp_path)
    bare = Recording(np.zeros((9, 2), np.float32), np.arange(9) / RATE_HZ, RATE_HZ, "ada")
    stub = type("Bare", (), {"subjects": ("ada",), "recordings": lambda *_: (bare,), "meta": found.meta})()
    stub.sample_rate_hz, stub.channels = RATE_HZ, 2
    with pytest.raises(DataError, match="without a held gesture"):
        Performer(stub, rng=np.random.default_rng(0))


def test_stored_integers_become_the_same_counts(tmp_path):
    person = Performer(dataset(tmp_path, scale=5e-5), rng=np.random.default_rng(0), repetitions=(1,))
    assert person.uv_per_count == 5e-5
    assert (counts(person.next(10), person.uv_per_count) == 1).all()


def test_the_largest_value_of_real_numbers_is_the_largest_count():
    emg = np.random.default_rng(0).normal(0, 30, (1000, 4)).astype(np.float32)
    found = counts(emg, count_size([emg]))
    assert np.abs(found).max() == 32767
    assert np.abs(found * count_size([emg]) - emg).max() <= count_size([emg]) / 2 * 1.01


def test_silence_has_a_count_too():
    assert count_size([np.zeros((5, 1), np.float32)]) == 1


def test_what_is_no_number_is_refused():
    with pytest.raises(DataError, match="expected numbers"):
        count_size([np.full((5, 1), np.nan, np.float32)])


def test_a_playback_begins_again_at_its_end():
    emg = np.arange(10, dtype=np.float32).reshape(5, 2)
    recording = Recording(emg, np.arange(5) / RATE_HZ, RATE_HZ, "ada")
    player = Playback([recording])
    assert player.next(12)[:, 0].tolist() == [0, 2, 4, 6, 8, 0, 2, 4, 6, 8, 0, 2]
    assert player.next(1)[:, 0].tolist() == [4]
    assert player.gestures == ()
    assert player.answer("fist")[0] is False


def test_repetitions_are_numbers_with_commas():
    assert parse_repetitions("0,12") == (0, 12)
    assert parse_repetitions(None) is None
    for wrong in ("", "a", "1,", "-1", "1 2"):
        with pytest.raises(ConfigError, match="expected numbers with commas"):
            parse_repetitions(wrong)
