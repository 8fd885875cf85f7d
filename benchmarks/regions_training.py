"""The two trainings behind `regions.py`: network S on patches, and as the second half of an L-SNet."""

import hashlib
import time
from functools import partial
from itertools import product
from pathlib import Path

import abdomen
import numpy as np
import torch
from abdomen import Scene, Shape
from torch import nn

from edgewise.data.batches import Batch
from edgewise.files import atomic
from edgewise.inference.roi import Recalibration
from edgewise.losses import CrossEntropy, Dice, equal
from edgewise.methods.base import Method
from edgewise.methods.localisation import Localisation
from edgewise.methods.lsnet import LSNet
from edgewise.methods.supervised import Supervised
from edgewise.networks.base import Topology
from edgewise.networks.lnet import LNet
from edgewise.networks.residual_unet import ResidualUNet
from edgewise.networks.resnet import Encoder
from edgewise.training.arithmetic import Arithmetic, MemoryFormat, Precision, choose
from edgewise.training.learner import Setting
from edgewise.training.optimise import AdamW, Poly

FULL, PART, SCENES = (300, 512, 512), (192, 288, 288), 20
PATCH, FIELD, MARGIN = (64, 96, 96), (128, 192, 192), 15.0
PRECISIONS: tuple[Precision, ...] = ("fp32", "bf16")
FORMATS: tuple[MemoryFormat, ...] = ("channels_last", "contiguous")
CPU = torch.device("cpu")
NETWORK = ResidualUNet(supervised=3)
TOPOLOGY = Topology(
    channels=1,
    classes=2,
    strides=((2, 2, 2),) * 4,
    kernels=((3, 3, 3),) * 4,
    widths=(16, 32, 32, 32),
)
LSNET = LSNet(
    localisation=Localisation(
        network=LNet(encoder=Encoder(width=0.25), features=16, kernel=7),
        shrink=4,
        sigma=1.5,
    ),
    recalibration=Recalibration(margin=MARGIN, size=PATCH),
)
WAYS: dict[str, tuple[Method, Shape]] = {"sliding": (Supervised(), PATCH), "two stages": (LSNET, FIELD)}
"""How S is trained, and the patches that the trained module sees."""
ARITHMETICS = tuple(
    Arithmetic(precision=precision, memory_format=memory_format, threads=1)
    for precision, memory_format in product(PRECISIONS, FORMATS)
)
"""Among which the fastest is taken for training, and for predicting among those of the same precision."""


def fastest() -> Arithmetic:
    return choose(partial(NETWORK.build, TOPOLOGY), torch.zeros(1, 1, *PATCH), ARITHMETICS)


def networks(steps: int, cache: Path, arithmetic: Arithmetic) -> dict[str, nn.Module]:
    """The module of each way, in evaluation mode; weights in the cache that this code made are not trained again."""
    sources = [Path(path).read_bytes() for path in (__file__, abdomen.__file__)]
    digest = hashlib.sha256(b"".join(sources)).hexdigest()[:8]
    scenes: list[Scene] = []
    found = {}
    for name, (method, size) in WAYS.items():
        file = cache / f"{method.kind}-{steps}-{arithmetic.precision}-{digest}.pt"
        if not file.exists():
            scenes = scenes or [abdomen.part(PART, FULL, seed) for seed in range(SCENES)]
            cache.mkdir(parents=True, exist_ok=True)
            weights = trained(method, size, scenes, steps, arithmetic).state_dict()
            with atomic(file) as temporary:
                torch.save(weights, temporary)
        network = method.predictor(NETWORK, TOPOLOGY)
        network.load_state_dict(torch.load(file))
        found[name] = network.eval()
    return found


def trained(method: Method, size: Shape, scenes: list[Scene], steps: int, arithmetic: Arithmetic) -> nn.Module:
    torch.manual_seed(0)
    setting = Setting(
        network=NETWORK,
        topology=TOPOLOGY,
        loss=equal(Dice(batch="pooled"), CrossEntropy()),
        spacing=(1.0, 1.0, 1.0),
        optimiser=AdamW(rate=3e-3),
        schedule=Poly(warm_up=10),
        steps=steps,
        seed=0,
        epoch=steps,
        clip=12.0,
        average=0.95,
        arithmetic=arithmetic,
        device=CPU,
    )
    learner, start = method.learner(setting, {}), time.process_time()
    losses = []
    with setting.arithmetic.applied():
        for step in range(steps):
            losses.append(learner.step(batch(scenes, size, step), step))
            if step % 20 == 19:
                spent = time.process_time() - start
                print(
                    f"{method.kind}: step {step + 1} of {steps}, {spent:.0f} s, loss {np.mean(losses[-20:]):.3f}",
                    flush=True,
                )
    return learner.predictor


def batch(scenes: list[Scene], size: Shape, step: int) -> Batch:
    """Two windows: one around a voxel of an organ, one anywhere."""
    rng = np.random.default_rng((7, step))
    pair = [window(scenes[rng.integers(len(scenes))], size, rng, around=around) for around in (True, False)]
    image, labels = (torch.stack(each) for each in zip(*pair, strict=True))
    return Batch(image=image, labels=labels, cases=("", ""))


def window(scene: Scene, size: Shape, rng: np.random.Generator, *, around: bool) -> tuple[torch.Tensor, torch.Tensor]:
    space = scene.labels.shape
    centre = [rng.integers(side) for side in space]
    if around:
        held = np.flatnonzero(scene.labels)
        centre = list(np.unravel_index(held[rng.integers(len(held))], space))
    low = [int(min(max(c - s // 2, 0), side - s)) for c, s, side in zip(centre, size, space, strict=True)]
    box = tuple(slice(a, a + s) for a, s in zip(low, size, strict=True))
    return torch.from_numpy(scene.image[(slice(None), *box)]), torch.from_numpy(scene.labels[box]).long()
