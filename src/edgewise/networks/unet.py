"""The plain U-Net."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import nn
from typing_extensions import override

from edgewise.networks.base import Network, Topology


@dataclass(frozen=True, kw_only=True)
class UNet(Network):
    """Plain U-Net: two convolution - instance norm - leaky ReLU units a level, concatenated skips.

    Attributes:
        convolutions: convolutions a level.
        supervised: decoder levels with a logit head (deep supervision); 1 supervises full resolution only.
        dropout: share of channels dropped after each convolution.
    """

    kind: Literal["unet"] = "unet"
    convolutions: int = 2
    supervised: int = 3
    dropout: float = 0.0
    source: ClassVar = "Ronneberger et al. 2015, arXiv:1505.04597; Isensee et al. 2021, doi:10.1038/s41592-020-01008-z"

    @override
    def build(self, topology: Topology) -> nn.Module:
        from monai.networks.blocks.convolutions import Convolution

        from edgewise.networks.encoder_decoder import EncoderDecoder

        def stage(i: int, o: int, kernel: tuple[int, ...], stride: tuple[int, ...]) -> nn.Module:
            return nn.Sequential(
                *(
                    Convolution(
                        topology.dims,
                        i if n == 0 else o,
                        o,
                        strides=stride if n == 0 else 1,
                        kernel_size=kernel,
                        adn_ordering="NDA",
                        act=("leakyrelu", {"negative_slope": 0.01}),
                        norm=("instance", {"affine": True}),
                        dropout=self.dropout or None,
                        bias=False,
                    )
                    for n in range(self.convolutions)
                )
            )

        return EncoderDecoder(topology, encode=stage, decode=stage, supervised=self.supervised)
