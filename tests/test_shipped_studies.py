"""The studies that come with Edgewise: rows that are experiments of their own, alike in split, and can be built."""

import math
from dataclasses import replace

import pytest
import torch

from edgewise import plan as planning
from edgewise.data.fingerprint import CaseFacts, ChannelFacts, Fingerprint
from edgewise.experiment import digest
from edgewise.plan import Machine
from edgewise.truth import Truth
from shipped_files import STUDIES, experiment, names, rows


class TestStudies:
    @pytest.mark.parametrize("name", STUDIES)
    def test_every_row_is_an_experiment_of_its_own(self, name):
        made = rows(name)
        assert len({digest(replace(row, name="x", claim=None)) for row in made.values()}) == len(made)

    @pytest.mark.parametrize("name", STUDIES)
    def test_what_trains_and_what_validates_is_the_same_for_all_rows(self, name):
        assert len({row.split for row in rows(name).values()}) == 1

    @pytest.mark.parametrize("name", [n for n in STUDIES if not n.startswith(("regionwise", "replicas", "starter"))])
    def test_the_study_of_a_table_holds_every_experiment_of_that_table(self, name):
        table = f"{name}/" if names(f"{name}/") else f"{name.split('/')[0]}/"
        assert set(rows(name)) == names(table)
        for row, made in rows(name).items():
            assert made == experiment(f"{table}{row}")

    @pytest.mark.parametrize("name", [name for name in STUDIES if name.startswith("regionwise")])
    def test_the_rows_of_the_region_wise_paper_can_be_planned_and_built_for_their_data(self, name):
        shape, spacing, channels, classes = {
            "3": ((240, 240, 155), (1.0, 1.0, 1.0), ("T1", "T1ce", "T2", "FLAIR"), 4),
            "4": ((512, 512, 107), (0.78125, 0.78125, 3.0), ("CT",), 3),
        }.get(name[-1], ((216, 256, 9), (1.56, 1.56, 10.0), ("MR",), 4))
        facts = ChannelFacts(mean=60.0, std=20.0, p005=-10.0, p995=120.0, minimum=-100.0, maximum=300.0)
        case = CaseFacts(id="a", shape=shape, spacing=spacing, voxels=(10, 5), digest="a")
        fingerprint = Fingerprint(cases=(case,), channels=(facts,) * len(channels), digest="x")
        built = set()
        for row in rows(name).values():
            machine = Machine(gpu=True, cores=8, memory_gb=11.0)
            plan = planning.make(fingerprint, channels, row.plan, machine, ("background", "a", "b", "c")[:classes])
            assert plan.dimensions == 2
            assert row.training.epoch * {25000: 100, 75000: 300, 12500: 50}[row.training.steps] == row.training.steps
            assert row.training.steps % row.training.validate_every == 0
            row.method.require(row.network, plan.topology(classes))
            if row.network not in built:
                assert len(row.network.build(plan.topology(classes)).heads) == len(plan.widths) - 2
                built.add(row.network)
            label = torch.randint(0, classes, (2, 16, 16), generator=torch.Generator().manual_seed(0))
            truth = Truth.of(label, classes=classes, spacing=(1.0, 1.0), needs=row.loss.needs)
            assert math.isfinite(row.loss(torch.zeros(2, classes, 16, 16), truth))
