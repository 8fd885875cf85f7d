"""L-Net, which locates objects: where their centres are, and how far their boxes reach from there."""

from dataclasses import dataclass
from math import log, prod
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import softplus
from typing_extensions import override

from edgewise.errors import ExperimentError
from edgewise.networks.encoder_decoder import convolution, same_padding
from edgewise.networks.layers import HALF, replace_layers
from edgewise.networks.resnet import Encoder
from edgewise.networks.resnet_fcn import SumDecoder
from edgewise.networks.resnet_unet import UDecoder, unit
from edgewise.networks.small_grids import norm_layer

PRIOR = 0.05
"""Heat everywhere before training; with 0.5 the many cells without an object would drown the loss (Lin et al. 2017)."""
SCALE = 32.0
"""Pixels (8 cells) that the box head counts in, so that its values are near 1; an untrained box is 44 pixels wide."""
GAIN = 0.1
"""Spread of what an untrained head adds to its bias."""


@dataclass(frozen=True, kw_only=True)
class LNet:
    """Settings of the localisation network: an image in, heat and box distances on a grid of stride 4 out.

    A ResNet halves the image five times, and a decoder doubles it three times. One head gives the logits of the heat,
    which is high near the centre of an object; the other the distances from a cell to the sides of the box around the
    object there. Its last kernel is large, as the sides of a box can be far from its centre. Every class of objects has
    its own heat and distances. By default, in 2D, for 3 image channels and one class, it has 14.43 million weights (the
    paper: 14.50).

    Attributes:
        encoder: depth, width, norm and weights of the ResNet.
        decoder: `unet` concatenates the encoder's features at each step up, four times as many channels at stride 16
            and twice as many at 8; `fcn` projects and adds them.
        features: channels at stride 4.
        kernel: of the last convolution of the box head, in cells; odd.

    Raises:
        ExperimentError: `kernel` is even.

    Source: Xie et al. 2021, arXiv:2102.05971, section 2.1; no code was published.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    encoder: Encoder = Encoder()
    decoder: Literal["unet", "fcn"] = "unet"
    features: Annotated[int, Field(ge=1)] = 64
    kernel: Annotated[int, Field(ge=1)] = 13

    def __post_init__(self) -> None:
        if self.kernel % 2 == 0:
            raise ExperimentError(f"kernel: {self.kernel} is even and has no middle. Choose an odd one, such as 13.")

    def build(self, channels: int, objects: int, dims: int) -> nn.Module:
        """A network with fresh weights: (B, K, *space) -> (heat, distances), for images of any size.

        The grid has ceil(side / 4) cells along each axis. Heat (B, O, *cells) holds logits. Distances
        (B, O, 2*dims, *cells) are at least 0, in pixels of the image, first those to the low sides of all axes, then
        those to the high sides.

        Args:
            channels: image channels K.
            objects: classes O of objects to locate.
            dims: number of spatial axes, 2 or 3.

        Raises:
            ExperimentError: encoder weights from a file for a 3D network.
            RunError: that file is missing or does not fit.
        """
        return _LNet(self, channels, objects, dims)


class _LNet(nn.Module):
    def __init__(self, settings: LNet, channels: int, objects: int, dims: int) -> None:
        super().__init__()
        encoder, width = settings.encoder, settings.features
        self.encoder = encoder.build(channels, dims)
        self.decoder: nn.Module = (
            UDecoder(encoder.widths[1:], (4 * width, 2 * width, width), dims, encoder.norm)
            if settings.decoder == "unet"
            else nn.Sequential(
                SumDecoder(encoder.widths[1:], width, dims, bias=False),
                norm_layer(encoder.norm, dims, width),
                nn.ReLU(),
            )
        )
        self.heat = nn.Sequential(
            *unit(width, width, dims, encoder.norm), _last(width, objects, 1, dims, log(PRIOR / (1 - PRIOR)))
        )
        self.box = nn.Sequential(
            *unit(width, width, dims, encoder.norm),
            *unit(width, width, dims, encoder.norm),
            _last(width, 2 * dims * objects, settings.kernel, dims, 0.0),
        )
        self.objects = objects
        replace_layers(self)

    @override
    def forward(self, image: Tensor) -> tuple[Tensor, Tensor]:
        features = self.decoder(self.encoder(image)[1:])
        heat, raw = self.heat(features), self.box(features)
        if raw.dtype in HALF:
            raw = raw.float()
        distances = SCALE * softplus(raw)
        return heat, distances.reshape(len(image), self.objects, -1, *heat.shape[2:])


def _last(inputs: int, outputs: int, kernel: int, dims: int, start: float) -> nn.Module:
    """The last convolution of a head, whose values are near `start` before training, however large its kernel."""
    size = (kernel,) * dims
    conv = convolution(dims)(inputs, outputs, size, padding=same_padding(size))
    nn.init.normal_(conv.weight, std=GAIN / (inputs * prod(size)) ** 0.5)
    nn.init.constant_(conv.bias, start)
    module: nn.Module = conv
    return module
