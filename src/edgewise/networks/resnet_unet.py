"""The U-Net on a ResNet encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import interpolate
from typing_extensions import override

from edgewise.networks.base import Network, Topology
from edgewise.networks.encoder_decoder import convolution
from edgewise.networks.layers import replace_layers
from edgewise.networks.resnet import Encoder
from edgewise.networks.small_grids import Norm, norm_layer

NARROWEST = 8
"""Fewest channels of a decoder level."""


@dataclass(frozen=True, kw_only=True)
class ResNetUNet(Network):
    """U-Net whose encoder is a ResNet: five steps down, five steps up, concatenated skips.

    Each step up doubles the grid (nearest neighbour), joins the encoder's features and passes two convolutions, each
    with a norm and ReLU. The last one joins the image itself, as boundaries are decided at full resolution.
    It takes images of any size. Of the plan's strides, kernels and widths nothing applies: a ResNet has its own, and
    halves every axis five times, the slice axis of a 3D image as well.

    Attributes:
        encoder: depth, width, norm and weights of the ResNet; where it is given, its depth is 18 unless it says 34.
        features: decoder channels at stride 4; twice as many at 8, four times at 16, half at 2, a quarter at 1.
    """

    kind: Literal["resnet_unet"] = "resnet_unet"
    encoder: Encoder = Encoder(depth=34)
    features: Annotated[int, Field(ge=1)] = 64
    source: ClassVar = "He et al. 2016, doi:10.1109/CVPR.2016.90; Ronneberger et al. 2015, arXiv:1505.04597"

    @override
    def build(self, topology: Topology) -> nn.Module:
        return _ResNetUNet(topology, self)


class _ResNetUNet(nn.Module):
    def __init__(self, topology: Topology, settings: ResNetUNet) -> None:
        super().__init__()
        encoder, dims = settings.encoder, topology.dims
        widths = [max(NARROWEST, settings.features * share // 4) for share in (16, 8, 4, 2, 1)]
        self.encoder = encoder.build(topology.channels, dims)
        self.decoder = UDecoder((topology.channels, *encoder.widths), widths, dims, encoder.norm)
        self.head = convolution(dims)(widths[-1], topology.classes, 1)
        replace_layers(self)

    @override
    def forward(self, image: Tensor) -> Tensor:
        """Logits at full resolution."""
        logits: Tensor = self.head(self.decoder([image, *self.encoder(image)]))
        return logits


class UDecoder(nn.Module):
    """Steps up from the deepest features, as many as there are `widths`; features are joined by concatenation.

    Args:
        inputs: channels of the features that come in, the finest first, each grid half of the one before, rounded up.
        widths: channels after each step up.
        dims: number of spatial axes.
        norm: after each convolution.
    """

    def __init__(self, inputs: Sequence[int], widths: Sequence[int], dims: int, norm: Norm) -> None:
        super().__init__()
        deep, skipped = [inputs[-1], *widths[:-1]], inputs[-2::-1][: len(widths)]
        self.steps = nn.ModuleList(
            nn.Sequential(*unit(d + s, w, dims, norm), *unit(w, w, dims, norm))
            for d, s, w in zip(deep, skipped, widths, strict=True)
        )

    @override
    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """(B, last width, *space) on the grid of the last features that were joined."""
        *rest, x = features
        for step, skip in zip(self.steps, reversed(rest), strict=False):
            x = step(torch.cat((cropped(interpolate(x, scale_factor=2.0, mode="nearest"), skip), skip), dim=1))
        return x


def unit(inputs: int, outputs: int, dims: int, norm: Norm) -> tuple[nn.Module, ...]:
    """A 3x3 convolution, a norm and ReLU."""
    conv = convolution(dims)(inputs, outputs, 3, padding=1, bias=False)
    nn.init.kaiming_normal_(conv.weight, nonlinearity="relu")
    return conv, norm_layer(norm, dims, outputs), nn.ReLU(inplace=True)


def cropped(enlarged: Tensor, like: Tensor) -> Tensor:
    """Without what was rounded up on the way down."""
    inside: tuple[Any, ...] = (..., *(slice(side) for side in like.shape[2:]))
    return enlarged[inside]
