"""Which arithmetic a run uses: what the experiment says, and measurements for what it leaves to the machine."""

from dataclasses import replace

import torch
from torch import nn

from edgewise import machine
from edgewise.console import say
from edgewise.experiment import Experiment
from edgewise.networks.resnet import unread
from edgewise.plan import Plan
from edgewise.training.arithmetic import Arithmetic, MemoryFormat, Precision, choose


def measured(experiment: Experiment, plan: Plan, classes: int, device: torch.device) -> Arithmetic:
    """The fastest arithmetic among those that the experiment leaves open, by training steps on a plan's own batch.

    Of several processes that train together each has a share of it, and that is what is timed.
    """
    experiment, wanted = unread(experiment), experiment.plan
    threads = wanted.threads if wanted.threads != "auto" else machine.own_cores()
    if wanted.precision == "bf16" and _lacks_bfloat16(device):
        say("plan.precision bf16 takes about ten times as long as fp32 on this processor, which has no AVX-512")
    precisions = _precisions(device) if wanted.precision == "auto" else [wanted.precision]
    formats: list[MemoryFormat] = ["channels_last", "contiguous"]
    if wanted.memory_format != "auto":
        formats = [wanted.memory_format]
    options = [Arithmetic(precision=p, memory_format=f, threads=threads) for p in precisions for f in formats]
    fewer = [threads, max(threads // 2, 1)] if wanted.threads == "auto" and device.type == "cpu" else [threads]
    if len(options) > 1 or fewer[0] != fewer[-1]:
        say("measuring which arithmetic trains fastest on this machine")
    batch = max(plan.batch // machine.processes(), 1)
    image = torch.zeros((batch, len(plan.intensity), *experiment.method.seen(plan.patch)), device=device)

    def build() -> nn.Module:
        return experiment.network.build(plan.topology(classes))

    chosen = choose(build, image, options)
    return choose(build, image, [replace(chosen, threads=n) for n in dict.fromkeys(fewer)])


def _precisions(device: torch.device) -> list[Precision]:
    """Those that can be the fastest."""
    if _lacks_bfloat16(device):
        return ["fp32"]
    return ["fp32", "bf16" if device.type == "cpu" or torch.cuda.is_bf16_supported() else "fp16"]


def _lacks_bfloat16(device: torch.device) -> bool:
    """Whether torch's convolutions have no bfloat16 kernels on a CPU: on x86 they need AVX-512."""
    return device.type == "cpu" and torch.backends.cpu.get_cpu_capability() == "AVX2"
