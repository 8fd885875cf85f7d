"""The U-Net with residual levels."""

from dataclasses import dataclass
from functools import partial
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import nn
from typing_extensions import override

from edgewise.networks.base import Network, Topology
from edgewise.networks.encoder_decoder import EncoderDecoder, Level, Parts


@dataclass(frozen=True, kw_only=True)
class ResidualUNet(Network):
    """U-Net whose encoder and decoder levels are residual units.

    The default network. A unit adds its input, by a convolution where its size changes, to the output of its
    convolutions, and both are as in MONAI. `mnet`, the network of the LR-Net paper, has several residual blocks a
    level and pools between the levels.

    Attributes:
        encoder_convolutions: convolutions in a residual unit of the encoder.
        decoder_convolutions: convolutions in a residual unit of the decoder.
        supervised: decoder levels with a logit head (deep supervision); 1 supervises full resolution only.
        dropout: share of channels dropped after each convolution.
    """

    kind: Literal["residual_unet"] = "residual_unet"
    encoder_convolutions: Annotated[int, Field(ge=1)] = 2
    decoder_convolutions: Annotated[int, Field(ge=1)] = 1
    supervised: Annotated[int, Field(ge=1)] = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    source: ClassVar = "Kerfoot et al. 2019, doi:10.1007/978-3-030-12029-0_40; He et al. 2016, arXiv:1512.03385"

    @override
    def build(self, topology: Topology) -> nn.Module:
        from monai.networks.blocks.convolutions import ResidualUnit

        def unit(convolutions: int, level: Level) -> nn.Module:
            return ResidualUnit(
                topology.dims,
                level.inputs,
                level.outputs,
                strides=level.stride,
                kernel_size=level.kernel,
                subunits=convolutions,
                act=("leakyrelu", {"negative_slope": 0.01}),
                norm=("instance", {"affine": True}),
                dropout=self.dropout or None,
                dropout_dim=topology.dims,
                bias=False,
            )

        parts = Parts(encode=partial(unit, self.encoder_convolutions), decode=partial(unit, self.decoder_convolutions))
        return EncoderDecoder(topology, parts, supervised=self.supervised)
