"""What is settled once for all parts: plans that no machine changes any more, and trainings that are cut alike."""

import json
import math
from dataclasses import asdict, replace
from pathlib import Path
from unittest import mock

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from edgewise.data.case import CaseFiles, Dataset
from edgewise.data.checks import Inspection
from edgewise.data.fingerprint import CaseFacts, ChannelFacts, Fingerprint
from edgewise.errors import DataError, StudyError
from edgewise.experiment import Experiment, Fixed, Folds, Training
from edgewise.networks.unet import UNet
from edgewise.plan import Machine, PlanSettings
from edgewise.run import environment
from edgewise.run.fit import plan_of
from edgewise.study import budget, settle
from edgewise.study.cost import Cost
from edgewise.study.file import Row, Study
from edgewise.study.settle import FEWEST, Ground
from edgewise.training.optimise import Plateau, Poly, Step

CHANNEL = ChannelFacts(mean=60.0, std=20.0, p005=-10.0, p995=120.0, minimum=-100.0, maximum=300.0)
# What would be measured is said, so that planning takes no time.
FREE = PlanSettings(precision="fp32", memory_format="contiguous")


def ground(*cases, threads=1):
    """A dataset of such shapes and spacings."""
    facts = tuple(
        CaseFacts(id=f"case{i}", shape=shape, spacing=spacing, voxels=(10, 5), digest=str(i))
        for i, (shape, spacing) in enumerate(cases)
    )
    files = tuple(CaseFiles(id=each.id, images=(Path("image"),), label=Path("label")) for each in facts)
    dataset = Dataset(
        root=Path("data"), layout="nnunet", name="d", cases=files, classes=("background", "organ"), channels=("CT",)
    )
    inspection = Inspection(defects=(), fingerprint=Fingerprint(cases=facts, channels=(CHANNEL,), digest="x"))
    return Ground(dataset=dataset, inspection=inspection, threads=threads)


def study(*experiments, **keys):
    return Study(name="s", rows=tuple(Row(name=each.name, experiment=each) for each in experiments), **keys)


def planned(experiment, ground, machine):
    """The plan on a machine, without its reasons."""
    with mock.patch.object(environment, "machine", return_value=machine):
        plan = plan_of(experiment, ground.dataset, ground.inspection)
    return replace(plan, reasons={}, arithmetic=replace(plan.arithmetic, reason=""))


def pinned(found, ground, machine, known):
    with mock.patch.object(environment, "machine", return_value=machine):
        return settle.pinned(found, ground, json.loads(json.dumps(known)))  # as `place.json` gives it back


CARDIAC = [((216, 256, 10), (1.5, 1.5, 10.0))] * 3
HIPPOCAMPUS = [((35, 51, 36), (1.0, 1.0, 1.0))] * 3
ABDOMEN = [((512, 512, 120), (0.8, 0.8, 2.5)), ((512, 512, 200), (0.7, 0.7, 2.0))]
THIN = [((64, 64, 9), (1.0, 1.0, 1.0))]
LARGE, SMALL = Machine(gpu=False, cores=16, memory_gb=60.0), Machine(gpu=False, cores=2, memory_gb=0.6)
WITH_GPU = Machine(gpu=True, cores=16, memory_gb=60.0)
sizes = st.tuples(*[st.integers(4, 300)] * 3)
spacings = st.tuples(*[st.floats(0.3, 8.0).map(lambda s: round(s, 3))] * 3)
datasets = st.lists(st.tuples(sizes, spacings), min_size=1, max_size=3)
machines = st.builds(
    Machine,
    gpu=st.booleans(),
    cores=st.integers(1, 64),
    memory_gb=st.floats(0.05, 80.0).map(lambda gb: round(gb, 2)),
)
asked = st.fixed_dictionaries(
    {
        "dimensions": st.sampled_from(["auto", 2, 3]),
        "stem": st.sampled_from(["auto", 1, 2]),
        "batch": st.sampled_from(["auto", 3]),
    }
)


@settings(max_examples=60)
@given(cases=datasets, first=machines, later=machines, plan=asked)
@example(cases=CARDIAC, first=LARGE, later=SMALL, plan={})
@example(cases=HIPPOCAMPUS, first=SMALL, later=WITH_GPU, plan={})
@example(cases=ABDOMEN, first=WITH_GPU, later=SMALL, plan={})
@example(cases=THIN, first=LARGE, later=SMALL, plan={})
def test_a_plan_from_what_is_pinned_is_the_plan_it_was_pinned_from_on_every_machine(cases, first, later, plan):
    place, free = ground(*cases), Experiment(name="a", plan=replace(FREE, **plan), network=UNet())
    whole, pins = pinned(study(free), place, first, {})
    again, kept = pinned(study(free), place, later, pins)
    assert (again, kept) == (whole, json.loads(json.dumps(pins)))
    # Fewer threads make no other network; a study shares the cores out among its parts.
    alone = planned(replace(free, plan=replace(free.plan, threads=1)), place, first)
    assert planned(whole.rows[0].experiment, place, later) == alone


