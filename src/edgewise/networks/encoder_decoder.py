"""The U-shaped graph that the U-Nets share; what a level computes is given by a block."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from typing_extensions import override

from edgewise.networks.base import Topology

NARROW = 8
"""Channels at full resolution where the stem has a stride."""

Stage: TypeAlias = Callable[[int, int, tuple[int, ...], tuple[int, ...]], nn.Module]
"""(channels in, channels out, kernel, stride) -> the convolutions of one level."""


class EncoderDecoder(nn.Module):
    """Encoder, decoder, concatenated skips, and a logit head at each supervised decoder level.

    Where the stem has a stride, wide features at full resolution, which cost a CPU most of its time, are avoided: the
    finest level works on the strided grid, and a last, narrow step up joins its features with the image itself, because
    boundaries are decided at full resolution.

    Args:
        topology: strides, kernels and widths of every level.
        encode: builds an encoder level.
        decode: builds a decoder level.
        supervised: how many decoder levels get a head, the finest first; at least 1.
    """

    def __init__(self, topology: Topology, *, encode: Stage, decode: Stage, supervised: int) -> None:
        super().__init__()
        dims, widths, kernels, strides = topology.dims, topology.widths, topology.kernels, topology.strides
        up: Any = nn.ConvTranspose3d if dims == 3 else nn.ConvTranspose2d
        point: Any = nn.Conv3d if dims == 3 else nn.Conv2d
        inputs = (topology.channels, *widths)
        self.down = nn.ModuleList(
            encode(i, o, k, s) for (i, o), k, s in zip(pairwise(inputs), kernels, strides, strict=True)
        )
        steps = list(zip(widths[1:], widths[:-1], strides[1:], kernels[:-1], strict=True))[::-1]
        self.up = nn.ModuleList(up(deep, fine, stride, stride) for deep, fine, stride, _ in steps)
        self.merge = nn.ModuleList(decode(2 * fine, fine, kernel, (1,) * dims) for _, fine, _, kernel in steps)
        levels = max(1, min(supervised, len(steps)))
        self.heads = nn.ModuleList(point(w, topology.classes, 1) for w in widths[:levels][::-1])
        self.strided = any(s > 1 for s in strides[0])
        if self.strided:
            self.last_up = up(widths[0], NARROW, strides[0], strides[0])
            self.last_merge = decode(NARROW + topology.channels, NARROW, kernels[0], (1,) * dims)
            self.heads[-1] = point(NARROW, topology.classes, 1)
        self.apply(_initialise)

    @override
    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Logits at full resolution; in training mode a list of all supervised levels, the finest first."""
        skips: list[Tensor] = []
        x = image
        for stage in self.down:
            x = stage(x)
            skips.append(x)
        skips.pop()
        features: list[Tensor] = []
        for up, merge in zip(self.up, self.merge, strict=True):
            x = merge(torch.cat((up(x), skips.pop()), dim=1))
            features.append(x)
        if self.strided:
            x = self.last_merge(torch.cat((self.last_up(x), image), dim=1))
        full: Tensor = self.heads[-1](x)
        if not self.training:
            return full
        coarse = features[-len(self.heads) : -1]
        logits = [head(x) for head, x in zip(self.heads, coarse, strict=False)]
        return [full, *logits[::-1]]


def same_padding(kernel: Sequence[int]) -> tuple[int, ...]:
    """Padding that keeps the size under an odd kernel and stride 1."""
    return tuple(k // 2 for k in kernel)


def _initialise(module: nn.Module) -> None:
    """He et al. 2015, arXiv:1502.01852, for leaky ReLU of slope 0.01."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
