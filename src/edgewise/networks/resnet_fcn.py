"""The fully convolutional network on a ResNet encoder."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import interpolate
from typing_extensions import override

from edgewise.networks.base import Network, Topology
from edgewise.networks.encoder_decoder import convolution
from edgewise.networks.layers import replace_layers
from edgewise.networks.resnet import Encoder
from edgewise.networks.resnet_unet import cropped


@dataclass(frozen=True, kw_only=True)
class ResNetFCN(Network):
    """FCN whose encoder is a ResNet: coarse scores are enlarged and added to finer ones, then to full resolution.

    All steps up are linear interpolations, so that no detail finer than the finest scored grid is drawn.
    It takes images of any size. Of the plan's strides, kernels and widths nothing applies: a ResNet has its own, and
    halves every axis five times, the slice axis of a 3D image as well.

    Attributes:
        encoder: depth, width, norm and weights of the ResNet; where it is given, its depth is 18 unless it says 34.
        scored: how many levels score, from stride 32 on: 3 is FCN-8s, 2 FCN-16s, 1 FCN-32s.
    """

    kind: Literal["resnet_fcn"] = "resnet_fcn"
    encoder: Encoder = Encoder(depth=34)
    scored: Annotated[int, Field(ge=1, le=5)] = 3
    source: ClassVar = "He et al. 2016, doi:10.1109/CVPR.2016.90; Long et al. 2015, doi:10.1109/CVPR.2015.7298965"

    @override
    def build(self, topology: Topology) -> nn.Module:
        return _ResNetFCN(topology, self)


class _ResNetFCN(nn.Module):
    def __init__(self, topology: Topology, settings: ResNetFCN) -> None:
        super().__init__()
        encoder, dims = settings.encoder, topology.dims
        self.encoder = encoder.build(topology.channels, dims)
        self.decoder = SumDecoder(encoder.widths[-settings.scored :], topology.classes, dims)
        self.step = 2 ** (6 - settings.scored)
        replace_layers(self)

    @override
    def forward(self, image: Tensor) -> Tensor:
        """Logits at full resolution."""
        return cropped(enlarged(self.decoder(self.encoder(image)), self.step), image)


class SumDecoder(nn.Module):
    """A 1x1 convolution of every feature map, added up from the deepest to the finest.

    Args:
        inputs: channels of the features that are scored, the finest first.
        outputs: channels of the sum.
        dims: number of spatial axes.
        bias: whether the convolutions have one; a norm after the sum would take it out again.
    """

    def __init__(self, inputs: Sequence[int], outputs: int, dims: int, *, bias: bool = True) -> None:
        super().__init__()
        self.scores = nn.ModuleList(convolution(dims)(width, outputs, 1, bias=bias) for width in inputs)

    @override
    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """(B, outputs, *space) on the finest scored grid; finer features than those are not read."""
        scores = [score(each) for score, each in zip(self.scores, features[-len(self.scores) :], strict=True)]
        total: Tensor = scores.pop()
        while scores:
            finer = scores.pop()
            total = finer + cropped(enlarged(total, 2), finer)
        return total


def enlarged(image: Tensor, factor: int) -> Tensor:
    """(B, K, *space), linearly interpolated to a multiple of its size."""
    mode = "trilinear" if image.ndim == 5 else "bilinear"
    return interpolate(image, scale_factor=float(factor), mode=mode, align_corners=False)
