"""LR-Net, the small network that turns class probabilities into distance maps."""

from dataclasses import dataclass, replace
from typing import Literal, TypeAlias

import torch
from torch import Tensor, nn
from typing_extensions import override

from edgewise.networks.encoder_decoder import Level, convolution
from edgewise.networks.mnet import plain_norm, residual_blocks, up

Activation: TypeAlias = Literal["relu", "sigmoid", "tanh"]
RANGES: dict[Activation, tuple[float, float]] = {
    "relu": (0.0, float("inf")),
    "sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
}
"""What each output activation can express."""


@dataclass(frozen=True, kw_only=True)
class LRNet:
    """Settings of the regression network: probabilities in, one map a foreground class out.

    For two classes and three axes it has 15.6 thousand weights.

    Attributes:
        widths: feature channels of the fine and of the coarse level.
        blocks: residual blocks of either level.

    Source: Li et al. 2020, doi:10.1007/978-3-030-59861-7_24; arXiv:2501.09116.
    """

    widths: tuple[int, int] = (4, 8)
    blocks: int = 2

    def build(self, classes: int, dims: int, activation: Activation) -> nn.Module:
        """A network with fresh weights.

        Args:
            classes: input channels, background included; the output has one channel fewer.
            dims: number of spatial axes, 2 or 3.
            activation: of the output: what the map can express (see `RANGES`).
        """
        return _Regression(self, classes, dims, activation)


class _Regression(nn.Module):
    """(B, C, *space) probabilities -> (B, C - 1, *space) maps; sides may be odd."""

    def __init__(self, settings: LRNet, classes: int, dims: int, activation: Activation) -> None:
        super().__init__()
        fine, coarse = settings.widths
        conv = convolution(dims)
        deep = Level(index=1, inputs=coarse, outputs=coarse, kernel=(3,) * dims, stride=(2,) * dims)
        self.activation = activation
        self.first = nn.Sequential(
            conv(classes, fine, 3, padding=1, bias=False),
            plain_norm(dims, fine),
            nn.ReLU(inplace=True),
            conv(fine, fine, 3, padding=1, bias=False),
            plain_norm(dims, fine),
            nn.ReLU(inplace=True),
        )
        self.down = conv(fine, coarse, 3, stride=2, padding=1)
        self.deep = residual_blocks(deep, settings.blocks)
        self.up = up(replace(deep, outputs=fine))
        self.merge = residual_blocks(replace(deep, inputs=2 * fine, outputs=2 * fine), settings.blocks)
        self.hidden = nn.Sequential(conv(2 * fine, fine, 1, bias=False), plain_norm(dims, fine), nn.ReLU(inplace=True))
        self.out = conv(fine, classes - 1, 1)

    @override
    def forward(self, probabilities: Tensor) -> Tensor:
        fine = self.first(probabilities)
        back = self.up(self.deep(self.down(fine)))
        back = back[(..., *(slice(size) for size in fine.shape[2:]))]  # an odd side is rounded up on the way down
        values: Tensor = self.out(self.hidden(self.merge(torch.cat((back, fine), dim=1))))
        return {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}[self.activation](values)
