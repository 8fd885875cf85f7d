"""M-Net, the residual U-Net of the LR-Net paper."""

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal, TypeAlias

import torch
from torch import Tensor, nn
from typing_extensions import override

from edgewise.networks.base import Network, Topology
from edgewise.networks.encoder_decoder import EncoderDecoder, Level, Parts, convolution, same_padding, transposed

Norm: TypeAlias = Callable[[int, int], nn.Module]
"""Builds a normalisation from the number of spatial axes and of channels."""


@dataclass(frozen=True, kw_only=True)
class MNet(Network):
    """Residual U-Net: max-pooling, several residual blocks a level, concatenated skips.

    The finest encoder level is a plain double convolution. With the paper's widths (8, 16, 32, 64, 128), one image
    channel, two classes and three axes it has 4.29 million weights, as the paper's.

    `residual_unet` is another network: one residual unit a level, strided convolutions instead of pooling, leaky ReLU,
    normalisation with weights, and a plain 1x1 convolution as head. At equal widths it has a third of the weights.

    Attributes:
        encoder_blocks: residual blocks of the encoder levels below the finest, the finer first; deeper levels repeat
            the last number.
        decoder_blocks: residual blocks of the decoder levels, the finest first; deeper levels repeat the last number.
    """

    kind: Literal["mnet"] = "mnet"
    encoder_blocks: tuple[int, ...] = (2, 2, 3, 3)
    decoder_blocks: tuple[int, ...] = (2, 2, 3, 3)
    source: ClassVar = "Li et al. 2020, doi:10.1007/978-3-030-59861-7_24; arXiv:2501.09116"

    @override
    def build(self, topology: Topology) -> nn.Module:
        def encode(level: Level) -> nn.Module:
            if level.index == 0:
                return _double(level)
            return nn.Sequential(_pool(level), residual_blocks(level, _count(self.encoder_blocks, level.index - 1)))

        def decode(level: Level) -> nn.Module:
            return residual_blocks(level, _count(self.decoder_blocks, level.index))

        return EncoderDecoder(topology, Parts(encode=encode, decode=decode, up=up, head=head))


class ResidualBlock(nn.Module):
    """Two convolutions beside a shortcut, which is a 1x1 convolution where the number of channels changes."""

    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, ...], norm: Norm) -> None:
        super().__init__()
        dims, padding = len(kernel), same_padding(kernel)
        conv = convolution(dims)
        self.body = nn.Sequential(
            conv(inputs, outputs, kernel, padding=padding, bias=False),
            norm(dims, outputs),
            nn.ReLU(inplace=True),
            conv(outputs, outputs, kernel, padding=padding, bias=False),
            norm(dims, outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs:
            self.shortcut = nn.Sequential(conv(inputs, outputs, 1, bias=False), norm(dims, outputs))

    @override
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


def plain_norm(dims: int, channels: int) -> nn.Module:
    """Instance normalisation without weights, as the paper's."""
    return (nn.InstanceNorm3d if dims == 3 else nn.InstanceNorm2d)(channels)


def residual_blocks(level: Level, count: int, norm: Norm = plain_norm) -> nn.Module:
    """`count` residual blocks, of which the first changes the number of channels."""
    channels = [level.inputs] + [level.outputs] * max(count, 1)
    return nn.Sequential(*(ResidualBlock(i, o, level.kernel, norm) for i, o in pairwise(channels)))


def up(level: Level, norm: Norm = plain_norm) -> nn.Module:
    """Transposed convolution, norm, ReLU."""
    return nn.Sequential(transposed(level, bias=False), norm(level.dims, level.outputs), nn.ReLU(inplace=True))


def head(level: Level) -> nn.Module:
    """A hidden 1x1 convolution, norm, ReLU, and the 1x1 convolution that makes logits."""
    conv = convolution(level.dims)
    return nn.Sequential(
        conv(level.inputs, level.inputs, 1, bias=False),
        plain_norm(level.dims, level.inputs),
        nn.ReLU(inplace=True),
        conv(level.inputs, level.outputs, 1),
    )


def _double(level: Level) -> nn.Module:
    conv, padding = convolution(level.dims), same_padding(level.kernel)
    return nn.Sequential(
        conv(level.inputs, level.outputs, level.kernel, stride=level.stride, padding=padding, bias=False),
        plain_norm(level.dims, level.outputs),
        nn.ReLU(inplace=True),
        conv(level.outputs, level.outputs, level.kernel, padding=padding, bias=False),
        plain_norm(level.dims, level.outputs),
        nn.ReLU(inplace=True),
    )


def _pool(level: Level) -> nn.Module:
    return (nn.MaxPool3d if level.dims == 3 else nn.MaxPool2d)(level.stride)


def _count(counts: tuple[int, ...], index: int) -> int:
    return counts[min(index, len(counts) - 1)]
