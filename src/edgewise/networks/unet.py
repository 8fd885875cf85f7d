"""The plain U-Net."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal, TypeAlias

from pydantic import Field
from torch import nn
from typing_extensions import override

from edgewise.networks.base import Network, Topology
from edgewise.networks.encoder_decoder import EncoderDecoder, Level, Parts, Stage

Norm: TypeAlias = Literal["instance", "batch"]


@dataclass(frozen=True, kw_only=True)
class UNet(Network):
    """Plain U-Net: two convolution - norm - leaky ReLU units a level, concatenated skips.

    Attributes:
        convolutions: convolutions a level.
        supervised: decoder levels with a logit head (deep supervision); 1 supervises full resolution only.
        dropout: share of channels dropped after each convolution.
        norm: instance normalisation, or batch normalisation as in Isensee et al. 2017 (arXiv:1707.00587).
    """

    kind: Literal["unet"] = "unet"
    convolutions: Annotated[int, Field(ge=1)] = 2
    supervised: Annotated[int, Field(ge=1)] = 3
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    norm: Norm = "instance"
    source: ClassVar = "Ronneberger et al. 2015, arXiv:1505.04597; Isensee et al. 2021, doi:10.1038/s41592-020-01008-z"

    @override
    def build(self, topology: Topology) -> nn.Module:
        stage = convolutions(self.convolutions, self.dropout, self.norm)
        return EncoderDecoder(topology, Parts(encode=stage, decode=stage), supervised=self.supervised)


def convolutions(count: int, dropout: float, norm: Norm = "instance") -> Stage:
    """Levels of `count` convolution - norm - leaky ReLU units."""
    from monai.networks.blocks.convolutions import Convolution

    def stage(level: Level) -> nn.Module:
        return nn.Sequential(
            *(
                Convolution(
                    level.dims,
                    level.inputs if n == 0 else level.outputs,
                    level.outputs,
                    strides=level.stride if n == 0 else 1,
                    kernel_size=level.kernel,
                    adn_ordering="NDA",
                    act=("leakyrelu", {"negative_slope": 0.01}),
                    norm=(norm, {"affine": True}),
                    dropout=dropout or None,
                    dropout_dim=level.dims,
                    bias=False,
                )
                for n in range(count)
            )
        )

    return stage
