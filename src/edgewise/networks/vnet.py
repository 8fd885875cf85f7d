"""The V-Net."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from edgewise.networks.base import Network, Topology
from edgewise.networks.encoder_decoder import EncoderDecoder, Level, Parts, convolution, same_padding, transposed


@dataclass(frozen=True, kw_only=True)
class VNet(Network):
    """V-Net: residual stages of large convolutions, strided convolutions between them, PReLU.

    A stage adds what enters it to the output of its convolutions; the image, which has fewer channels than the first
    stage, is repeated for that. Decoder stages work on the concatenation of the up-sampled and the skipped features
    and keep its width. Where the plan's kernel is 3 along an axis the V-Net's is `kernel`, where it is 1 (thick slices)
    it stays 1. With the paper's widths (16, 32, 64, 128, 256) and `norm: none` it is the paper's network, but for the
    last, pointwise convolution, which has as many classes as the data.

    MONAI's VNet computes the same in each stage, but for one more activation before the sum. It cannot follow a plan:
    its widths, strides and kernels are fixed, the channels of the image must divide 16, batch normalisation and dropout
    of the skips are always on, and its stages have fewer convolutions (1, 1, 2, 3, 2 down and 2, 2, 1, 1 up).

    Attributes:
        kernel: size of the convolutions.
        convolutions: convolutions of the stages, the finest first; deeper stages repeat the last number.
        norm: normalisation after each convolution; the paper had none, later implementations use batch or instance
            normalisation, of which only the second serves batches of one or two volumes.
    """

    kind: Literal["vnet"] = "vnet"
    kernel: Literal[3, 5, 7] = 5
    convolutions: Annotated[tuple[Annotated[int, Field(ge=1)], ...], Field(min_length=1)] = (1, 2, 3)
    norm: Literal["instance", "batch", "none"] = "instance"
    source: ClassVar = "Milletari et al. 2016, doi:10.1109/3DV.2016.79"

    @override
    def build(self, topology: Topology) -> nn.Module:
        def stage(level: Level) -> nn.Module:
            count = self.convolutions[min(level.index, len(self.convolutions) - 1)]
            return _Stage(level, tuple(self.kernel if k > 1 else 1 for k in level.kernel), count, self.norm)

        def up(level: Level) -> nn.Module:
            return nn.Sequential(
                transposed(level, bias=self.norm == "none"),
                _norm(self.norm, level.dims, level.outputs),
                nn.PReLU(level.outputs),
            )

        return EncoderDecoder(topology, Parts(encode=stage, decode=stage, up=up, spread=2))


class _Stage(nn.Module):
    """A step to the level's grid and width where that takes one, then convolutions beside what enters them."""

    def __init__(self, level: Level, kernel: tuple[int, ...], count: int, norm: str) -> None:
        super().__init__()
        dims, channels = level.dims, level.outputs
        conv = partial(convolution(dims), bias=norm == "none")
        self.enter: nn.Module = nn.Identity()
        entering = level.inputs
        if max(level.stride) > 1 or level.inputs > channels:
            step = conv(level.inputs, channels, level.stride, stride=level.stride)
            self.enter = nn.Sequential(step, _norm(norm, dims, channels), nn.PReLU(channels))
            entering = channels
        layers: list[nn.Module] = []
        for inputs in (entering, *[channels] * (count - 1)):
            large = conv(inputs, channels, kernel, padding=same_padding(kernel))
            layers += [large, _norm(norm, dims, channels), nn.PReLU(channels)]
        self.body = nn.Sequential(*layers[:-1])
        self.activation = nn.PReLU(channels)

    @override
    def forward(self, x: Tensor) -> Tensor:
        entered = self.enter(x)
        convolved = self.body(entered)
        out: Tensor = self.activation(convolved + _repeated(entered, convolved.shape[1]))
        return out


def _repeated(x: Tensor, channels: int) -> Tensor:
    """`x` (B, K, *space) with its channels repeated in turn until there are `channels`."""
    times = -(-channels // x.shape[1])
    return x if times == 1 else x.repeat(1, times, *(1,) * (x.ndim - 2))[:, :channels]


def _norm(name: str, dims: int, channels: int) -> nn.Module:
    if name == "none":
        return nn.Identity()
    if name == "batch":
        return (nn.BatchNorm3d if dims == 3 else nn.BatchNorm2d)(channels)
    return (nn.InstanceNorm3d if dims == 3 else nn.InstanceNorm2d)(channels, affine=True)
