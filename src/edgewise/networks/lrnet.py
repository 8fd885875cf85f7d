"""LR-Net, the small network that turns class probabilities into distance maps."""

from copy import deepcopy
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias, cast

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval
from typing_extensions import override

from edgewise.networks.encoder_decoder import Level, convolution
from edgewise.networks.mnet import residual_blocks, up

Activation: TypeAlias = Literal["relu", "sigmoid", "tanh"]
RANGES: dict[Activation, tuple[float, float]] = {
    "relu": (0.0, float("inf")),
    "sigmoid": (0.0, 1.0),
    "tanh": (-1.0, 1.0),
}
"""What each output activation can express."""
MOMENTUM = 0.02
"""Of the batch statistics: few slices make a batch, and with torch's 0.1 the background moved with the last ten."""


@dataclass(frozen=True, kw_only=True)
class LRNet:
    """Settings of the regression network: probabilities in, one map a foreground class out.

    For two classes and three axes it has 15.8 thousand weights (the paper: 15.7).

    The paper names no normalisation. This is batch normalisation, whose statistics are fixed once the network is
    trained: the map of a mask must not depend on what else the patch holds. Instance normalisation ties the value of
    the background to the share of the foreground in the patch, and the background then leaks above 0.

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
            _norm(dims, fine),
            nn.ReLU(inplace=True),
            conv(fine, fine, 3, padding=1, bias=False),
            _norm(dims, fine),
            nn.ReLU(inplace=True),
        )
        self.down = conv(fine, coarse, 3, stride=2, padding=1)
        self.deep = residual_blocks(deep, settings.blocks, _norm)
        self.up = up(replace(deep, outputs=fine), _norm)
        self.merge = residual_blocks(replace(deep, inputs=2 * fine, outputs=2 * fine), settings.blocks, _norm)
        self.hidden = nn.Sequential(conv(2 * fine, fine, 1, bias=False), _norm(dims, fine), nn.ReLU(inplace=True))
        self.out = conv(fine, classes - 1, 1)

    @override
    def forward(self, probabilities: Tensor) -> Tensor:
        fine = self.first(probabilities)
        back = self.up(self.deep(self.down(fine)))
        back = back[(..., *(slice(size) for size in fine.shape[2:]))]  # an odd side is rounded up on the way down
        values: Tensor = self.out(self.hidden(self.merge(torch.cat((back, fine), dim=1))))
        if self.activation == "relu" and self.training:
            return cast(Tensor, _Rectifier.apply(values))  # type: ignore[no-untyped-call]
        return {"relu": torch.relu, "sigmoid": torch.sigmoid, "tanh": torch.tanh}[self.activation](values)


class _Rectifier(torch.autograd.Function):
    """ReLU whose gradient also passes where the output is 0 but should be more.

    The gradient of ReLU is 0 there, and a small class, which most patches do not hold, ends with an output that is 0
    everywhere and never learns.
    """

    @staticmethod
    @override
    def forward(ctx: Any, values: Tensor) -> Tensor:
        ctx.save_for_backward(values > 0)
        return values.relu()

    @staticmethod
    @override
    def backward(ctx: Any, gradient: Tensor) -> Tensor:
        (above,) = ctx.saved_tensors
        passed: Tensor = gradient * (above | (gradient < 0))
        return passed


def frozen(network: nn.Module) -> nn.Module:
    """A copy that computes the same with fixed weights: every normalisation is folded into its convolution.

    It takes no gradients of weights; its state does not fit the original.
    """
    copy = deepcopy(network).eval().requires_grad_(requires_grad=False)
    for module in list(copy.modules()):
        if not isinstance(module, nn.Sequential):
            continue
        for index in range(len(module) - 1):
            first, second = module[index], module[index + 1]
            if isinstance(second, nn.BatchNorm2d | nn.BatchNorm3d):
                turned = isinstance(first, nn.ConvTranspose2d | nn.ConvTranspose3d)
                module[index] = fuse_conv_bn_eval(first, second, transpose=turned)  # type: ignore[type-var]
                module[index + 1] = nn.Identity()
    return copy.requires_grad_(requires_grad=False)


def _norm(dims: int, channels: int) -> nn.Module:
    return (nn.BatchNorm3d if dims == 3 else nn.BatchNorm2d)(channels, momentum=MOMENTUM)
