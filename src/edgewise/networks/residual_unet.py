"""The U-Net with residual levels."""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar, Literal

from torch import nn
from typing_extensions import override

from edgewise.networks.base import Network, Topology
from edgewise.networks.encoder_decoder import EncoderDecoder, Level, Parts


@dataclass(frozen=True, kw_only=True)
class ResidualUNet(Network):
    """U-Net whose encoder and decoder levels are residual units.

    Attributes:
        encoder_convolutions: convolutions in a residual unit of the encoder.
        decoder_convolutions: convolutions in a residual unit of the decoder.
        supervised: decoder levels with a logit head (deep supervision); 1 supervises full resolution only.
        dropout: share of channels dropped after each convolution.
    """

    kind: Literal["residual_unet"] = "residual_unet"
    encoder_convolutions: int = 2
    decoder_convolutions: int = 1
    supervised: int = 1
    dropout: float = 0.0
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
                bias=False,
            )

        parts = Parts(encode=partial(unit, self.encoder_convolutions), decode=partial(unit, self.decoder_convolutions))
        return EncoderDecoder(topology, parts, supervised=self.supervised)