def test_a_row_that_comes_later_is_planned_then_and_changes_none_of_the_others():
    place, first = ground(*HIPPOCAMPUS), Experiment(name="first", plan=FREE)
    two = replace(first, name="two", plan=replace(FREE, dimensions=2))
    before, pins = pinned(study(first), place, LARGE, {})
    after, more = pinned(study(first, two), place, SMALL, pins)
    assert after.rows[0] == before.rows[0]
    assert {key: more[key] for key in pins} == json.loads(json.dumps(pins))
    assert len(more) == len(pins) + 1
    assert len(after.rows[1].experiment.plan.patch) == 2


def test_rows_that_differ_in_their_loss_alone_share_one_plan():
    place, base = ground(*HIPPOCAMPUS), Experiment(name="a", plan=FREE)
    rows, pins = pinned(study(base, replace(base, name="b", training=Training(clip=1.0))), place, LARGE, {})
    assert len(pins) == 1
    assert rows.rows[0].experiment.plan == rows.rows[1].experiment.plan


def test_threads_are_those_of_one_of_the_parts_that_run_at_a_time_unless_the_file_says():
    free, fixed = Experiment(name="a", plan=FREE), Experiment(name="b", plan=replace(FREE, threads=7))
    rows, _ = pinned(study(free, fixed), ground(*HIPPOCAMPUS, threads=3), LARGE, {})
    assert [row.experiment.plan.threads for row in rows.rows] == [3, 7]


# --- shortening


@given(factor=st.floats(0.02, 1.0), validations=st.integers(1, 12))
def test_all_that_is_counted_in_steps_shrinks_alike(factor, validations):
    training = Training(
        steps=4000, validate_every=200, report_every=50, epoch=250, schedule=Step(every=1000), patience=3
    )
    rows = [
        Experiment(name="step", training=training),
        Experiment(name="poly", training=replace(training, schedule=Poly(warm_up=400))),
        Experiment(name="plateau", training=replace(training, schedule=Plateau())),
    ]
    cut = [row.experiment.training for row in settle.shortened(study(*rows), factor, validations).rows]
    for each in cut:
        assert each.steps == max(math.floor(4000 * factor), FEWEST)
        assert (each.epoch, each.report_every) == (max(round(250 * factor), 1), max(round(50 * factor), 1))
        assert each.validate_every >= max(round(200 * factor), 1)
        assert math.ceil(each.steps / each.validate_every) <= validations
        assert (each.clip, each.patience, each.optimiser) == (training.clip, 3, training.optimiser)
    assert len({(each.steps, each.validate_every, each.epoch) for each in cut}) == 1
    assert cut[0].schedule == Step(every=max(round(1000 * factor), 1))
    assert cut[1].schedule == Poly(warm_up=round(400 * factor))
    assert cut[2].schedule == Plateau()


def test_what_fits_is_left_as_it_is_to_the_last_setting():
    found = study(Experiment(name="a", training=Training(steps=30, validate_every=7)))
    assert settle.shortened(found, 1.0, 0) is found


seconds = st.floats(0.01, 500.0)
# Rows differ in what a step costs; the steps are the experiments'.
costs = st.lists(
    st.builds(
        Cost,
        fixed=seconds,
        step=st.floats(1e-4, 2.0),
        validation=st.floats(0.0, 100.0),
        validations=st.integers(1, 20),
        steps=st.sampled_from([20, 100, 4000, 20_000]),
        disk=st.just(0),
    ),
    min_size=1,
    max_size=7,
)
slots = st.integers(1, 4)


def least_minutes(parts, at_once):
    """What a study needs that is as short as a study may be."""
    try:
        budget.fitting(parts, at_once, 1e-6, 0.0)
    except StudyError as error:
        return float(str(error).split("Give at least ")[1].split()[0])
    raise AssertionError("it fits into no time at all")


def lasting(parts, at_once, cut):
    """What the study takes by the estimates that it was cut by, counted from the settings it then has."""
    after = []
    for part in parts:
        training = Training(steps=part.steps, validate_every=math.ceil(part.steps / part.validations))
        (row,) = settle.shortened(study(Experiment(name="a", training=training)), cut.factor, cut.validations).rows
        now = row.experiment.training
        count = math.ceil(now.steps / now.validate_every) if cut.validations else part.validations
        after.append(replace(part, steps=now.steps, validations=count))
    return budget.whole(after, at_once)


