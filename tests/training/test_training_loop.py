import math

import pytest
import torch

from edgewise.data.batches import Batch
from edgewise.errors import DivergedError, LogitsError
from edgewise.training.loop import Limits, Progress, fit
from edgewise.training.optimise import Plateau, Poly, Rate, Step
from edgewise.training.records import Diverged, Ended, Trained, Validated


class Fake:
    """A learner whose loss is given and whose score is its number of steps."""

    def __init__(self, losses=()):
        self.losses, self.rate, self.seen = dict(losses), 0.1, []
        self.predictor = torch.nn.Identity()

    def step(self, _, step):
        self.seen.append(step)
        return self.losses.get(step, 1.0)

    def observe(self, score):
        pass

    def state(self):
        return {}

    def restore(self, state):
        pass


def batches(n, start=0):
    for i in range(start, n):
        yield Batch(image=torch.zeros(1), labels=torch.zeros(1, dtype=torch.int64), cases=(f"case{i}",))


def limits(**change):
    return Limits(**{"steps": 10, "minutes": math.inf, "validate_every": 4, "patience": 0, "report_every": 5} | change)


def test_records_come_in_order_and_the_last_step_is_validated():
    scores = iter([0.1, 0.5, 0.3])
    records = list(fit(Fake(), batches(10), lambda _: {"1": next(scores)}, limits(), Progress()))
    kinds = [(type(r), r.step) for r in records]
    assert kinds == [
        (Validated, 4),
        (Trained, 5),
        (Validated, 8),
        (Trained, 10),
        (Validated, 10),
        (Ended, 10),
    ]
    assert [r.best for r in records if isinstance(r, Validated)] == [True, True, False]
    assert records[-1].best_step == 8
    assert records[-1].best_mean_dice == 0.5


def test_a_run_without_progress_ends_early():
    records = list(fit(Fake(), batches(100), lambda _: {"1": 0.5}, limits(steps=100, patience=2), Progress()))
    assert records[-1].step == 12
    assert "no better" in records[-1].reason


def test_a_time_limit_ends_a_run_with_a_validation():
    records = list(fit(Fake(), batches(100), lambda _: {"1": 0.5}, limits(steps=100, minutes=0.0), Progress()))
    assert isinstance(records[-2], Validated)
    assert "time limit" in records[-1].reason


@pytest.mark.parametrize("loss", [math.nan, math.inf, -math.inf])
def test_a_loss_that_is_not_finite_stops_with_step_and_cases(loss):
    progress, records = Progress(), []
    with pytest.raises(DivergedError, match=rf"became {loss} at step 3 \(cases case2\)"):  # noqa: PT012
        for record in fit(Fake({2: loss}), batches(10), lambda _: {"1": 0.5}, limits(validate_every=1), progress):
            records.append(record)  # noqa: PERF402 - what came before the error counts
    assert [type(record) for record in records] == [Validated, Validated, Diverged]
    assert (records[-1].step, records[-1].cases) == (3, ("case2",))
    assert str(loss) in records[-1].reason
    assert progress.step == 2


def test_a_loss_that_refuses_nan_logits_stops_it_too():
    learner = Fake()

    def step(*_):
        raise LogitsError

    learner.step = step
    with pytest.raises(DivergedError, match=r"output became nan at step 1 \(cases case0\)"):
        list(fit(learner, batches(10), lambda _: {"1": 0.5}, limits(), Progress()))


def test_a_score_that_is_enough_ends_a_run_after_its_validation():
    scores = iter([0.5, 0.9, 0.99])
    records = list(fit(Fake(), batches(100), lambda _: {"1": next(scores)}, limits(steps=100, enough=0.9), Progress()))
    assert [type(record) for record in records[-2:]] == [Validated, Ended]
    assert records[-1].step == 8
    assert "0.9000 is enough" in records[-1].reason


@pytest.mark.parametrize("change", [{"enough": 0.9}, {"patience": 3}, {"minutes": 1.0}])
def test_a_run_resumed_after_its_end_ends_without_a_step(change):
    learner = Fake()
    progress = Progress(step=8, seconds=100.0, best=0.95, best_step=4, since=3)
    (ended,) = fit(learner, batches(100, 8), lambda _: {"1": 0.5}, limits(**change), progress)
    assert learner.seen == []
    assert (type(ended), ended.step, ended.best_step) == (Ended, 8, 4)


def test_a_resumed_run_goes_on_counting():
    learner, progress = Fake(), Progress(step=6, seconds=100.0, best=0.9, best_step=4)
    records = list(fit(learner, batches(10, 6), lambda _: {"1": 0.5}, limits(), progress))
    assert learner.seen == [6, 7, 8, 9]
    assert records[-1].best_step == 4
    assert records[-1].seconds >= 100


def test_schedules_fall_as_they_say():
    assert Poly(power=1.0).factor(25, 100) == 0.75
    assert Poly(warm_up=9).factor(0, 100) == 0.1
    assert Poly().factor(100, 100) == 0
    assert Step(every=10, drop=0.5).factor(25, 100) == 0.25
    parameter = torch.nn.Parameter(torch.zeros(1))
    rate = Rate(torch.optim.SGD([parameter], lr=1.0), Plateau(drop=0.1, patience=1), 100)
    for score in (1.0, 0.5, 0.5):
        rate.observe(score)
    assert rate.at(3) == pytest.approx(0.1)
