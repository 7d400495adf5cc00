"""The distillation loop: it learns what it is told, from one source at a time, and says when it cannot."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from distillation.distil import Batches, distil, predict, torch_seed
from distillation.losses import soft_target_loss
from distillation.spec import AugmentSpec, TrainSpec
from distillation.weights import get_weights
from distillation.windows import Trials
from protocols.errors import ConfigError, DataError, DivergedError

C, T, K = 3, 12, 3
PLAIN = AugmentSpec(gain=0.0)
SPEC = TrainSpec(steps=30, batch_size=16, pack_batch_size=16, learning_rate=0.01, augment=PLAIN)
HARD = replace(SPEC, soft_weight=0.0)
SOFT = replace(SPEC, hard_weight=0.0, soft_weight=1.0, temperature=1.0)


class Student(nn.Module):
    """Mean amplitude of each channel, batch norm, dropout and a linear layer."""

    def __init__(self, dropout=0.0):
        super().__init__()
        self.norm, self.dropout, self.head = nn.BatchNorm1d(C), nn.Dropout(dropout), nn.Linear(C, K)
        self.seen = []

    def forward(self, windows):
        self.seen.append((self.training, windows.detach().clone()))
        return self.head(self.dropout(self.norm(windows.abs().mean(dim=2))))


class Pack:
    """Windows of two public people, each around a level of their own, with the logits of a fixed teacher."""

    def __init__(self, levels=(100.0, 200.0), n=40):
        rng = np.random.default_rng(5)
        self._people = np.repeat([7, 3], n)
        self._windows = rng.normal(size=(2 * n, C, T)).astype(np.float32)
        self._windows += np.repeat(levels, n)[:, None, None].astype(np.float32)
        self._logits = rng.normal(0, 2, (2 * n, K)).astype(np.float32)

    def __len__(self):
        return len(self._people)

    def take(self, indices):
        return self._windows[indices], self._logits[indices]

    def people(self):
        return self._people


class LouderPack(Pack):
    """The teacher names the loudest channel."""

    def __init__(self, n=100):
        super().__init__(n=n)
        rng = np.random.default_rng(6)
        loudest = rng.integers(K, size=2 * n)
        self._windows = rng.normal(size=(2 * n, C, T)).astype(np.float32)
        self._windows[np.arange(2 * n), loudest] *= 5
        self._logits = (6 * np.eye(K)[loudest]).astype(np.float32)


def fresh(seed=0, **options):
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return Student(**options)


def separable(seed=0, value=5.0):
    """Nine trials; gesture k is loud on channel k."""
    rng = np.random.default_rng(seed)
    labels = np.tile(np.arange(K), 3)
    emg = [rng.normal(size=(40, C)).astype(np.float32) for _ in labels]
    for signal, label in zip(emg, labels, strict=True):
        signal[:, label] *= value
    zeros = np.zeros(9, np.int64)
    return Trials(tuple(emg), labels, zeros, zeros, ("a", "b", "c"), 200.0)


def train(student, own=None, spec=SPEC, *, seed=0, pack=None):
    return distil(student, own, spec, window=T, rng=np.random.default_rng(seed), pack=pack)


def test_the_loss_falls_and_the_gestures_are_told_apart():
    """On a separable task the second half of training is far better than the first steps."""
    own, student = separable(), fresh()
    first = train(fresh(), own, replace(HARD, steps=3)).hard_loss
    train(student, own, replace(HARD, steps=150))
    later = train(student, own, replace(HARD, steps=3, learning_rate=1e-9)).hard_loss
    assert later < first / 3
    windows, labels = own.crops(np.random.default_rng(9), 100, T)
    assert (predict(student, windows).argmax(axis=1) == labels).mean() > 0.95


def test_with_the_soft_weight_alone_the_student_comes_to_agree_with_the_teacher():
    """Without a single label of its own."""
    pack, student = LouderPack(), fresh()
    everything = np.arange(len(pack))
    train(student, None, replace(SOFT, steps=200), pack=pack)
    windows, logits = pack.take(everything)
    agree = predict(student, windows).argmax(axis=1) == logits.argmax(axis=1)
    assert agree.mean() > 0.95
    loss = soft_target_loss(
        torch.from_numpy(predict(student, windows)), torch.from_numpy(logits), temperature=1.0
    )
    untrained = torch.from_numpy(predict(fresh(), windows))
    assert loss < soft_target_loss(untrained, torch.from_numpy(logits), temperature=1.0) / 3


def test_the_reported_losses_are_means_over_the_steps():
    """One step at a time, by hand; nan where there was nothing to learn from."""
    own, pack = separable(), Pack()
    result = train(fresh(), own, replace(SPEC, steps=1), pack=pack)
    assert result.steps == 1
    student, rng = fresh(), np.random.default_rng(0)
    batches = Batches(own, pack, SPEC, window=T, rng=rng)
    rng.integers(2**62)  # what seeds torch
    mine, theirs = batches.own(), batches.pack()
    student.train()
    hard = nn.functional.cross_entropy(student(mine.windows), mine.targets)
    soft = soft_target_loss(student(theirs.windows), theirs.targets, temperature=2.0)
    assert result.hard_loss == pytest.approx(hard.item(), rel=1e-5)
    assert result.soft_loss == pytest.approx(soft.item(), rel=1e-5)
    assert np.isnan(train(fresh(), own, HARD, pack=pack).soft_loss)
    assert np.isnan(train(fresh(), None, SOFT, pack=pack).hard_loss)


@given(st.integers(0, 2**32 - 1))
def test_the_same_rng_gives_the_same_weights(seed):
    """Dropout, crops, augmentation and order follow the generator alone, to the bit."""
    spec = replace(SPEC, steps=2, augment=AugmentSpec(gain=0.2, noise=0.1))
    students = [fresh(dropout=0.5) for _ in range(2)]
    for student in students:
        torch.rand(seed % 7 + 1)  # global randomness moves on
        train(student, separable(), spec, seed=seed, pack=Pack())
    first, second = map(get_weights, students)
    assert all(first[name].tobytes() == second[name].tobytes() for name in first)


def test_another_rng_gives_other_weights():
    """The generator decides something."""
    students = [fresh(), fresh()]
    for seed, student in enumerate(students):
        train(student, separable(), HARD, seed=seed)
    assert not torch.equal(students[0].head.weight, students[1].head.weight)


def test_torchs_global_generator_is_left_alone():
    """Training does not change what others draw, nor do errors in it."""
    before = torch.get_rng_state()
    train(fresh(dropout=0.5), separable(), SPEC, pack=Pack())
    assert torch.equal(torch.get_rng_state(), before)

    def fail():
        with torch_seed(np.random.default_rng(0)):
            torch.rand(1)
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_every_forward_pass_holds_one_source():
    """Own windows, then one public person's, never a mixture: batch norm sees one source at a time."""
    student, pack = fresh(), Pack(levels=(100.0, 200.0))
    train(student, separable(), replace(SPEC, steps=12), pack=pack)
    levels = [windows.mean(dim=(1, 2)) for training, windows in student.seen if training]
    assert len(levels) == 24
    source = [
        {0 if level < 50 else 100 if level < 150 else 200 for level in batch.tolist()} for batch in levels
    ]
    assert all(len(each) == 1 for each in source)
    assert all(each == {0} for each in source[::2])
    assert {100, 200} == set().union(*source[1::2])


