"""The V-Net."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from torch import Tensor, nn
from typing_extensions import override

from edgewise.networks.base import Network, Topology
from edgewise.networks.encoder_decoder import EncoderDecoder, Level, Parts, convolution, same_padding, transposed


@dataclass(frozen=True, kw_only=True)
class VNet(Network):
    """V-Net: residual stages of large convolutions, strided convolutions between them, PReLU.

    A stage adds its input to the output of its convolutions. Decoder stages work on the concatenation of the
    up-sampled and the skipped features and keep its width. Where the plan's kernel is 3 along an axis the V-Net's is
    `kernel`, where it is 1 (thick slices) it stays 1.

    Attributes:
        kernel: size of the convolutions.
        convolutions: convolutions of the stages, the finest first; deeper stages repeat the last number.
        norm: normalisation after each convolution; the paper had none, later implementations use batch or instance
            normalisation, of which only the second serves batches of one or two volumes.
    """

    kind: Literal["vnet"] = "vnet"
    kernel: int = 5
    convolutions: tuple[int, ...] = (1, 2, 3)
    norm: Literal["instance", "batch", "none"] = "instance"
    source: ClassVar = "Milletari et al. 2016, doi:10.1109/3DV.2016.79"

    @override
    def build(self, topology: Topology) -> nn.Module:
        def stage(level: Level) -> nn.Module:
            count = self.convolutions[min(level.index, len(self.convolutions) - 1)]
            return _Stage(level, tuple(self.kernel if k > 1 else 1 for k in level.kernel), count, self.norm)

        def up(level: Level) -> nn.Module:
            return nn.Sequential(
                transposed(level), _norm(self.norm, level.dims, level.outputs), nn.PReLU(level.outputs)
            )

        return EncoderDecoder(topology, Parts(encode=stage, decode=stage, up=up, spread=2))


class _Stage(nn.Module):
    """A step down where the level has a stride, a change of channels where it has none, then residual convolutions."""

    def __init__(self, level: Level, kernel: tuple[int, ...], count: int, norm: str) -> None:
        super().__init__()
        dims, channels = level.dims, level.outputs
        conv = partial(convolution(dims), bias=norm == "none")
        point = (1,) * dims
        entry = level.stride if max(level.stride) > 1 else point
        self.enter: nn.Module = nn.Identity()
        if entry != point or level.inputs != channels:
            first = conv(level.inputs, channels, entry, stride=entry)
            self.enter = nn.Sequential(first, _norm(norm, dims, channels), nn.PReLU(channels))
        layers: list[nn.Module] = []
        for _ in range(count):
            large = conv(channels, channels, kernel, padding=same_padding(kernel))
            layers += [large, _norm(norm, dims, channels), nn.PReLU(channels)]
        self.body = nn.Sequential(*layers[:-1])
        self.activation = nn.PReLU(channels)

    @override
    def forward(self, x: Tensor) -> Tensor:
        entered = self.enter(x)
        out: Tensor = self.activation(self.body(entered) + entered)
        return out


def _norm(name: str, dims: int, channels: int) -> nn.Module:
    if name == "none":
        return nn.Identity()
    if name == "batch":
        return (nn.BatchNorm3d if dims == 3 else nn.BatchNorm2d)(channels)
    return (nn.InstanceNorm3d if dims == 3 else nn.InstanceNorm2d)(channels, affine=True)
