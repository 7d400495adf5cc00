"""From the shared student to a person's own."""

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from small_federation import EARLY, SIGNAL, T
from torch import nn

from distillation.datasets import open_dataset
from distillation.distil import predict
from distillation.models import build_window
from distillation.personalise import embed, fit_to_device, personalise, renew_normalisation, set_lda_head
from distillation.prepare import own_scale, prepare
from distillation.spec import PersonaliseSpec, TrainSpec
from distillation.weights import get_weights
from distillation.windows import WindowSpec
from protocols.errors import DataError

C, K = 4, 3
STEPS = TrainSpec(steps=3, batch_size=8, soft_weight=0.0)
SPEC = PersonaliseSpec(train=STEPS)


class Plain(nn.Module):
    """A student whose embedding is the window's first two samples, so that one can compute by hand."""

    def __init__(self, outputs=K):
        super().__init__()
        self.head = nn.Linear(2, outputs)

    def embed(self, windows):
        return windows[:, 0, :2]

    def forward(self, windows):
        return self.head(self.embed(windows))


def points(*places):
    """Windows (N, 1, 2) whose embedding are these points."""
    return np.array(places, np.float32)[:, None, :]


def clouds(centres, n=30, spread=0.1, seed=0):
    """Round clouds of points and their labels."""
    rng = np.random.default_rng(seed)
    centres = np.array(centres, float)
    cloud = np.repeat(centres, n, axis=0) + rng.normal(0, spread, (n * len(centres), 2))
    return points(*cloud), np.repeat(np.arange(len(centres)), n)


@pytest.fixture
def shared():
    return build_window(
        "convonly",
        channels=C,
        outputs=K,
        sample_rate_hz=200,
        window=T,
        generator=torch.Generator().manual_seed(0),
    )


@pytest.fixture
def own(dataset):
    trials = prepare(EARLY.select(open_dataset(dataset).recordings("s4")), SIGNAL)
    return trials.scaled(own_scale(trials))


@pytest.fixture
def calibration(own):
    return own.window_set(WindowSpec(T, 10))


def parts(student):
    """Weights by what they are: head, batch norms' statistics, all others."""
    found = get_weights(student)
    head = {n: a for n, a in found.items() if n.startswith("head.")}
    statistics = {n: a for n, a in found.items() if "running" in n}
    rest = {n: a for n, a in found.items() if n not in head and n not in statistics}
    return head, statistics, rest


def same(first, second):
    return all(np.array_equal(first[name], second[name]) for name in first)


CENTRES = st.permutations([(-4.0, 0.0), (4.0, 1.0), (0.0, 5.0)])


@given(CENTRES, st.integers(0, 100), st.tuples(st.floats(-6, 6), st.floats(-6, 6)))
def test_the_head_decides_for_the_nearest_mean_of_round_clouds(centres, seed, place):
    """With equal round spreads a linear discriminant is the nearest-mean classifier."""
    windows, labels = clouds(centres, n=200, seed=seed)
    student = Plain()
    set_lda_head(student, windows, labels)
    means = np.array([windows[labels == k, 0].mean(axis=0) for k in range(K)])
    distances = np.linalg.norm(means - place, axis=1)
    nearest, second = np.sort(distances)[:2]
    if second - nearest > 1.0:  # near the border the sample's own spread decides
        assert predict(student, points(place)).argmax() == distances.argmin()
    assert (predict(student, windows).argmax(axis=1) == labels).all()


def test_the_head_agrees_with_scikit_learns_shrunk_discriminant():
    """Covariance half its own, half round: the decisions of LinearDiscriminantAnalysis(shrinkage=0.5)."""
    sklearn = pytest.importorskip("sklearn.discriminant_analysis")
    rng = np.random.default_rng(1)
    stretch = np.array([[1.5, 0.4], [0.0, 0.3]])
    labels = np.repeat(np.arange(K), 50)
    cloud = (np.array([[-1, 0], [1, 0], [0, 1.0]])[labels] + rng.normal(size=(150, 2)) @ stretch).astype(
        np.float32
    )
    student = Plain()
    set_lda_head(student, points(*cloud), labels)
    theirs = sklearn.LinearDiscriminantAnalysis(solver="lsqr", shrinkage=0.5, priors=[1 / 3] * 3).fit(
        cloud, labels
    )
    places = rng.uniform(-4, 4, (500, 2)).astype(np.float32)
    agree = predict(student, points(*places)).argmax(axis=1) == theirs.predict(places)
    assert agree.mean() > 0.97  # theirs standardises the features before it shrinks


