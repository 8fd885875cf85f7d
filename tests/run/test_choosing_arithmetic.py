"""Which arithmetics a run tries: those that can be the fastest on its processor."""

from dataclasses import replace

import pytest
import torch

from edgewise.data.intensity import ClipZScore
from edgewise.experiment import Experiment
from edgewise.plan import Plan
from edgewise.run import arithmetic as module

CPU = torch.device("cpu")
PLAN = Plan(
    dimensions=2,
    axes=(0, 1, 2),
    spacing=(1.0, 1.0, 1.0),
    patch=(8, 8),
    batch=1,
    strides=((2, 2),),
    kernels=((3, 3),) * 2,
    widths=(4, 4),
    intensity=(ClipZScore(lower=0.0, upper=1.0, mean=0.0, std=1.0),),
    crop="none",
    reasons={},
)
NARROW, WIDE = "AVX2", "AVX512"


@pytest.fixture
def tried(monkeypatch):
    """The precisions that are tried, for what the experiment says, on a processor that can do so much."""

    def of(precision, capability, device=CPU):
        monkeypatch.setattr(torch.backends.cpu, "get_cpu_capability", lambda: capability)
        seen = []

        def choose(_build, _image, options):
            seen.extend(option.precision for option in options)
            return options[0]

        monkeypatch.setattr(module, "choose", choose)
        experiment = Experiment(name="any")
        experiment = replace(experiment, plan=replace(experiment.plan, precision=precision))
        module.measured(experiment, PLAN, 2, device)
        return set(seen)

    return of


def test_bfloat16_is_tried_where_the_processor_has_it(tried):
    assert tried("auto", WIDE) == {"fp32", "bf16"}
    assert tried("auto", NARROW) == {"fp32"}


@pytest.mark.parametrize("capability", [NARROW, WIDE])
def test_what_the_experiment_says_is_done(tried, capability, capsys):
    """With a word about what it costs, where it costs much."""
    assert tried("bf16", capability) == {"bf16"}
    assert ("ten times as long as fp32" in capsys.readouterr().err) == (capability == NARROW)


def test_what_the_processor_lacks_says_nothing_of_another_device(tried, capsys):
    assert tried("bf16", NARROW, torch.device("meta")) == {"bf16"}
    assert "ten times" not in capsys.readouterr().err
