"""The two trainings behind `regions.py`: network S on patches, and as the second half of an L-SNet."""

import hashlib
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
from edgewise.training.arithmetic import Arithmetic
from edgewise.training.learner import Setting
from edgewise.training.optimise import AdamW, Poly

FULL, PART, SCENES = (300, 512, 512), (192, 288, 288), 20
PATCH, FIELD, BATCH, MARGIN = (64, 96, 96), (128, 192, 192), 2, 8.0
CPU = torch.device("cpu")
NETWORK = ResidualUNet()
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


def networks(steps: int, cache: Path) -> dict[str, nn.Module]:
    """The module of each way, in evaluation mode; weights in the cache that this code made are not trained again."""
    sources = [Path(path).read_bytes() for path in (__file__, abdomen.__file__)]
    digest = hashlib.sha256(b"".join(sources)).hexdigest()[:8]
    scenes: list[Scene] = []
    found = {}
    for name, (method, size) in WAYS.items():
        file = cache / f"{method.kind}-{steps}-{digest}.pt"
        if not file.exists():
            scenes = scenes or [abdomen.part(PART, FULL, seed) for seed in range(SCENES)]
            cache.mkdir(parents=True, exist_ok=True)
            weights = trained(method, size, scenes, steps).state_dict()
            with atomic(file) as temporary:
                torch.save(weights, temporary)
        network = method.predictor(NETWORK, TOPOLOGY)
        network.load_state_dict(torch.load(file))
        found[name] = network.eval()
    return found


def trained(method: Method, size: Shape, scenes: list[Scene], steps: int) -> nn.Module:
    torch.manual_seed(0)
    setting = Setting(
        network=NETWORK,
        topology=TOPOLOGY,
        loss=equal(Dice(), CrossEntropy()),
        spacing=(1.0, 1.0, 1.0),
        optimiser=AdamW(rate=2e-3),
        schedule=Poly(warm_up=10),
        steps=steps,
        seed=0,
        epoch=steps,
        clip=12.0,
        average=0.95,
        arithmetic=Arithmetic(threads=1),
        device=CPU,
    )
    learner = method.learner(setting, {})
    with setting.arithmetic.applied():
        for step in range(steps):
            loss = learner.step(batch(scenes, size, step), step)
            if step % 20 == 19:
                print(f"{method.kind}: step {step + 1} of {steps}, loss {loss:.3f}", flush=True)
    return learner.predictor


def batch(scenes: list[Scene], size: Shape, step: int) -> Batch:
    """Windows at random places; every other one lies around a voxel of an organ."""
    rng = np.random.default_rng((7, step))
    images, labels = [], []
    for n in range(BATCH):
        scene = scenes[rng.integers(len(scenes))]
        space = scene.labels.shape
        centre = [rng.integers(side) for side in space]
        if n % 2 == 0:
            held = np.flatnonzero(scene.labels)
            centre = list(np.unravel_index(held[rng.integers(len(held))], space))
        low = [int(min(max(c - s // 2, 0), side - s)) for c, s, side in zip(centre, size, space, strict=True)]
        box = tuple(slice(a, a + s) for a, s in zip(low, size, strict=True))
        images.append(torch.from_numpy(scene.image[(slice(None), *box)]))
        labels.append(torch.from_numpy(scene.labels[box]).long())
    return Batch(image=torch.stack(images), labels=torch.stack(labels), cases=("",) * BATCH)
