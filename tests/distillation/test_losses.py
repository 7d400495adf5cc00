"""Losses: numbers computed by hand, and the laws they obey."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from distillation.losses import bernoulli_soft_target_loss, hard_label_loss, masked_bce, soft_target_loss
from protocols.errors import ConfigError, DataError

torch.set_num_threads(1)

examples = settings(deadline=None, max_examples=50)  # bounded by examples, not by the clock
seeds = st.integers(0, 2**16)
temperatures = st.floats(0.5, 10)


def logits(seed, *shape):
    return 3 * torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_soft_targets_by_hand():
    """p_t = (3/4, 1/4), p_s = (1/2, 1/2) at T = 1: KL = ln 2 − H(1/4) in nats."""
    teacher = torch.tensor([[math.log(3), 0.0]])
    expected = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    assert soft_target_loss(torch.zeros(1, 2), teacher, temperature=1).item() == pytest.approx(
        expected, rel=1e-6
    )


def test_soft_targets_by_hand_at_temperature_two():
    """Teacher logits (ln 9, 0) at T = 2 are again (3/4, 1/4); the factor is 4."""
    teacher = torch.tensor([[math.log(9), 0.0]])
    expected = 4 * (0.75 * math.log(1.5) + 0.25 * math.log(0.5))
    assert soft_target_loss(torch.zeros(1, 2), teacher, temperature=2).item() == pytest.approx(
        expected, rel=1e-6
    )


def test_soft_targets_are_a_mean_over_windows():
    one = soft_target_loss(logits(0, 1, 5), logits(1, 1, 5), temperature=3)
    many = soft_target_loss(logits(0, 1, 5).repeat(7, 1), logits(1, 1, 5).repeat(7, 1), temperature=3)
    assert many.item() == pytest.approx(one.item(), rel=1e-12)


@examples
@given(seeds, temperatures)
def test_soft_target_gradient_is_the_difference_of_probabilities(seed, temperature):
    """The gradient on the student's logits is T · (p_s − p_t) / N."""
    student, teacher = logits(seed, 4, 6).requires_grad_(), logits(seed + 1, 4, 6)
    soft_target_loss(student, teacher, temperature=temperature).backward()
    difference = F.softmax(student.detach() / temperature, 1) - F.softmax(teacher / temperature, 1)
    torch.testing.assert_close(student.grad, temperature * difference / 4)


@examples
@given(seeds, temperatures)
def test_bernoulli_gradient_is_the_difference_of_probabilities(seed, temperature):
    """The gradient on a student logit is T · (σ(s/T) − σ(t/T)) over the number of entries that count."""
    student, teacher = logits(seed, 2, 3, 5).requires_grad_(), logits(seed + 1, 2, 3, 5)
    mask = logits(seed + 2, 2, 3, 5) > 0
    bernoulli_soft_target_loss(student, teacher, temperature=temperature, mask=mask).backward()
    difference = torch.sigmoid(student.detach() / temperature) - torch.sigmoid(teacher / temperature)
    torch.testing.assert_close(student.grad, temperature * difference * mask / max(int(mask.sum()), 1))


@examples
@given(seeds, temperatures)
def test_soft_losses_are_never_negative_and_zero_for_an_equal_teacher(seed, temperature):
    student, teacher = logits(seed, 4, 3, 5), logits(seed + 1, 4, 3, 5)
    for loss, s, t in (
        (bernoulli_soft_target_loss, student, teacher),
        (soft_target_loss, student[..., 0], teacher[..., 0]),
    ):
        assert loss(s, t, temperature=temperature) > 0
        assert loss(t, t, temperature=temperature).item() == pytest.approx(0, abs=1e-12)


def test_bernoulli_by_hand():
    """p_t = 3/4 against p_s = 1/2, averaged with an entry that agrees; masking that entry doubles it."""
    teacher = torch.tensor([math.log(3), 0.0]).reshape(1, 1, 2)
    student = torch.zeros(1, 1, 2)
    kl = 0.75 * math.log(1.5) + 0.25 * math.log(0.5)
    mask = torch.tensor([1.0, 0.0]).reshape(1, 1, 2)
    loss = bernoulli_soft_target_loss
    assert loss(student, teacher, temperature=1).item() == pytest.approx(kl / 2, rel=1e-6)
    assert loss(student, teacher, temperature=1, mask=mask).item() == pytest.approx(kl, rel=1e-6)


def test_bernoulli_is_the_two_class_softmax():
    """One sigmoid of logit x is the softmax of (x, 0)."""
    student, teacher = logits(0, 8, 1, 1), logits(1, 8, 1, 1)
    pair = [F.pad(x[..., 0], (0, 1)) for x in (student, teacher)]  # (8, 2)
    expected = soft_target_loss(*pair, temperature=2.5)
    torch.testing.assert_close(bernoulli_soft_target_loss(student, teacher, temperature=2.5), expected)


def test_extreme_logits_stay_finite():
    student = torch.tensor([[[-500.0, 500.0]]], requires_grad=True)
    teacher = torch.tensor([[[500.0, -500.0]]])
    loss = bernoulli_soft_target_loss(student, teacher, temperature=1)
    loss.backward()
    assert loss.item() == pytest.approx(500)
    assert torch.isfinite(student.grad).all()