@given(parts=costs, at_once=slots, more=st.floats(0.0, 300.0), spent=st.floats(0.0, 100.0))
def test_a_shortened_study_fits_by_its_own_estimate(parts, at_once, more, spent):
    at_once = min(at_once, len(parts))
    minutes = least_minutes(parts, at_once) + spent / 60 + more
    cut = budget.fitting(parts, at_once, minutes, spent)
    assert lasting(parts, at_once, cut) + spent <= 60 * minutes * (1 + 1e-9)
    assert 0 < cut.factor <= 1
    if not cut.validations:
        assert budget.whole(parts, at_once) + spent <= 60 * minutes


@given(parts=costs, at_once=slots, minutes=st.tuples(st.floats(0.0, 400.0), st.floats(0.0, 400.0)))
def test_more_minutes_never_give_fewer_steps_or_validations(parts, at_once, minutes):
    at_once = min(at_once, len(parts))
    least = least_minutes(parts, at_once)
    fewer, more = (budget.fitting(parts, at_once, least + extra, 0.0) for extra in sorted(minutes))
    assert fewer.factor <= more.factor
    assert not more.validations or 0 < fewer.validations <= more.validations


@given(parts=costs, at_once=slots, spent=st.floats(0.0, 1e4))
def test_too_few_minutes_are_refused_with_a_number_that_suffices(parts, at_once, spent):
    at_once = min(at_once, len(parts))
    with pytest.raises(
        StudyError, match=r"1e-06 minutes are too few: .* Give at least \d+ minutes, or fewer"
    ) as refused:
        budget.fitting(parts, at_once, 1e-6, spent)
    enough = float(str(refused.value).split("Give at least ")[1].split()[0])
    cut = budget.fitting(parts, at_once, enough, spent)
    assert min(part.steps for part in parts) * cut.factor >= min(FEWEST, *(part.steps for part in parts)) - 1e-6


@given(parts=st.lists(seconds, min_size=1, max_size=8), at_once=slots)
def test_a_study_lasts_as_long_as_its_parts_handed_out_one_by_one(parts, at_once):
    each = [Cost(fixed=s, step=0.0, validation=0.0, validations=1, steps=1, disk=0) for s in parts]
    ends, at_once = [0.0] * at_once, min(at_once, 4)
    for s in parts:
        first = ends.index(min(ends))
        ends[first] += s
    crowded = budget.CROWDED if at_once > 1 else 1.0
    assert budget.whole(each, at_once) == pytest.approx(crowded * max(ends) + budget.REPORTING)


def test_no_parts_need_no_shortening():
    assert budget.fitting([], 1, 1.0, 0.0) == budget.Shortening()
    assert asdict(budget.Shortening()) == {"factor": 1.0, "validations": 0}


# --- splits


def test_more_folds_than_patients_are_refused_before_anything_is_trained():
    place, found = ground(*HIPPOCAMPUS), study(Experiment(name="a", split=Folds(folds=4)))
    with pytest.raises(DataError, match="4 folds"):
        settle.required_splits(found, place.dataset)


def test_a_fixed_split_that_names_a_case_that_is_not_there_is_refused():
    place, found = ground(*HIPPOCAMPUS), study(Experiment(name="a", split=Fixed(validation=("case9",))))
    with pytest.raises(DataError, match="case9"):
        settle.required_splits(found, place.dataset)


def test_a_patient_on_both_sides_is_warned_of():
    ids = ("patient1_frame01", "patient1_frame02", "patient2_frame01")
    files = tuple(CaseFiles(id=each, images=(Path("image"),), label=Path("label")) for each in ids)
    dataset = replace(ground(*HIPPOCAMPUS).dataset, cases=files)
    torn = study(Experiment(name="a", split=Folds(folds=3, group="^.*$")))
    (warning,) = settle.required_splits(torn, dataset)
    assert "patient1_frame01 validates and patient1_frame02 trains of fold 0" in warning
    assert "split.group" in warning
    assert settle.required_splits(study(Experiment(name="a", split=Folds(folds=2))), dataset) == []


def test_parts_with_one_plan_prepare_their_cases_once():
    base = Experiment(name="a", plan=FREE)
    parts = study(base, replace(base, name="b", training=Training(clip=1.0)), seeds=(0, 1)).parts
    assert len({settle.preparing(part) for part in parts}) == 1
    (other,) = study(replace(base, plan=replace(FREE, spacing=(2.0, 2.0, 2.0)))).parts
    assert settle.preparing(other) != settle.preparing(parts[0])
