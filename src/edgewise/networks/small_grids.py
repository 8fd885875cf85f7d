"""Layers that hold on any grid: deep in a ResNet, a small image leaves a single voxel."""

from math import prod
from typing import Literal, TypeAlias, cast, final

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

from edgewise.networks.encoder_decoder import instance_norm, same_padding

Norm: TypeAlias = Literal["batch", "instance"]
"""Over all images of a batch, with the statistics of the training in evaluation; or over each image by itself."""
MOMENTUM = 0.1
EPS = 1e-5


def norm_layer(kind: Norm, dims: int, channels: int) -> nn.Module:
    """A normalisation with a learnt scale and shift."""
    return BatchNorm(channels) if kind == "batch" else ImageNorm(dims, channels)


def hold_on_small_grids(network: nn.Module, norm: Norm, dims: int) -> None:
    """Put the layers below in the place of torch's batch norms and strided convolutions; the names of weights stay.

    Convolutions of single pixels are left to `layers.PointConvolution2d`.
    """
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.BatchNorm2d | nn.BatchNorm3d):
                setattr(parent, name, norm_layer(norm, dims, child.num_features))
            elif isinstance(child, nn.Conv2d) and max(child.stride) > 1 and max(child.kernel_size) > 1:
                setattr(parent, name, StridedConvolution2d(child))


@final
class StridedConvolution2d(nn.Module):
    """Torch's 2D convolution, without its stride along an axis of one voxel, where it changes nothing.

    In bfloat16 on a CPU (torch 2.13.0, oneDNN, AVX512_BF16) the gradient of the weights is wrong under a stride where
    the last axis has one voxel: computed from memory that nobody wrote, up to NaN. Without the stride it is right.

    Args:
        convolution: whose weights and settings it takes over: no bias, groups or dilation, padding by half the kernel.
    """

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        kernel = convolution.kernel_size
        assert convolution.bias is None
        assert convolution.padding == same_padding(kernel)
        self.weight = nn.Parameter(convolution.weight)
        self.stride, self.padding = convolution.stride, same_padding(kernel)

    @override
    def forward(self, image: Tensor) -> Tensor:
        """(B, K, *space) -> (B, L, *cells) with ceil(side / stride) cells."""
        stride = [1 if side == 1 else step for side, step in zip(image.shape[2:], self.stride, strict=True)]
        return functional.conv2d(image, self.weight, None, stride, self.padding)

    @override
    def extra_repr(self) -> str:
        outputs, inputs, *kernel = self.weight.shape
        return f"{inputs}, {outputs}, kernel_size={tuple(kernel)}, stride={self.stride}"


@final
class BatchNorm(nn.Module):
    """Torch's batch normalisation, with the running statistics also in training where a channel has one value.

    There torch raises an error: one image with one voxel left. The names in its state are torch's.
    """

    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.ones(channels)), nn.Parameter(torch.zeros(channels))
        self.register_buffer("running_mean", torch.zeros(channels))
        self.register_buffer("running_var", torch.ones(channels))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long))

    @override
    def forward(self, image: Tensor) -> Tensor:
        """`image` (B, K, *space), normalised over the batch and space."""
        own = self.training and image.numel() > image.shape[1]
        if own:
            self.num_batches_tracked.add_(1)
        return functional.batch_norm(
            image, self.running_mean, self.running_var, self.weight, self.bias, own, MOMENTUM, EPS
        )

    @override
    def extra_repr(self) -> str:
        return f"{len(self.weight)}"


@final
class ImageNorm(nn.Module):
    """Instance normalisation, and where an image has one voxel left, over the channels of that voxel.

    Over space it would be 0 there, whatever came in, and nothing before it could learn.
    """

    def __init__(self, dims: int, channels: int) -> None:
        super().__init__()
        self.norm = instance_norm(dims, channels)

    @override
    def forward(self, image: Tensor) -> Tensor:
        """`image` (B, K, *space), each image normalised by itself."""
        if prod(image.shape[2:]) > 1:
            return cast(Tensor, self.norm(image))
        weight, bias = (cast(Tensor, each) for each in (self.norm.weight, self.norm.bias))
        return functional.group_norm(image, 1, weight, bias, EPS)
