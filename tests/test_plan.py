"""Plans: laws that hold for every dataset and machine, and the decisions known data must lead to."""

import json
from dataclasses import fields, replace
from math import prod

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.data.fingerprint import CaseFacts, ChannelFacts, Fingerprint
from edgewise.data.intensity import ClipZScore, PercentileZScore, Window
from edgewise.errors import ExperimentError
from edgewise.experiment_file import read_plan
from edgewise.networks.unet import UNet
from edgewise.plan import Machine, Plan, PlanSettings, make
from edgewise.training.arithmetic import Arithmetic

CPU = Machine(gpu=False, cores=2, memory_gb=4.0)
GPU = Machine(gpu=True, cores=16, memory_gb=60.0)
AUTO = PlanSettings()
CHANNEL = ChannelFacts(mean=60.0, std=20.0, p005=-10.0, p995=120.0, minimum=-100.0, maximum=300.0)


def fingerprint(*cases, channels=1):
    facts = tuple(
        CaseFacts(id=f"case{i}", shape=shape, spacing=spacing, voxels=(10, 5), digest=str(i))
        for i, (shape, spacing) in enumerate(cases)
    )
    return Fingerprint(cases=facts, channels=(CHANNEL,) * channels, digest="x")


# As in ACDC (short-axis cine MR), the decathlon's hippocampi, and an abdominal CT.
CARDIAC = fingerprint(*[((216, 256, 10), (1.5, 1.5, 10.0))] * 3, ((224, 224, 9), (1.6, 1.6, 10.0)))
HIPPOCAMPUS = fingerprint(*[((35, 51, 36), (1.0, 1.0, 1.0))] * 3)
ABDOMEN = fingerprint(((512, 512, 120), (0.8, 0.8, 2.5)), ((512, 512, 200), (0.7, 0.7, 2.0)))
KNOWN = {"cardiac": CARDIAC, "hippocampus": HIPPOCAMPUS, "abdomen": ABDOMEN}

sizes = st.tuples(*[st.integers(16, 400)] * 3)
spacings = st.tuples(*[st.floats(0.3, 8.0).map(lambda s: round(s, 3))] * 3)
datasets = st.lists(st.tuples(sizes, spacings), min_size=1, max_size=4)
machines = st.sampled_from([CPU, GPU])
dimensions = st.sampled_from(["auto", 2, 3])


def planned(data, settings_=AUTO, machine=CPU, channels=("MR",)):
    return make(data, channels, settings_, machine)


class TestEveryPlan:
    @settings(max_examples=30)
    @given(cases=datasets, machine=machines, dims=dimensions)
    def test_is_consistent(self, cases, machine, dims):
        plan = planned(fingerprint(*cases), PlanSettings(dimensions=dims), machine)
        levels = len(plan.strides)
        assert plan.dimensions == (dims if dims != "auto" else plan.dimensions)
        assert sorted(plan.axes) == [0, 1, 2]
        assert len(plan.kernels) == len(plan.widths) == levels
        assert {len(row) for row in (plan.patch, plan.patch_spacing, *plan.strides, *plan.kernels)} == {plan.dimensions}
        assert all(n % s == 0 for n, s in zip(plan.patch, np.prod(plan.strides, axis=0), strict=True))
        assert {s for row in plan.strides for s in row} <= {1, 2}
        assert {k for row in plan.kernels for k in row} <= {1, 3}
        assert all(size > 0 for size in plan.spacing)
        assert plan.batch >= 1
        assert list(plan.widths) == sorted(plan.widths)
        assert plan.preparation().spacing == plan.spacing

    @settings(max_examples=30)
    @given(cases=datasets, machine=machines, dims=dimensions)
    def test_gives_a_value_and_a_reason_for_everything(self, cases, machine, dims):
        table = planned(fingerprint(*cases), PlanSettings(dimensions=dims), machine).table()
        assert set(table) == {field.name for field in fields(Plan)} - {"reasons"}
        by_hand = {"arithmetic"} | ({"dimensions"} if dims != "auto" else set())
        for name, entry in table.items():
            assert set(entry) == {"value", "reason"}
            assert (entry["reason"] == "set by the experiment") == (name in by_hand), name

    @settings(max_examples=25)
    @given(cases=datasets, machine=machines)
    def test_returns_from_its_table_through_yaml_and_json(self, cases, machine):
        measured = Arithmetic(precision="bf16", memory_format="contiguous", threads=3, reason="fastest: 12 ms")
        plan = replace(planned(fingerprint(*cases), machine=machine), arithmetic=measured)
        for text, load in ((yaml.safe_dump(plan.table()), yaml.safe_load), (json.dumps(plan.table()), json.loads)):
            again = read_plan(load(text))
            assert again.table() == plan.table()
            assert replace(again, reasons=plan.reasons) == plan

    @settings(max_examples=20)
    @given(gpu=st.booleans(), memory=st.floats(0.1, 100.0), share=st.floats(0.01, 1.0))
    def test_less_memory_never_gives_a_larger_batch(self, gpu, memory, share):
        rich, poor = (
            planned(HIPPOCAMPUS, PlanSettings(patch=(64, 64, 64)), Machine(gpu=gpu, cores=2, memory_gb=gb))
            for gb in (memory, memory * share)
        )
        assert 1 <= poor.batch <= rich.batch
        assert replace(poor, batch=1, reasons={}) == replace(rich, batch=1, reasons={})

    @pytest.mark.parametrize("gpu", [False, True], ids=["cpu", "gpu"])
    @pytest.mark.parametrize("memory", [0.0, 0.001, 0.1])
    def test_hardly_any_memory_still_gives_a_patch(self, gpu, memory):
        plan = planned(HIPPOCAMPUS, PlanSettings(), Machine(gpu=gpu, cores=2, memory_gb=memory))
        assert min(plan.patch) >= 1
        assert plan.batch >= 1

    @settings(max_examples=25)
    @given(cases=datasets, machine=machines)
    def test_the_patch_is_affordable_and_no_larger_than_the_strides_ask(self, cases, machine):
        plan = planned(fingerprint(*cases), machine=machine)
        multiple = np.prod(plan.strides, axis=0)
        limit = {(False, 2): 256**2, (False, 3): 64 * 96 * 96, (True, 2): 512**2, (True, 3): 128**3}
        smallest = [n - m + 1 for n, m in zip(plan.patch, multiple, strict=True)]
        # Rounding sizes to whole voxels adds at most half a voxel an axis.
        assert prod(n - 0.5 for n in smallest) <= limit[machine.gpu, plan.dimensions]

    @settings(max_examples=30)
    @given(cases=datasets, machine=machines)
    def test_axes_are_halved_while_four_voxels_remain_and_the_finest_first(self, cases, machine):
        plan = planned(fingerprint(*cases), machine=machine)
        deepest = np.array(plan.patch) / np.prod(plan.strides, axis=0)
        halved = np.prod(plan.strides, axis=0) > 1
        assert (deepest[halved] >= 4).all()
        grain = np.array(plan.patch_spacing)
        for row in plan.strides:
            coarse = grain > 2 * grain.min() * (1 + 1e-9)
            if grain.argmin() in np.flatnonzero(np.array(row) == 2):
                assert (np.array(row)[coarse] == 1).all()
            grain = grain * row