@given(
    st.sets(st.integers(0, 5), min_size=2, max_size=5),
    st.lists(st.floats(-1e4, 1e4, width=32), min_size=2, max_size=2),
)
def test_a_gesture_without_windows_never_wins(present, place):
    """Anywhere in the space, some gesture that the person has shown beats it."""
    names = sorted(present)
    angle = np.linspace(0, 4, len(names))
    windows, which = clouds(3 * np.stack([np.cos(angle), np.sin(angle)], axis=1))
    student = Plain(outputs=6)
    set_lda_head(student, windows, np.array(names)[which])
    assert predict(student, points(place)).argmax() in present


def test_unlabelled_windows_do_not_count():
    """The head is that of the labelled ones alone."""
    windows, labels = clouds([(-4, 0), (4, 1), (0, 5)])
    plain, more = Plain(), Plain()
    set_lda_head(plain, windows, labels)
    stray = points(*np.full((20, 2), 50.0))
    set_lda_head(more, np.concatenate([windows, stray]), np.concatenate([labels, np.full(20, -1)]))
    assert torch.equal(plain.head.weight, more.head.weight)
    assert torch.equal(plain.head.bias, more.head.bias)


def test_windows_that_are_all_alike_still_make_a_finite_head():
    """No spread at all is no division by zero."""
    student = Plain()
    set_lda_head(student, points((0, 0), (0, 0), (1, 0), (1, 0)), np.array([0, 0, 1, 1]))
    assert predict(student, points((0, 0), (1, 0))).argmax(axis=1).tolist() == [0, 1]
    assert torch.isfinite(student.head.weight).all()


@pytest.mark.parametrize("labels", [[-1, -1, -1, -1], [2, 2, 2, 2], [1, -1, 1, -1]])
def test_a_head_of_fewer_than_two_gestures_is_refused(labels):
    """There is nothing to tell apart."""
    with pytest.raises(DataError, match="expected at least two"):
        set_lda_head(Plain(), points((0, 0), (1, 0), (2, 0), (3, 0)), np.array(labels))


