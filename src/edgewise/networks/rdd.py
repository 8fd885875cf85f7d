"""RDD, the network with residual long skips and a densely connected dilated block."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from edgewise.networks.base import Network, Topology
from edgewise.networks.encoder_decoder import EncoderDecoder, Level, Parts, convolution, instance_norm, same_padding


@dataclass(frozen=True, kw_only=True)
class RDD(Network):
    """Residual encoder and decoder whose skips are added, with dense dilated convolutions and pooling at the bottom.

    Strided convolutions go down, transposed ones up. At the bottom, convolutions of growing dilation each see the
    deepest features and the outputs of all convolutions before them; these and the mean over the image are concatenated
    and brought back to the width of the level by a 1x1 convolution. The paper's text gives neither widths nor
    rates nor counts: the defaults are ours.

    Attributes:
        blocks: residual blocks a level.
        rates: dilations of the bottom block; each convolution sees the outputs of all before it.
        growth: channels of each dilated convolution, as a share of the deepest level's.
    """

    kind: Literal["rdd"] = "rdd"
    blocks: Annotated[int, Field(ge=1)] = 2
    rates: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (1, 2, 4, 8)
    growth: Annotated[float, Field(gt=0)] = 0.5
    source: ClassVar = (
        "Liu and Fu 2018, Dice Loss Function for image Segmentation Using Dense Dilation Spatial Pooling Network; "
        "by the same authors: Liu et al. 2018, arXiv:1801.10517"
    )

    @override
    def build(self, topology: Topology) -> nn.Module:
        def stage(level: Level) -> nn.Module:
            steps = [(level.inputs, level.stride)] + [(level.outputs, (1,) * level.dims)] * (self.blocks - 1)
            return nn.Sequential(*(_Residual(i, level.outputs, level.kernel, stride) for i, stride in steps))

        def bottom(level: Level) -> nn.Module:
            return _DenseDilated(level, self.rates, max(1, round(self.growth * level.outputs)))

        return EncoderDecoder(topology, Parts(encode=stage, decode=stage, bottom=bottom, join="add"))


class _Residual(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: tuple[int, ...], stride: tuple[int, ...]) -> None:
        super().__init__()
        dims, padding = len(kernel), same_padding(kernel)
        conv = convolution(dims)
        self.body = nn.Sequential(
            conv(inputs, outputs, kernel, stride=stride, padding=padding, bias=False),
            instance_norm(dims, outputs),
            nn.ReLU(inplace=True),
            conv(outputs, outputs, kernel, padding=padding, bias=False),
            instance_norm(dims, outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if inputs != outputs or max(stride) > 1:
            self.shortcut = nn.Sequential(
                conv(inputs, outputs, 1, stride=stride, bias=False), instance_norm(dims, outputs)
            )

    @override
    def forward(self, x: Tensor) -> Tensor:
        return torch.relu(self.body(x) + self.shortcut(x))


class _DenseDilated(nn.Module):
    """Dilated convolutions that see each other's outputs, beside the mean of the image; all joined by a 1x1."""

    def __init__(self, level: Level, rates: tuple[int, ...], growth: int) -> None:
        super().__init__()
        conv, channels = convolution(level.dims), level.outputs
        self.layers = nn.ModuleList()
        for n, rate in enumerate(rates):
            padding = tuple(rate * (k // 2) for k in level.kernel)
            self.layers.append(
                nn.Sequential(
                    conv(channels + n * growth, growth, level.kernel, padding=padding, dilation=rate, bias=False),
                    instance_norm(level.dims, growth),
                    nn.ReLU(inplace=True),
                )
            )
        self.pooled = nn.Sequential(conv(channels, growth, 1), nn.ReLU(inplace=True))
        joined = channels + (len(rates) + 1) * growth
        # No normalisation here: it would take out again what is the same all over an image, as its mean is.
        self.join = nn.Sequential(conv(joined, channels, 1), nn.ReLU(inplace=True))

    @override
    def forward(self, x: Tensor) -> Tensor:
        seen = [x]
        for layer in self.layers:
            seen.append(layer(torch.cat(seen, dim=1)))
        axes = tuple(range(2, x.ndim))
        mean = self.pooled(x.mean(dim=axes, keepdim=True)).expand(-1, -1, *x.shape[2:])
        out: Tensor = self.join(torch.cat((*seen, mean), dim=1))
        return out