@pytest.mark.parametrize("machine", [CPU, GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(
    "case",
    [((40, 36, 12), (1.0, 1.0, 4.0)), ((24, 24, 24), (1.0, 1.0, 1.0)), ((9, 33, 17), (3.0, 1.0, 1.5))],
    ids=["thick", "even", "sagittal"],
)
def test_the_network_of_a_plan_runs_and_learns(machine, dims, case):
    plan = planned(fingerprint(case), PlanSettings(dimensions=dims), machine)
    slim = replace(plan, widths=(2,) * len(plan.widths))
    network = UNet().build(slim.topology(3)).train()
    logits = network(torch.randn(1, 1, *plan.patch))
    full = logits[0] if isinstance(logits, list) else logits
    assert full.shape == (1, 3, *plan.patch)
    full.square().mean().backward()


@pytest.mark.parametrize("machine", [CPU, GPU], ids=["cpu", "gpu"])
@pytest.mark.parametrize("shape", [(12, 14, 10), (9, 8, 8), (6, 6, 3)], ids=str)
def test_tiny_images_get_a_network_that_runs(machine, shape):
    plan = planned(fingerprint((shape, (1.0, 1.0, 1.0))), AUTO, machine)
    slim = replace(plan, widths=(2,) * len(plan.widths))
    network = UNet().build(slim.topology(2)).eval()
    with torch.no_grad():
        assert network(torch.randn(1, 1, *plan.patch)).shape == (1, 2, *plan.patch)


class TestKnownData:
    @pytest.mark.parametrize("machine", [CPU, GPU], ids=["cpu", "gpu"])
    def test_few_thick_slices_are_segmented_one_by_one(self, machine):
        plan = planned(CARDIAC, machine=machine)
        assert plan.dimensions == 2
        assert plan.axes[0] == 2
        assert plan.spacing == (10.0, 1.5, 1.5)
        assert "2D" in plan.reasons["dimensions"]

    @pytest.mark.parametrize("machine", [CPU, GPU], ids=["cpu", "gpu"])
    def test_isotropic_volumes_are_segmented_whole(self, machine):
        plan = planned(HIPPOCAMPUS, machine=machine)
        assert plan.dimensions == 3
        assert plan.spacing == (1.0, 1.0, 1.0)
        assert all(k == 3 for row in plan.kernels for k in row)
        assert all(n >= m for n, m in zip(plan.patch, (36, 51, 35), strict=True))

    def test_many_thick_slices_are_segmented_in_3d_without_mixing_them_early(self):
        plan = planned(fingerprint(*[((320, 320, 60), (0.5, 0.5, 4.0))] * 2), machine=GPU)
        assert plan.dimensions == 3
        assert plan.kernels[0] == (1, 3, 3)
        assert plan.kernels[-1] == (3, 3, 3)
        assert plan.strides[1] == (1, 2, 2)

    @given(axis=st.integers(0, 2))
    def test_the_coarsest_axis_comes_first_wherever_it_lies(self, axis):
        shape, spacing = [100, 100, 100], [1.0, 1.0, 1.0]
        shape[axis], spacing[axis] = 10, 8.0
        plan = planned(fingerprint((tuple(shape), tuple(spacing))))
        assert plan.axes[0] == axis
        assert plan.spacing == (8.0, 1.0, 1.0)
        assert plan.dimensions == 2

    def test_a_cpu_starts_at_half_resolution_and_a_gpu_at_full(self):
        assert planned(ABDOMEN, machine=CPU).strides[0] != (1, 1, 1)
        assert planned(ABDOMEN, machine=GPU).strides[0] == (1, 1, 1)
        assert prod(planned(ABDOMEN, machine=CPU).patch) < prod(planned(ABDOMEN, machine=GPU).patch)

    @pytest.mark.parametrize("name", ["CT", "ct", " CT ", "CTA", "HU"])
    def test_ct_is_clipped_by_the_dataset(self, name):
        expected = (ClipZScore(lower=-10.0, upper=120.0, mean=60.0, std=20.0),)
        assert planned(ABDOMEN, channels=(name,)).intensity == expected

    def test_other_channels_are_normalised_by_the_image(self):
        data = fingerprint(((64, 64, 64), (1.0, 1.0, 1.0)), channels=2)
        plan = planned(data, channels=("T1", "CT"))
        assert [type(i) for i in plan.intensity] == [PercentileZScore, ClipZScore]
        assert plan.topology(4).channels == 2

    def test_data_without_foreground_can_be_planned(self):
        plan = planned(replace(HIPPOCAMPUS, channels=()), channels=("MR",))
        assert plan.intensity == (PercentileZScore(),)


class TestOverrides:
    @pytest.mark.parametrize(
        ("setting", "value"),
        [
            ("dimensions", 3), ("dimensions", 2), ("spacing", (2.0, 2.0, 5.0)), ("batch", 7), ("crop", "none"),
            ("intensity", (Window(lower=0.0, upper=9.0),)),
        ],
    )  # fmt: skip
    def test_a_setting_is_respected(self, setting, value):
        plan = planned(CARDIAC, replace(AUTO, **{setting: value}))
        expected = (5.0, 2.0, 2.0) if setting == "spacing" else value
        assert getattr(plan, setting) == expected
        if setting != "crop":
            assert plan.table()[setting]["reason"] == "set by the experiment"

    @pytest.mark.parametrize("data", KNOWN.values(), ids=KNOWN)
    def test_what_a_plan_decided_may_be_set(self, data):
        plan = planned(data)
        fixed = PlanSettings(
            dimensions=plan.dimensions, patch=plan.patch, widths=plan.widths, batch=plan.batch, intensity=plan.intensity
        )  # fmt: skip
        again = planned(data, fixed)
        assert replace(again, reasons={}) == replace(plan, reasons={})
        for name in ("dimensions", "patch", "widths", "batch", "intensity"):
            assert again.table()[name]["reason"] == "set by the experiment"

    @pytest.mark.parametrize("stem", [1, 2])
    def test_the_stem_is_set(self, stem):
        assert set(planned(HIPPOCAMPUS, PlanSettings(stem=stem)).strides[0]) == {stem}

    def test_memory_is_set(self):
        small = planned(CARDIAC, PlanSettings(memory_gb=0.1), GPU)
        assert small.batch < planned(CARDIAC, AUTO, GPU).batch
        assert "0.1 GB" in small.reasons["batch"]

    @pytest.mark.parametrize(
        ("wrong", "message"),
        [
            ({"patch": (64, 64, 64)}, r"plan\.patch has 3 entries, but the network is 2D\. Give one entry"),
            ({"patch": (100, 100)}, r"plan\.patch \[100, 100\] is not divisible by the strides \[\d+, \d+\]\. Use \["),
            ({"widths": (16,) * 9}, r"plan\.widths has 9 entries, but the plan has \d levels: give one width"),
            (
                {"intensity": (PercentileZScore(),) * 2},
                r"plan\.intensity has 2 entries, but the images have 1 channels \(MR\)\. Give one for each",
            ),
        ],
    )
    def test_a_wrong_setting_is_refused_with_advice(self, wrong, message):
        with pytest.raises(ExperimentError, match=message):
            planned(CARDIAC, replace(AUTO, **wrong))

    def test_the_advised_patch_is_accepted(self):
        with pytest.raises(ExperimentError) as caught:
            planned(CARDIAC, PlanSettings(patch=(100, 90)))
        advised = tuple(json.loads(str(caught.value).split("Use ")[1].split(", or")[0]))
        assert planned(CARDIAC, PlanSettings(patch=advised)).patch == advised
