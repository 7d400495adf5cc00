"""A teacher from public people's recordings."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from small_federation import GESTURES, PUBLIC, SIGNAL, TESTED, C, T

from distillation.datasets import open_dataset
from distillation.distil import predict
from distillation.prepare import prepare, window_spec
from distillation.spec import TrainSpec
from distillation.teach import new_model, scaled_people, teach
from distillation.weights import get_weights
from protocols.errors import ConfigError, DataError, DivergedError

SPEC = TrainSpec(steps=40, batch_size=32, learning_rate=3e-3)


@pytest.fixture
def people(dataset):
    return scaled_people(open_dataset(dataset), PUBLIC, SIGNAL)


def rng(seed=0):
    return np.random.default_rng(seed)


def same(first, second):
    a, b = get_weights(first), get_weights(second)
    return all(np.array_equal(a[name], b[name]) for name in a)


def test_a_new_model_is_seeded_and_knows_its_gestures():
    """The same generator, the same weights; global randomness is neither used nor moved."""
    before = torch.get_rng_state()
    first = new_model("convonly", SIGNAL, rng())
    assert torch.equal(torch.get_rng_state(), before)
    torch.rand(3)
    assert same(first, new_model("convonly", SIGNAL, rng()))
    assert not same(first, new_model("convonly", SIGNAL, rng(1)))
    assert first.label_names == GESTURES
    assert (first.spec.channels, first.spec.outputs, first.spec.window) == (C, 3, T)


def test_an_unknown_model_is_refused():
    """By name, with those that there are."""
    with pytest.raises(ConfigError, match="found 'giant'"):
        new_model("giant", SIGNAL, rng())


def test_everybody_is_scaled_by_their_own_signal(people):
    """Each person's RMS is 1 in every channel, however loud they were."""
    assert tuple(people) == PUBLIC
    for trials in people.values():
        np.testing.assert_allclose(trials.channel_rms(), np.ones(C), rtol=1e-5)


def test_a_person_without_the_gestures_is_refused(dataset):
    """A teacher is not trained on half of whom was named."""
    with pytest.raises(DataError, match=rf"made, {PUBLIC[0]}: .*wave"):
        scaled_people(open_dataset(dataset), PUBLIC, replace(SIGNAL, gestures=("wave", "pinch")))


def test_a_teacher_tells_the_gestures_of_strangers_apart(dataset, people):
    """It has never seen this person."""
    teacher = teach("convonly", list(people.values()), SIGNAL, SPEC, rng())
    (stranger,) = scaled_people(open_dataset(dataset), TESTED, SIGNAL).values()
    windows = stranger.window_set(window_spec(SIGNAL))
    assert (predict(teacher, windows.windows).argmax(axis=1) == windows.labels).mean() > 0.9
    assert not teacher.training


def test_the_same_generator_gives_the_same_teacher(people):
    """To the bit: a fold's teacher can be made again."""
    spec = replace(SPEC, steps=3)
    first, second = (teach("convonly", list(people.values()), SIGNAL, spec, rng()) for _ in range(2))
    assert same(first, second)
    assert not same(first, teach("convonly", list(people.values()), SIGNAL, spec, rng(1)))


def test_a_teacher_on_signals_that_are_not_finite_is_an_error(dataset):
    """An infinite sample does not become a teacher of NaN."""
    trials = prepare(open_dataset(dataset).recordings(PUBLIC[0]), SIGNAL)
    broken = replace(trials, emg=tuple(np.full_like(x, np.inf) for x in trials.emg))
    with pytest.raises(DivergedError):
        teach("convonly", [broken], SIGNAL, replace(SPEC, steps=2), rng())
