"""Settings: one name, one default, one check, and the same through JSON."""

import json
from dataclasses import dataclass, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from distillation.spec import AugmentSpec, PersonaliseSpec, Settings, SignalSpec, TrainSpec
from protocols.errors import ConfigError

SIGNAL = SignalSpec(("rest", "fist"), 200.0, 4)
POSITIVE = st.floats(1e-6, 1e6)
SHARE = st.floats(0, 10)
TRAIN = st.builds(
    TrainSpec,
    steps=st.integers(0, 10**6),
    batch_size=st.integers(2, 1000),
    learning_rate=POSITIVE,
    schedule=st.sampled_from(["constant", "one_cycle"]),
    label_smoothing=st.floats(0, 0.99),
    hard_weight=SHARE,
    soft_weight=SHARE,
    temperature=POSITIVE,
    augment=st.builds(AugmentSpec, gain=SHARE, noise=SHARE, rotation=SHARE),
)
SIGNALS = st.builds(
    SignalSpec,
    gestures=st.lists(st.text(max_size=5), min_size=2, max_size=5, unique=True).map(tuple),
    sample_rate_hz=POSITIVE,
    channels=st.integers(1, 64),
    window_ms=POSITIVE,
    stride_ms=POSITIVE,
    remove_mean=st.booleans(),
    band_pass_hz=st.none() | st.tuples(POSITIVE, POSITIVE),
    notch_hz=st.none() | POSITIVE,
)
PERSONALISE = st.builds(
    PersonaliseSpec, st.booleans(), st.booleans(), st.sampled_from(["all", "head"]), train=TRAIN
)


@given(st.one_of(TRAIN, SIGNALS, PERSONALISE))
def test_any_settings_come_back_through_json(spec):
    """Equal, of the same types, and hashable: they key caches."""
    back = type(spec).from_json(json.loads(json.dumps(spec.to_json())))
    assert back == spec
    assert hash(back) == hash(spec)


def test_what_is_not_said_has_its_default():
    """An empty object is the default settings."""
    assert TrainSpec.from_json({}) == TrainSpec()
    assert PersonaliseSpec.from_json({"train": {"steps": 5}}).train == TrainSpec(steps=5)


def test_a_whole_number_may_stand_for_a_float():
    """JSON and YAML write 200 for 200.0."""
    assert SignalSpec.from_json({**SIGNAL.to_json(), "sample_rate_hz": 200}) == SIGNAL


@pytest.mark.parametrize(
    ("kind", "values", "reason"),
    [
        (TrainSpec, {"stepz": 1}, "unknown key 'stepz', allowed are"),
        (PersonaliseSpec, {"train": {"stepz": 1}}, "TrainSpec: unknown key 'stepz'"),
        (TrainSpec, {"steps": "20"}, "steps: found '20', expected int"),
        (TrainSpec, {"steps": True}, "steps: found True, expected int"),
        (TrainSpec, {"steps": 2.5}, "steps: found 2.5, expected int"),
        (TrainSpec, {"steps": None}, "steps: found None, expected int"),
        (TrainSpec, {"steps": {"a": 1}}, "steps: found {'a': 1}, expected int"),
        (TrainSpec, {"augment": 3}, "augment: found 3, expected AugmentSpec"),
        (TrainSpec, {"learning_rate": [1]}, "learning_rate: found [1], expected float"),
        (PersonaliseSpec, {"own_normalisation": 1}, "own_normalisation: found 1, expected bool"),
        (SignalSpec, {**SIGNAL.to_json(), "gestures": "rest"}, "gestures: found 'rest', expected tuple"),
        (
            SignalSpec,
            {**SIGNAL.to_json(), "band_pass_hz": 3},
            "band_pass_hz: found 3, expected tuple or NoneType",
        ),
        (SignalSpec, {"gestures": ["a", "b"]}, "SignalSpec"),
        (TrainSpec, [], "TrainSpec: found list, expected an object"),
        (TrainSpec, None, "TrainSpec: found NoneType, expected an object"),
    ],
)
def test_settings_of_another_shape_are_named(kind, values, reason):
    """The key, what was found and what is expected."""
    with pytest.raises(ConfigError) as error:
        kind.from_json(values)
    assert reason in str(error.value)


@pytest.mark.parametrize(
    ("kind", "key", "wrong"),
    [
        *((TrainSpec, "steps", v) for v in (-1,)),
        *((TrainSpec, key, v) for key in ("batch_size", "pack_batch_size") for v in (0, 1)),
        *(
            (TrainSpec, key, v)
            for key in ("learning_rate", "temperature", "max_gradient_norm")
            for v in (0, -1)
        ),
        *(
            (TrainSpec, key, -0.1)
            for key in ("hard_weight", "soft_weight", "weight_decay", "label_smoothing")
        ),
        (TrainSpec, "label_smoothing", 1.0),
        (TrainSpec, "learning_rate", float("nan")),
        (TrainSpec, "schedule", "cosine"),
        *((AugmentSpec, key, -1.0) for key in ("gain", "noise", "rotation")),
        (PersonaliseSpec, "what", "body"),
    ],
)
def test_a_value_that_is_not_allowed_is_named(kind, key, wrong):
    """Wherever it is set: built, replaced or read."""
    with pytest.raises(ConfigError, match=f"{key}: found .*, allowed is"):
        kind(**{key: wrong})
    with pytest.raises(ConfigError, match=f"{key}: found .*, allowed is"):
        replace(kind(), **{key: wrong})
    with pytest.raises(ConfigError, match=f"{key}: found .*, allowed is"):
        kind.from_json({key: wrong})


@pytest.mark.parametrize(
    ("key", "wrong"),
    [
        ("gestures", ("rest",)),
        ("gestures", ("rest", "fist", "rest")),
        ("sample_rate_hz", 0.0),
        ("channels", 0),
        ("window_ms", 0.0),
        ("stride_ms", -1.0),
    ],
)
def test_a_signal_that_cannot_be_is_refused(key, wrong):
    """Two different gestures, a rate, a channel and a window are the least."""
    with pytest.raises(ConfigError, match=f"{key}: found"):
        replace(SIGNAL, **{key: wrong})


@given(st.integers(1, 400), st.sampled_from([100.0, 200.0, 1000.0, 2000.0]))
def test_a_window_is_its_milliseconds_in_samples(samples, rate_hz):
    """250 ms at 200 Hz are 50 samples; so for every whole number of them."""
    spec = replace(SIGNAL, sample_rate_hz=rate_hz, window_ms=1000 * samples / rate_hz)
    assert spec.window == samples


def test_every_setting_is_documented():
    """Each field's meaning stands under Attributes of its class."""
    for kind in (SignalSpec, AugmentSpec, TrainSpec, PersonaliseSpec):
        for field in fields(kind):
            assert f" {field.name}: " in kind.__doc__


def test_a_list_of_lists_becomes_tuples():
    """Nested lists too: settings are frozen through and through."""

    @dataclass(frozen=True)
    class Nested(Settings):
        pairs: tuple

    assert Nested.from_json({"pairs": [[1, 2], [3]]}).pairs == ((1, 2), (3,))
