"""The U-shaped graph that most networks share; what a level computes is given by its parts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Any, Literal, TypeAlias

import torch
from torch import Tensor, nn
from typing_extensions import override

from edgewise.networks.base import Topology
from edgewise.networks.layers import replace_layers

NARROW = 8
"""Channels at full resolution where the stem has a stride."""


@dataclass(frozen=True, kw_only=True)
class Level:
    """One level of an encoder or decoder.

    Attributes:
        index: 0 is the finest level.
        inputs: feature channels that come in.
        outputs: feature channels that go out.
        kernel: convolution kernel per axis.
        stride: down-sampling per axis on the way in; ones in a decoder.
    """

    index: int
    inputs: int
    outputs: int
    kernel: tuple[int, ...]
    stride: tuple[int, ...]

    @property
    def dims(self) -> int:
        """Number of spatial axes, 2 or 3."""
        return len(self.kernel)


Stage: TypeAlias = Callable[[Level], nn.Module]


def transposed(level: Level, *, bias: bool = True) -> nn.Module:
    """A transposed convolution that undoes the stride of `level`, and nothing else; a norm after it needs no bias."""
    module: nn.Module = up_convolution(level.dims)(level.inputs, level.outputs, level.stride, level.stride, bias=bias)
    return module


def pointwise(level: Level) -> nn.Module:
    """A 1x1 convolution."""
    module: nn.Module = convolution(level.dims)(level.inputs, level.outputs, 1)
    return module


def unchanged(_: Level) -> nn.Module:
    """Nothing at all."""
    return nn.Identity()


@dataclass(frozen=True, kw_only=True)
class Parts:
    """What the levels of an encoder-decoder are made of.

    Attributes:
        encode: builds an encoder level, which also reduces the resolution by the level's stride.
        decode: builds a decoder level, at unchanged resolution.
        up: builds the step from a coarser level to a finer one.
        skip: builds a module (up-sampled features, skipped features) -> skipped features, such as a gate.
        join: how the two are joined: concatenated, or added.
        bottom: builds what works on the deepest features.
        head: builds what makes logits of the features of a decoder level.
        spread: channels of the decoder levels, in multiples of the encoder's.
    """

    encode: Stage
    decode: Stage
    up: Stage = transposed
    skip: Stage = unchanged
    join: Literal["concatenate", "add"] = "concatenate"
    bottom: Stage = unchanged
    head: Stage = pointwise
    spread: int = 1


class EncoderDecoder(nn.Module):
    """Encoder, decoder, skips, and a logit head at each supervised decoder level.

    Where the stem has a stride, wide features at full resolution, which cost a CPU most of its time, are avoided: the
    finest level works on the strided grid, and a last, narrow step up joins its features with the image itself, because
    boundaries are decided at full resolution.

    Args:
        topology: strides, kernels and widths of every level.
        parts: what the levels are made of.
        supervised: how many decoder levels get a head, the finest first; at least 1.
    """

    def __init__(self, topology: Topology, parts: Parts, *, supervised: int = 1) -> None:
        super().__init__()
        widths, kernels, strides = topology.widths, topology.kernels, topology.strides
        ones, grown = (1,) * topology.dims, 2 if parts.join == "concatenate" else 1
        last = len(widths) - 1
        decoded = [parts.spread * width for width in widths[:-1]] + [widths[-1]]
        entering = zip(pairwise((topology.channels, *widths)), kernels, strides, strict=True)
        self.joined = parts.join
        self.down = nn.ModuleList(
            parts.encode(Level(index=n, inputs=i, outputs=o, kernel=k, stride=s))
            for n, ((i, o), k, s) in enumerate(entering)
        )
        self.bottom = parts.bottom(
            Level(index=last, inputs=widths[-1], outputs=widths[-1], kernel=kernels[-1], stride=ones)
        )
        order = range(last - 1, -1, -1)
        self.up = nn.ModuleList(
            parts.up(Level(index=n, inputs=decoded[n + 1], outputs=widths[n], kernel=kernels[n], stride=strides[n + 1]))
            for n in order
        )
        self.skip = nn.ModuleList(
            parts.skip(Level(index=n, inputs=widths[n], outputs=widths[n], kernel=kernels[n], stride=ones))
            for n in order
        )
        self.merge = nn.ModuleList(
            parts.decode(Level(index=n, inputs=grown * widths[n], outputs=decoded[n], kernel=kernels[n], stride=ones))
            for n in order
        )
        levels = max(1, min(supervised, last))
        self.heads = nn.ModuleList(
            parts.head(Level(index=n, inputs=decoded[n], outputs=topology.classes, kernel=kernels[n], stride=ones))
            for n in range(levels - 1, -1, -1)
        )
        self.strided = any(s > 1 for s in strides[0])
        if self.strided:
            entry = Level(index=0, inputs=decoded[0], outputs=NARROW, kernel=kernels[0], stride=strides[0])
            self.last_up = parts.up(entry)
            self.last_merge = parts.decode(replace(entry, inputs=NARROW + topology.channels, stride=ones))
            self.heads[-1] = parts.head(replace(entry, inputs=NARROW, outputs=topology.classes, stride=ones))
        self.apply(_initialise)
        replace_layers(self)

    @override
    def forward(self, image: Tensor) -> Tensor | list[Tensor]:
        """Logits at full resolution; in training mode a list of all supervised levels, the finest first."""
        logits = self.decode(self.encode(image), image)
        return logits if self.training else logits[0]

    def encode(self, image: Tensor) -> list[Tensor]:
        """The features of every level, the finest first."""
        features: list[Tensor] = []
        x = image
        for stage in self.down:
            x = stage(x)
            features.append(x)
        return [*features[:-1], self.bottom(x)]

    def decode(self, encoded: Sequence[Tensor], image: Tensor) -> list[Tensor]:
        """Logits of encoded features: full resolution, and in training mode every supervised level below it."""
        skips = list(encoded)
        x = skips.pop()
        features: list[Tensor] = []
        for up, skip, merge in zip(self.up, self.skip, self.merge, strict=True):
            x = up(x)
            kept = skips.pop() if isinstance(skip, nn.Identity) else skip(x, skips.pop())
            x = merge(x + kept if self.joined == "add" else torch.cat((x, kept), dim=1))
            features.append(x)
        if self.strided:
            x = self.last_merge(torch.cat((self.last_up(x), image), dim=1))
        full: Tensor = self.heads[-1](x)
        if not self.training:
            return [full]
        coarse = features[-len(self.heads) : -1]
        logits = [head(x) for head, x in zip(self.heads, coarse, strict=False)]
        return [full, *logits[::-1]]

    def drop_encoder(self) -> None:
        """Keep only what `decode` needs: the rest would be weights that nothing trains."""
        self.down, self.bottom = nn.ModuleList(), nn.Identity()


def convolution(dims: int) -> Any:
    """The class of convolutions over `dims` axes."""
    return nn.Conv3d if dims == 3 else nn.Conv2d


def up_convolution(dims: int) -> Any:
    """The class of transposed convolutions over `dims` axes."""
    return nn.ConvTranspose3d if dims == 3 else nn.ConvTranspose2d


def instance_norm(dims: int, channels: int) -> nn.Module:
    """Instance normalisation with a learnt scale and shift."""
    return (nn.InstanceNorm3d if dims == 3 else nn.InstanceNorm2d)(channels, affine=True)


def same_padding(kernel: Sequence[int]) -> tuple[int, ...]:
    """Padding that keeps the size under an odd kernel and stride 1."""
    return tuple(k // 2 for k in kernel)


def _initialise(module: nn.Module) -> None:
    """He et al. 2015, arXiv:1502.01852, for leaky ReLU of slope 0.01."""
    if isinstance(module, nn.Conv2d | nn.Conv3d | nn.ConvTranspose2d | nn.ConvTranspose3d):
        nn.init.kaiming_normal_(module.weight, a=0.01)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
