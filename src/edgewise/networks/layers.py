"""Layers that compute what torch's do, where a CPU is wrong or slow with torch's own."""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional
from typing_extensions import override

HALF = (torch.bfloat16, torch.float16)


def replace_layers(network: nn.Module) -> None:
    """Put the layers below in the place of torch's, wherever they are; weights and names stay."""
    for parent in list(network.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, nn.Conv3d) and max(child.kernel_size) > 1:
                setattr(parent, name, Convolution3d(child))
            elif isinstance(child, nn.Conv2d) and max(child.kernel_size) == 1 < max(child.stride):
                setattr(parent, name, PointConvolution2d(child))
            elif isinstance(child, nn.InstanceNorm2d | nn.InstanceNorm3d):
                setattr(parent, name, InstanceNorm(child))


@final
class Convolution3d(nn.Module):
    """Torch's 3D convolution, in float32 where a CPU cannot be trusted with less.

    In bfloat16 on a CPU (torch 2.13.0, oneDNN, AVX512_BF16) the gradient of the weights is wrong where the grid is
    smaller than the kernel: 2 slices under a 3x3x3 kernel, 2 to 4 under a 5x5x5 one. It is computed from memory that
    nobody wrote, and written out of bounds: training follows noise, turns NaN, or crashes. On one slice the output can
    be NaN; where the last axis is left with one voxel it can be wrong (pytorch/pytorch#169688). Such grids are the
    deepest, so float32 costs little: within noise the same as padding them explicitly, which helps, too. In float32,
    for transposed and dilated convolutions, and in 2D nothing wrong was found, but under strides: see
    `PointConvolution2d` and `small_grids.StridedConvolution2d`.

    Args:
        convolution: whose weights and settings it takes over; its padding is a number of voxels.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, convolution: nn.Conv3d) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(convolution.weight), None
        if convolution.bias is not None:
            self.bias = nn.Parameter(convolution.bias)
        assert not isinstance(convolution.padding, str)
        self.kernel_size, self.stride = convolution.kernel_size, convolution.stride
        self.padding, self.dilation, self.groups = convolution.padding, convolution.dilation, convolution.groups

    @override
    def forward(self, image: Tensor) -> Tensor:
        """What `nn.Conv3d` gives for `image` (B, K, *space), in the same precision."""
        settings = (self.stride, self.padding, self.dilation, self.groups)
        if image.device.type != "cpu" or _precision(image) not in HALF or not self._exceeds(image):
            return functional.conv3d(image, self.weight, self.bias, *settings)
        wide = None if self.bias is None else self.bias.float()
        with torch.autocast("cpu", enabled=False):
            exact = functional.conv3d(image.float(), self.weight.float(), wide, *settings)
        return exact.to(_precision(image))

    @override
    def extra_repr(self) -> str:
        outputs, inputs = self.weight.shape[0], self.weight.shape[1] * self.groups
        return f"{inputs}, {outputs}, kernel_size={self.kernel_size}, stride={self.stride}, dilation={self.dilation}"

    def _exceeds(self, image: Tensor) -> bool:
        return any(side < kernel for side, kernel in zip(image.shape[2:], self.kernel_size, strict=True))


@final
class PointConvolution2d(nn.Module):
    """Torch's 2D convolution of single pixels with a stride, as one without a stride of those pixels alone.

    In float32 on a CPU (torch 2.13.0, oneDNN, AVX2) the gradient of the weights under a stride is written out of bounds
    where two to seven channels come in and the channels of a pixel lie together: the process crashes. In 3D, and with
    larger kernels, nothing wrong was found.

    Args:
        convolution: whose weights and settings it takes over: no groups and no padding.
    """

    weight: nn.Parameter
    bias: nn.Parameter | None

    def __init__(self, convolution: nn.Conv2d) -> None:
        super().__init__()
        assert convolution.groups == 1
        assert convolution.padding == (0, 0)
        self.weight, self.bias = nn.Parameter(convolution.weight), None
        if convolution.bias is not None:
            self.bias = nn.Parameter(convolution.bias)
        self.stride = convolution.stride

    @override
    def forward(self, image: Tensor) -> Tensor:
        """(B, K, *space) -> (B, L, *cells) with ceil(side / stride) cells."""
        rows, columns = self.stride
        return functional.conv2d(image[:, :, ::rows, ::columns], self.weight, self.bias)

    @override
    def extra_repr(self) -> str:
        outputs, inputs, *_ = self.weight.shape
        return f"{inputs}, {outputs}, stride={self.stride}"


@final
class InstanceNorm(nn.Module):
    """Torch's instance normalisation, image by image on a CPU.

    Torch normalises all images at once, for which it brings each channel's voxels together and back. A CPU works best
    with the channels of a voxel together, and then pays two copies; one image needs none. Measured on whole training
    steps (bfloat16, channels last, one thread): M-Net 12 to 16 % faster, the residual U-Net 25 %; float32 2 to 7 %;
    with contiguous channels nothing lost.

    Args:
        norm: whose weights and settings it takes over; it must not track statistics.
    """

    weight: nn.Parameter | None
    bias: nn.Parameter | None

    def __init__(self, norm: nn.InstanceNorm2d | nn.InstanceNorm3d) -> None:
        super().__init__()
        assert not norm.track_running_stats
        self.register_parameter("weight", norm.weight)
        self.register_parameter("bias", norm.bias)
        self.channels, self.eps = norm.num_features, norm.eps

    @override
    def forward(self, image: Tensor) -> Tensor:
        """`image` (B, K, *space) with mean 0 and variance 1 in each channel of each image, then scaled and shifted."""
        weight, bias, eps = self.weight, self.bias, self.eps
        if image.device.type != "cpu" or torch.compiler.is_compiling():
            # An exported graph must not depend on the number of images.
            return functional.instance_norm(image, weight=weight, bias=bias, eps=eps)
        images = torch.split(image, 1)
        each = [functional.batch_norm(one, None, None, weight, bias, training=True, eps=eps) for one in images]
        return each[0] if len(each) == 1 else torch.cat(each)

    @override
    def extra_repr(self) -> str:
        return f"{self.channels}, eps={self.eps}, affine={self.weight is not None}"


def _precision(image: Tensor) -> torch.dtype:
    """In which a CPU convolves `image`."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else image.dtype