def test_masked_bce_by_hand():
    """Logit 0 costs ln 2 whatever the target; the masked entry would cost 5."""
    value = masked_bce(torch.tensor([0.0, 0.0, 5.0]), torch.tensor([0.0, 1.0, 0.0]), torch.tensor([1, 1, 0]))
    assert value.item() == pytest.approx(math.log(2), rel=1e-6)


def test_masked_bce_divides_by_the_weight_of_the_mask():
    """Weights 3 and 1 on costs ln 2 and softplus(1)."""
    value = masked_bce(torch.tensor([0.0, 1.0]), torch.zeros(2), torch.tensor([3.0, 1.0]))
    assert value.item() == pytest.approx((3 * math.log(2) + math.log1p(math.e)) / 4, rel=1e-6)


def test_masked_entries_change_nothing():
    scores, targets = logits(0, 2, 3, 4), (logits(1, 2, 3, 4) > 0).double()
    mask = (logits(2, 2, 3, 4) > 0).double()
    changed = scores + (1 - mask) * 7
    torch.testing.assert_close(masked_bce(scores, targets, mask), masked_bce(changed, targets, mask))


def test_an_empty_mask_gives_zero_with_a_gradient_of_zero():
    scores = torch.randn(2, 9, 5, generator=torch.Generator().manual_seed(0), requires_grad=True)
    masked_bce(scores, torch.ones(2, 9, 5), torch.zeros(2, 9, 5)).backward()
    assert (scores.grad == 0).all()


def test_bce_smoothing_pulls_targets_towards_a_half():
    """Smoothing 0.2 turns 1 into 0.9: the gradient vanishes at σ(x) = 0.9."""
    x = torch.tensor([math.log(9)], requires_grad=True)
    masked_bce(x, torch.ones(1), torch.ones(1), smoothing=0.2).backward()
    assert x.grad.item() == pytest.approx(0, abs=1e-6)


def test_hard_labels_by_hand():
    """Uniform logits cost ln K; smoothing 0.4 over K = 2 weighs the two log-probabilities 0.8 and 0.2."""
    assert hard_label_loss(torch.zeros(3, 4), torch.tensor([0, 1, 3])).item() == pytest.approx(math.log(4))
    value = hard_label_loss(torch.tensor([[math.log(3), 0.0]]), torch.tensor([0]), smoothing=0.4)
    assert value.item() == pytest.approx(-0.8 * math.log(0.75) - 0.2 * math.log(0.25), rel=1e-6)


def test_no_gradient_reaches_the_teacher():
    student, teacher = logits(0, 2, 3).requires_grad_(), logits(1, 2, 3).requires_grad_()
    soft_target_loss(student, teacher, temperature=2).backward()
    assert teacher.grad is None


def test_losses_run_under_vmap():
    """A cohort of students is trained in one step: no check may depend on values."""
    student, teacher, mask = logits(0, 4, 2, 3, 5), logits(1, 4, 2, 3, 5), torch.ones(4, 2, 3, 5)
    one = torch.func.vmap(lambda s, t, m: bernoulli_soft_target_loss(s, t, temperature=2, mask=m))
    expected = [
        bernoulli_soft_target_loss(s, t, temperature=2) for s, t in zip(student, teacher, strict=True)
    ]
    torch.testing.assert_close(one(student, teacher, mask), torch.stack(expected))


@pytest.mark.parametrize(
    "call",
    [
        lambda: soft_target_loss(torch.zeros(2, 3), torch.zeros(2, 4), temperature=1),
        lambda: soft_target_loss(torch.zeros(2, 3, 4), torch.zeros(2, 3, 4), temperature=1),
        lambda: bernoulli_soft_target_loss(torch.zeros(2, 3), torch.zeros(2, 3), temperature=1),
        lambda: bernoulli_soft_target_loss(
            torch.zeros(1, 3, 4), torch.zeros(1, 3, 4), temperature=1, mask=torch.ones(3, 4)
        ),
        lambda: masked_bce(torch.zeros(2, 3), torch.zeros(3, 2), torch.ones(2, 3)),
        lambda: masked_bce(torch.zeros(2, 3), torch.zeros(2, 3), torch.ones(3)),
        lambda: hard_label_loss(torch.zeros(2, 3), torch.zeros(3, dtype=torch.int64)),
    ],
)
def test_shapes_that_do_not_fit_are_refused(call):
    with pytest.raises(DataError, match="shape"):
        call()


@pytest.mark.parametrize("temperature", [0, -1, math.nan, math.inf])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(ConfigError, match="temperature"):
        soft_target_loss(torch.zeros(2, 3), torch.zeros(2, 3), temperature=temperature)


def test_smoothing_out_of_range_is_refused():
    with pytest.raises(ConfigError, match="smoothing"):
        hard_label_loss(torch.zeros(1, 2), torch.zeros(1, dtype=torch.int64), smoothing=1.0)
    with pytest.raises(ConfigError, match="smoothing"):
        masked_bce(torch.zeros(1), torch.zeros(1), torch.ones(1), smoothing=-0.1)
