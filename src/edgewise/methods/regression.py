"""The rivals of LR-Net: networks that regress a distance map beside the segmentation."""

from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from edgewise.data.batches import Batch
from edgewise.errors import ExperimentError
from edgewise.losses.smooth_l1 import SmoothL1
from edgewise.maps.base import DistanceMap
from edgewise.maps.inverse import SignedNormalizedInverse, normalized_inverse
from edgewise.methods.base import Groundwork, Laid, Method
from edgewise.networks.base import Network, Topology
from edgewise.networks.encoder_decoder import EncoderDecoder, convolution
from edgewise.training.descent import Descent, Reading, segmentation_loss
from edgewise.training.learner import Learner, Setting
from edgewise.truth import Truth


@dataclass(frozen=True, kw_only=True)
class MultiBranch(Method):
    """One encoder, two decoders: one segments, the other regresses a distance map, which only training needs.

    Works with every network that is an encoder-decoder (`unet`, `residual_unet`, `mnet`, `vnet`, `rdd`,
    `attention_unet`). The map term is the smooth L1 distance over the foreground classes.

    Attributes:
        map: what the second decoder regresses.
        alpha: weight of the map term.
        deep_supervision: how coarse outputs of the first decoder are compared with the labels.
    """

    kind: Literal["multi_branch"] = "multi_branch"
    map: DistanceMap = normalized_inverse
    alpha: Annotated[float, Field(gt=0)] = 1.0
    deep_supervision: Reading = "resized_labels"
    source: ClassVar = "Dangi et al. 2019, doi:10.1002/mp.13853"

    @override
    def predictor(self, network: Network, topology: Topology) -> nn.Module:
        return network.build(topology)

    @override
    def groundwork(self, setting: Setting) -> tuple[Groundwork, ...]:
        return ()

    @override
    def learner(self, setting: Setting, laid: Laid) -> Learner:
        segment = self.predictor(setting.network, setting.topology)
        second = setting.network.build(setting.topology)
        if not isinstance(segment, EncoderDecoder) or not isinstance(second, EncoderDecoder):
            raise ExperimentError(
                f"multi_branch needs a network with a decoder to double, and {setting.network.kind} has none. Choose "
                "unet, residual_unet, mnet, vnet, rdd or attention_unet."
            )
        term = SmoothL1(map=self.map)

        def objective(module: nn.Module, batch: Batch, step: int) -> Tensor:
            logits, predicted = _two_outputs(module, batch.image, setting)
            main = setting.loss.at(step / setting.epoch)
            return segmentation_loss(
                logits, batch.labels, main, setting, self.deep_supervision
            ) + self.alpha * _distance_to_map(term, predicted, batch.labels, setting)

        return Descent(setting, _Branches(segment, second), objective, _first)


@dataclass(frozen=True, kw_only=True)
class Cascaded(Method):
    """A network regresses a distance map, and a last convolution segments from that map and the features beside it.

    The map term is the smooth L1 distance over the foreground classes. The whole cascade predicts.

    Attributes:
        map: what is regressed.
        alpha: weight of the map term.
        features: channels that reach the last convolution beside the map.
    """

    kind: Literal["cascaded"] = "cascaded"
    map: DistanceMap = SignedNormalizedInverse()
    alpha: Annotated[float, Field(gt=0)] = 1.0
    features: Annotated[int, Field(ge=1)] = 8
    source: ClassVar = "Audebert et al. 2019, doi:10.1016/j.cviu.2019.102809"

    @override
    def predictor(self, network: Network, topology: Topology) -> nn.Module:
        return _Cascade(network, topology, self.features)

    @override
    def groundwork(self, setting: Setting) -> tuple[Groundwork, ...]:
        return ()

    @override
    def learner(self, setting: Setting, laid: Laid) -> Learner:
        term = SmoothL1(map=self.map)

        def objective(module: nn.Module, batch: Batch, step: int) -> Tensor:
            assert isinstance(module, _Cascade)
            with setting.arithmetic.autocast(setting.device):
                logits, predicted = module.both(setting.arithmetic.arrange(batch.image))
            main = setting.loss.at(step / setting.epoch)
            return segmentation_loss(
                (logits,), batch.labels, main, setting, "resized_labels"
            ) + self.alpha * _distance_to_map(term, predicted, batch.labels, setting)

        return Descent(setting, self.predictor(setting.network, setting.topology), objective)


class _Branches(nn.Module):
    """A segmentation network, and a second decoder on its encoder with one channel a foreground class."""

    def __init__(self, segment: EncoderDecoder, second: EncoderDecoder) -> None:
        super().__init__()
        self.segment = segment
        second.drop_encoder()
        self.second = second


class _Cascade(nn.Module):
    """Images to logits through a regressed map."""

    def __init__(self, network: Network, topology: Topology, features: int) -> None:
        super().__init__()
        self.maps = topology.classes - 1
        self.trunk = network.build(replace(topology, classes=self.maps + features))
        self.last = convolution(topology.dims)(self.maps + features, topology.classes, 3, padding=1)

    @override
    def forward(self, image: Tensor) -> Tensor:
        return self.both(image)[0]

    def both(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Logits (B, C, *space) and maps (B, C-1, *space)."""
        outputs = self.trunk(image)
        full = outputs if isinstance(outputs, Tensor) else outputs[0]
        return self.last(full), full[:, : self.maps]


def _first(branches: nn.Module) -> nn.Module:
    assert isinstance(branches, _Branches)
    return branches.segment


def _two_outputs(module: nn.Module, image: Tensor, setting: Setting) -> tuple[list[Tensor], Tensor]:
    assert isinstance(module, _Branches)
    with setting.arithmetic.autocast(setting.device):
        arranged = setting.arithmetic.arrange(image)
        features = module.segment.encode(arranged)
        logits = module.segment.decode(features, arranged)
        predicted = module.second.decode(features, arranged)[0]
    return logits, predicted[:, 1:]


def _distance_to_map(term: SmoothL1, predicted: Tensor, labels: Tensor, setting: Setting) -> Tensor:
    classes, spacing = setting.topology.classes, setting.spacing
    return term.between(predicted.float(), Truth.of(labels, classes=classes, spacing=spacing, needs=term.needs))
