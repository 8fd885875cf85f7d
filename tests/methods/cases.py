"""Small settings and batches that the tests of the methods share."""

from dataclasses import fields, is_dataclass, replace

import torch

from edgewise.data.batches import Batch
from edgewise.losses import Dice
from edgewise.networks.base import Topology
from edgewise.networks.lnet import LNet
from edgewise.networks.residual_unet import ResidualUNet
from edgewise.networks.resnet import Encoder
from edgewise.training.arithmetic import Arithmetic
from edgewise.training.learner import Setting
from edgewise.training.optimise import Adam, Poly

CLASSES, SIDE = 3, 12


def small(settings):
    """The same tree of settings with narrow networks wherever the width is a setting: their laws are the same."""
    narrow = {Encoder: {"depth": 18, "width": 0.125}, LNet: {"features": 8, "kernel": 5}}.get(type(settings), {})
    inner = {f.name: getattr(settings, f.name) for f in fields(settings)}
    inner = {name: small(value) for name, value in inner.items() if is_dataclass(value)}
    return replace(settings, **inner, **narrow)


def topology(dims, classes=CLASSES):
    return Topology(
        channels=1,
        classes=classes,
        strides=((1,) * dims, (2,) * dims),
        kernels=((3,) * dims,) * 2,
        widths=(4, 8),
    )


def setting(dims=2, **changes):
    values = {
        "network": ResidualUNet(),
        "topology": topology(dims),
        "loss": Dice(),
        "spacing": (1.0,) * dims,
        "optimiser": Adam(rate=1e-2),
        "schedule": Poly(),
        "steps": 1000,
        "seed": 0,
        "epoch": 10,
        "clip": 12.0,
        "average": 0.5,
        "arithmetic": Arithmetic(threads=1),
        "device": torch.device("cpu"),
    }
    return Setting(**values | changes)


def batch(dims=2, seed=0):
    """Two images with a square of each class, which can be seen in them."""
    generator = torch.Generator().manual_seed(seed)
    labels = torch.zeros(2, *(SIDE,) * dims, dtype=torch.long)
    labels[:, *(slice(1, 6),) * dims] = 1
    labels[:, *(slice(7, 11),) * dims] = 2
    labels[1] = labels[1].flip(0)
    image = labels[:, None].float() + 0.1 * torch.randn(2, 1, *(SIDE,) * dims, generator=generator)
    return Batch(image=image, labels=labels, cases=("a", "b"))


def laid(method, chosen):
    """Weights of every groundwork, fresh ones: what they are worth does not matter."""
    return {work.name: work.learner.predictor.state_dict() for work in method.groundwork(chosen)}


def learner(method, chosen, seed=0):
    torch.manual_seed(seed)
    return method.learner(chosen, laid(method, chosen))


def losses(learning, batches, start=0):
    """The losses of steps; on one thread, because tests run beside each other."""
    with Arithmetic(threads=1).applied():
        return [learning.step(each, n) for n, each in enumerate(batches, start)]


def copied(tree):
    """A tree of plain values and tensors, which are cloned."""
    if isinstance(tree, torch.Tensor):
        return tree.clone()
    if isinstance(tree, dict):
        return {key: copied(value) for key, value in tree.items()}
    return type(tree)(map(copied, tree)) if isinstance(tree, list | tuple) else tree


def same(a, b):
    """Whether two such trees are equal to the last bit."""
    if isinstance(a, torch.Tensor):
        return a.dtype == b.dtype and torch.equal(a, b)
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, list | tuple):
        return len(a) == len(b) and all(map(same, a, b))
    return a == b