def test_renewed_statistics_are_those_of_the_windows(shared, calibration):
    """For every batch norm: mean and variance of what reaches it from these windows."""
    inputs = {}
    norms = {n: m for n, m in shared.named_modules() if isinstance(m, nn.BatchNorm1d)}
    for name, norm in norms.items():
        norm.register_forward_hook(lambda _m, args, _out, name=name: inputs.update({name: args[0].detach()}))
    renew_normalisation(shared, calibration.windows)
    assert len(norms) > 3
    for name, norm in norms.items():
        reached = inputs[name].transpose(0, 1).flatten(1)  # (channels, everything else)
        torch.testing.assert_close(norm.running_mean, reached.mean(dim=1), rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(norm.running_var, reached.var(dim=1), rtol=1e-4, atol=1e-5)


def test_renewing_leaves_weights_momentum_and_mode_alone(shared, calibration):
    """Nothing but the statistics changes; the student ends in eval mode."""
    before, momentum = parts(shared), [m.momentum for m in shared.modules() if isinstance(m, nn.BatchNorm1d)]
    shared.train()
    renew_normalisation(shared, calibration.windows)
    after = parts(shared)
    assert same(before[0], after[0])
    assert same(before[2], after[2])
    assert not same(before[1], after[1])
    assert [m.momentum for m in shared.modules() if isinstance(m, nn.BatchNorm1d)] == momentum
    assert not any(m.training for m in shared.modules())


def test_renewing_forgets_what_was_before(shared, calibration):
    """Twice is as once, whatever the statistics were."""
    renew_normalisation(shared, calibration.windows)
    once = get_weights(shared)
    renew_normalisation(shared, calibration.windows * 3)
    renew_normalisation(shared, calibration.windows)
    assert all(np.allclose(a, once[name], rtol=1e-5, atol=1e-6) for name, a in get_weights(shared).items())


def test_one_window_has_no_variance(shared, calibration):
    """Fewer than two windows are refused."""
    with pytest.raises(DataError, match="found 1 windows"):
        renew_normalisation(shared, calibration.windows[:1])


def test_a_device_fits_only_the_normalisation(shared, calibration):
    """No weight is learned; without `own_normalisation` nothing changes at all."""
    fitted = parts(fit_to_device(shared, calibration.windows, SPEC))
    assert same(parts(shared)[0], fitted[0])
    assert same(parts(shared)[2], fitted[2])
    assert not same(parts(shared)[1], fitted[1])
    as_it_was = fit_to_device(shared, calibration.windows, replace(SPEC, own_normalisation=False))
    assert same(get_weights(shared), get_weights(as_it_was))


@pytest.mark.parametrize("spec", [SPEC, replace(SPEC, what="head"), replace(SPEC, new_head=False)])
def test_the_shared_student_is_left_as_it_is(shared, own, calibration, spec):
    """Weights, mode and what asks for gradients: the next person starts from the same student."""
    before, kept = get_weights(shared), copy.deepcopy(shared)
    personalise(shared, own, calibration, spec, np.random.default_rng(0))
    assert same(before, get_weights(shared))
    assert [m.training for m in shared.modules()] == [m.training for m in kept.modules()]
    assert all(p.requires_grad for p in shared.parameters())


def test_the_head_alone_changes_nothing_but_head_and_statistics(shared, own, calibration):
    """`what: head` keeps every other weight to the bit, and gives the copy back trainable."""
    found = personalise(shared, own, calibration, replace(SPEC, what="head"), np.random.default_rng(0))
    assert same(parts(shared)[2], parts(found)[2])
    assert not same(parts(shared)[0], parts(found)[0])
    assert all(p.requires_grad for p in found.parameters())


def test_fine_tuning_all_changes_the_rest_too(shared, own, calibration):
    """`what: all` trains every layer."""
    found = personalise(shared, own, calibration, SPEC, np.random.default_rng(0))
    assert not same(parts(shared)[2], parts(found)[2])


def test_without_steps_the_computed_head_stays(shared, own, calibration):
    """The person's student is then their normalisation and the discriminant of their embeddings."""
    found = personalise(
        shared, own, calibration, replace(SPEC, train=replace(STEPS, steps=0)), np.random.default_rng(0)
    )
    expected = fit_to_device(shared, calibration.windows, SPEC)
    set_lda_head(expected, calibration.windows, calibration.labels)
    assert same(get_weights(expected), get_weights(found))


def test_the_same_rng_gives_the_same_student(shared, own, calibration):
    """To the bit."""
    first, second = (personalise(shared, own, calibration, SPEC, np.random.default_rng(3)) for _ in range(2))
    assert same(get_weights(first), get_weights(second))


def test_a_persons_own_student_knows_their_gestures(shared, own, calibration):
    """Even from an untrained student: the head is computed from the person's own labels."""
    found = personalise(shared, own, calibration, SPEC, np.random.default_rng(0))
    assert (predict(found, calibration.windows).argmax(axis=1) == calibration.labels).mean() > 0.9


def test_personalising_without_labels_is_refused(shared, own):
    """There is nothing to compute a head from."""
    hidden = own.without_labels()
    with pytest.raises(DataError, match="labels of 0 gestures"):
        personalise(shared, hidden, hidden.window_set(WindowSpec(T, 10)), SPEC, np.random.default_rng(0))


def test_embeddings_are_what_the_head_reads(shared, calibration):
    """head(embed(x)) is the model in eval mode."""
    logits = shared.head(embed(shared, calibration.windows)).detach().numpy()
    np.testing.assert_allclose(logits, predict(shared, calibration.windows), rtol=1e-4, atol=1e-5)
