"""The fully convolutional network."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from edgewise.networks.base import Network, Topology
from edgewise.networks.encoder_decoder import Level, convolution, up_convolution
from edgewise.networks.layers import replace_layers
from edgewise.networks.unet import convolutions


@dataclass(frozen=True, kw_only=True)
class FCN(Network):
    """Encoder whose coarse scores are up-sampled and added to finer ones, as FCN-8s does.

    The scores of the deepest levels are added on the grid of the finest of them and brought to full resolution by one
    transposed convolution, so that no detail finer than that grid is drawn. MONAI's FCN is another network (global
    convolutions on a ResNet-50 of torchvision, 2D only).

    Attributes:
        convolutions: convolutions a level.
        scored: how many levels score, the deepest first; 3 is FCN-8s, 2 FCN-16s, 1 FCN-32s of a five-level encoder.
        dropout: share of channels dropped after each convolution.
    """

    kind: Literal["fcn"] = "fcn"
    convolutions: Annotated[int, Field(ge=1)] = 2
    scored: Annotated[int, Field(ge=1)] = 3
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    source: ClassVar = "Long et al. 2015, doi:10.1109/CVPR.2015.7298965"

    @override
    def build(self, topology: Topology) -> nn.Module:
        return _FCN(topology, self)


class _FCN(nn.Module):
    def __init__(self, topology: Topology, settings: FCN) -> None:
        super().__init__()
        stage = convolutions(settings.convolutions, settings.dropout)
        inputs = (topology.channels, *topology.widths)
        self.down = nn.ModuleList(
            stage(Level(index=n, inputs=inputs[n], outputs=inputs[n + 1], kernel=k, stride=s))
            for n, (k, s) in enumerate(zip(topology.kernels, topology.strides, strict=True))
        )
        first = max(len(topology.widths) - settings.scored, 0)
        point, up = convolution(topology.dims), up_convolution(topology.dims)
        self.scores = nn.ModuleList(point(width, topology.classes, 1) for width in topology.widths[first:])
        self.up = nn.ModuleList(
            up(topology.classes, topology.classes, stride, stride) for stride in topology.strides[first + 1 :]
        )
        rest = [1] * topology.dims
        for stride in topology.strides[: first + 1]:
            rest = [r * s for r, s in zip(rest, stride, strict=True)]
        self.full = up(topology.classes, topology.classes, tuple(rest), tuple(rest)) if max(rest) > 1 else nn.Identity()
        replace_layers(self)

    @override
    def forward(self, image: Tensor) -> Tensor:
        """Logits at full resolution."""
        features, x = [], image
        for stage in self.down:
            x = stage(x)
            features.append(x)
        scores = [score(feature) for score, feature in zip(self.scores, features[-len(self.scores) :], strict=True)]
        total = scores.pop()
        for up in reversed(self.up):
            total = scores.pop() + up(total)
        out: Tensor = self.full(total)
        return out