def test_without_a_soft_weight_the_pack_is_not_touched():
    """It is never opened, let alone forwarded."""

    class Untouchable:
        def __getattr__(self, name):
            raise AssertionError(name)

    train(fresh(), separable(), HARD, pack=Untouchable())


def test_training_ends_in_eval_mode():
    """The student is ready to be evaluated."""
    student = fresh(dropout=0.5)
    train(student, separable(), HARD)
    assert not any(module.training for module in student.modules())


def test_frozen_weights_stay():
    """Only what asks for a gradient is trained."""
    student = fresh()
    student.norm.requires_grad_(requires_grad=False)
    before = student.norm.weight.clone()
    train(student, separable(), HARD)
    assert torch.equal(student.norm.weight, before)


def test_no_steps_change_nothing():
    """And there is no loss to report."""
    student = fresh()
    before = get_weights(student)
    result = train(student, separable(), replace(HARD, steps=0))
    assert result.steps == 0
    assert np.isnan(result.hard_loss)
    assert all(np.array_equal(a, before[name]) for name, a in get_weights(student).items())


def test_both_schedules_train():
    """`one_cycle` ends at a rate near zero, `constant` does not; both learn."""
    for schedule in ("constant", "one_cycle"):
        student, own = fresh(), separable()
        train(student, own, replace(HARD, steps=150, schedule=schedule))
        windows, labels = own.crops(np.random.default_rng(9), 100, T)
        assert (predict(student, windows).argmax(axis=1) == labels).mean() > 0.9, schedule


@pytest.mark.parametrize("value", [float("inf"), float("nan"), 1e38])
def test_training_that_is_not_finite_is_an_error(value):
    """Infinite, undefined, or so large that statistics overflow: DivergedError, never NaN in the weights."""
    with pytest.raises(DivergedError, match="training"):
        train(fresh(), separable(value=value), replace(HARD, steps=1))


def test_a_step_that_goes_beyond_all_numbers_is_an_error():
    """Also where only the last step's weights are not finite, whose loss nobody would have seen."""
    with pytest.raises(DivergedError):
        train(fresh(), separable(), replace(HARD, steps=1, learning_rate=1e39))


@pytest.mark.parametrize(
    ("own", "pack", "spec"),
    [
        (False, False, SPEC),
        (False, True, HARD),
        (True, False, SOFT),
        (True, True, replace(HARD, hard_weight=0.0)),
    ],
)
def test_nothing_to_learn_from_is_a_config_error(own, pack, spec):
    """No recordings and no pack, or those whose weight is 0."""
    with pytest.raises(ConfigError, match="to learn from"):
        train(fresh(), separable() if own else None, spec, pack=Pack() if pack else None)


def test_trials_without_labels_are_refused():
    """An unlabelled trial would be taken for a gesture."""
    own = separable()
    labels = own.labels.copy()
    labels[4] = -1
    with pytest.raises(DataError, match="without a label"):
        train(fresh(), replace(own, labels=labels), HARD)


def test_trials_shorter_than_a_window_are_refused():
    """There is no crop to draw."""
    with pytest.raises(DataError, match="no trial has 99 samples"):
        distil(fresh(), separable(), HARD, window=99, rng=np.random.default_rng(0))


@given(st.integers(1, 40), st.integers(1, 50))
def test_prediction_does_not_depend_on_the_batch_size(n, batch_size):
    """Bounded memory, the same logits."""
    windows = np.random.default_rng(n).normal(size=(n, C, T)).astype(np.float32)
    student = fresh(dropout=0.5)
    whole = predict(student, windows)
    assert whole.shape == (n, K)
    np.testing.assert_allclose(predict(student, windows, batch_size=batch_size), whole, rtol=1e-5, atol=1e-6)
