"""Weights over the epochs: schedules, the strategies of the papers, and how a sum follows them."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from edgewise.errors import ExperimentError
from edgewise.losses import CrossEntropy, Dice, RegionWise, Sum, Term
from edgewise.losses.compound import equal, gradual, increase, rebalance
from edgewise.losses.schedules import Complement, Cosine, Linear

epochs = st.floats(0, 400)
LABELS = torch.randint(3, (2, 6, 7), generator=torch.Generator().manual_seed(0))
LOGITS = torch.randn(2, 3, 6, 7, generator=torch.Generator().manual_seed(1))


def weights(loss, epoch):
    return [term.weight for term in loss.at(epoch).terms]


@given(epoch=epochs)
def test_gradual_is_the_formula_of_the_region_wise_paper(epoch):
    alpha = max(1 - epoch / 100, 0.01)
    assert weights(gradual(Dice(), RegionWise()), epoch) == pytest.approx([alpha, 1 - alpha])
    assert Linear().value(epoch) == pytest.approx(alpha)


@given(epoch=epochs)
def test_rebalance_keeps_both_terms_and_increase_only_adds(epoch):
    rising = min(0.01 + epoch / 100, 0.99)
    assert weights(rebalance(Dice(), RegionWise()), epoch) == pytest.approx([1 - rising, rising])
    assert weights(increase(Dice(), RegionWise()), epoch) == pytest.approx([1, min(0.01 + epoch / 100, 1)])


def test_equal_counts_both_terms_once_at_any_time():
    loss = equal(Dice(), CrossEntropy())
    assert loss.at(77.0) is loss
    torch.testing.assert_close(loss(LOGITS, LABELS), Dice()(LOGITS, LABELS) + CrossEntropy()(LOGITS, LABELS))


@given(epoch=epochs, start=st.floats(-5, 5), end=st.floats(-5, 5))
def test_cosine_goes_from_start_to_end_and_stays(epoch, start, end):
    wave = Cosine(start=start, end=end, epochs=50.0)
    assert wave.value(0.0) == pytest.approx(start, abs=1e-9)
    assert wave.value(25.0) == pytest.approx((start + end) / 2, abs=1e-9)
    assert min(start, end) - 1e-9 <= wave.value(epoch) <= max(start, end) + 1e-9
    assert epoch < 50 or wave.value(epoch) == pytest.approx(end, abs=1e-9)


def test_a_sum_at_an_epoch_is_the_sum_of_its_terms_then():
    loss = gradual(Dice(), RegionWise())
    for epoch in (0.0, 30.5, 250.0):
        alpha = max(1 - epoch / 100, 0.01)
        expected = alpha * Dice()(LOGITS, LABELS) + (1 - alpha) * RegionWise()(LOGITS, LABELS)
        torch.testing.assert_close(loss.at(epoch)(LOGITS, LABELS), expected)


def test_schedules_are_followed_inside_sums_of_sums():
    inner = gradual(Dice(), CrossEntropy())
    outer = Sum(terms=(Term(loss=inner, weight=2.0), Term(loss=RegionWise(), weight=Cosine())))
    moved = outer.at(50.0)
    assert moved.terms[0].loss == inner.at(50.0)
    assert moved.terms[1].weight == pytest.approx(0.5)
    assert moved.needs == outer.needs


def test_what_no_schedule_is_in_stays_the_same_object():
    loss = Sum()
    assert loss.at(3.0) is loss
    assert Dice().at(3.0) == Dice()


def test_until_it_is_told_the_epoch_a_sum_is_that_of_the_beginning():
    loss = gradual(Dice(), RegionWise())
    torch.testing.assert_close(loss(LOGITS, LABELS), loss.at(0.0)(LOGITS, LABELS))


def test_a_complement_makes_two_weights_sum_to_one():
    other = Complement(to=Cosine(start=0.9, end=0.2, epochs=10.0))
    for epoch in (0.0, 3.0, 10.0, 99.0):
        assert other.value(epoch) + other.to.value(epoch) == pytest.approx(1)


@pytest.mark.parametrize("wrong", [{"epochs": 0.0}, {"epochs": math.inf}, {"start": math.nan}, {"end": math.inf}])
@pytest.mark.parametrize("schedule", [Linear, Cosine])
def test_a_schedule_that_never_ends_or_is_no_number_is_refused(schedule, wrong):
    with pytest.raises(ExperimentError, match="must be finite"):
        schedule(**wrong)
