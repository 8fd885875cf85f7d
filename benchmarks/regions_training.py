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
PATCH, FIELD, MARGIN = (96, 128, 128), (128, 192, 192), 8.0
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
"""Among which the fastest is taken, for training and for predicting."""


def networks(steps: int, cache: Path) -> dict[str, nn.Module]:
    """The module of each way, in evaluation mode; weights in the cache that this code made are not trained again."""
    sources = [Path(path).read_bytes() for path in (__file__, abdomen.__file__)]
    digest = hashlib.sha256(b"".join(sources)).hexdigest()[:8]
    scenes: list[Scene] = []
    arithmetic = choose(partial(NETWORK.build, TOPOLOGY), torch.zeros(1, 1, *PATCH), ARITHMETICS)
    print(f"training in {arithmetic.precision}, {arithmetic.memory_format}", flush=True)
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
        loss=equal(Dice(), CrossEntropy()),
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
                recent = f"loss {np.mean(losses[-20::2]):.3f} around organs, {np.mean(losses[-19::2]):.3f} elsewhere"
                spent = time.process_time() - start
                print(f"{method.kind}: step {step + 1} of {steps}, {spent:.0f} s, {recent}", flush=True)
    return learner.predictor


def batch(scenes: list[Scene], size: Shape, step: int) -> Batch:
    """A window at a random place; at every other step it lies around a voxel of an organ."""
    rng = np.random.default_rng((7, step))
    scene = scenes[rng.integers(len(scenes))]
    space = scene.labels.shape
    centre = [rng.integers(side) for side in space]
    if step % 2 == 0:
        held = np.flatnonzero(scene.labels)
        centre = list(np.unravel_index(held[rng.integers(len(held))], space))
    low = [int(min(max(c - s // 2, 0), side - s)) for c, s, side in zip(centre, size, space, strict=True)]
    box = tuple(slice(a, a + s) for a, s in zip(low, size, strict=True))
    image = torch.from_numpy(scene.image[(slice(None), *box)])
    labels = torch.from_numpy(scene.labels[box]).long()
    return Batch(image=image[None], labels=labels[None], cases=("",))
