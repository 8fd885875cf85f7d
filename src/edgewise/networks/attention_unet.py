"""The Attention U-Net."""

from dataclasses import dataclass
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from edgewise.networks.base import Network, Topology
from edgewise.networks.encoder_decoder import EncoderDecoder, Parts
from edgewise.networks.unet import convolutions


@dataclass(frozen=True, kw_only=True)
class AttentionUNet(Network):
    """U-Net whose skips pass additive attention gates, opened by the coarser features.

    The gates are MONAI's, and so is where they stand: after the step up, on every skip. MONAI's network itself is
    another: batch normalisation and one convolution a decoder level. In training the gates, too, normalise over the
    batch: in that, in ResNets, in a V-Net or U-Net asked to, and in no other network, the images of a batch touch each
    other.

    Attributes:
        convolutions: convolutions a level.
        supervised: decoder levels with a logit head (deep supervision); 1 supervises full resolution only.
        dropout: share of channels dropped after each convolution.
    """

    kind: Literal["attention_unet"] = "attention_unet"
    convolutions: Annotated[int, Field(ge=1)] = 2
    supervised: Annotated[int, Field(ge=1)] = 1
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    source: ClassVar = "Oktay et al. 2018, arXiv:1804.03999"

    @override
    def build(self, topology: Topology) -> nn.Module:
        stage = convolutions(self.convolutions, self.dropout)
        parts = Parts(encode=stage, decode=stage, skip=lambda level: _Gate(level.dims, level.outputs))
        return EncoderDecoder(topology, parts, supervised=self.supervised)


class _Gate(nn.Module):
    """Scales the skipped features by what the up-sampled ones ask for, between 0 and 1 at every voxel."""

    def __init__(self, dims: int, channels: int) -> None:
        super().__init__()
        from monai.networks.nets.attentionunet import AttentionBlock

        self.block = AttentionBlock(dims, f_int=max(channels // 2, 1), f_g=channels, f_l=channels)

    @override
    def forward(self, upsampled: Tensor, skipped: Tensor) -> Tensor:
        gated: Tensor = self.block(g=upsampled, x=skipped)
        return gated
