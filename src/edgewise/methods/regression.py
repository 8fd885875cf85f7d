"""The rivals of LR-Net: networks that regress a distance map beside the segmentation."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from edgewise.catalog import discover
from edgewise.data.batches import Batch
from edgewise.errors import ExperimentError
from edgewise.losses.smooth_l1 import SmoothL1
from edgewise.maps.base import DistanceMap
from edgewise.maps.inverse import SignedNormalizedInverse, normalized_inverse
from edgewise.methods.base import Method
from edgewise.methods.groundwork import Groundwork, Laid
from edgewise.networks.base import Network, Topology
from edgewise.networks.encoder_decoder import EncoderDecoder, convolution
from edgewise.networks.layers import replace_layers
from edgewise.training.descent import Descent, Objective, Reading, Turn, segmentation_loss, truth_of
from edgewise.training.learner import Learner, Setting


@dataclass(frozen=True, kw_only=True)
class MultiBranch(Method):
    r"""One encoder, two decoders: one segments, the other regresses a distance map, which only training needs.

    $$L = L_{seg}(p, y) + \alpha\, s(q - \phi(y))$$

    with the output $q$ of the second decoder, smooth L1 $s$ over the foreground classes, and the map $\phi$. Works with
    every network that is an encoder-decoder. Two things differ from the source: there the weights of the two terms are
    learnt (as uncertainties), and its decoder starts at the deepest features, while this one is a twin of the first,
    skips included.

    Attributes:
        map: $\phi$.
        alpha: weight $\alpha$ of the map term.
        deep_supervision: how coarse outputs of the first decoder are compared with the labels.
    """

    kind: Literal["multi_branch"] = "multi_branch"
    map: DistanceMap = normalized_inverse
    alpha: Annotated[float, Field(gt=0)] = 1.0
    deep_supervision: Reading = "resized_labels"
    source: ClassVar = "Dangi et al. 2019, doi:10.1002/mp.13853"

    @override
    def require(self, network: Network, topology: Topology) -> None:
        if _has_decoder(network, topology):
            return
        known = discover(Network)
        able = [kind for kind, cls in known.items() if _has_decoder(cls(), topology)]
        raise ExperimentError(
            f"multi_branch needs a network with a decoder to double, and {network.kind} has none. Choose "
            f"{', '.join(able[:-1])} or {able[-1]}."
        )

    @override
    def predictor(self, network: Network, topology: Topology) -> nn.Module:
        return network.build(topology)

    @override
    def seen(self, patch: tuple[int, ...]) -> tuple[int, ...]:
        return patch

    @override
    def groundwork(self, setting: Setting) -> tuple[Groundwork, ...]:
        return ()

    @override
    def learner(self, setting: Setting, laid: Laid) -> Learner:
        self.require(setting.network, setting.topology)
        branches = _Branches(setting.network, setting.topology)
        objective = _both_terms(SmoothL1(map=self.map), self.alpha, setting, self.deep_supervision)
        return Descent(setting, branches, (Turn(objective=objective),), _segment)


@dataclass(frozen=True, kw_only=True)
class Cascaded(Method):
    r"""A network regresses a distance map, and a last convolution segments from that map and the features beside it.

    $$L = L_{seg}(p, y) + \alpha\, s(q - \phi(y))$$

    with the regressed map $q$, of which $p$ is made, smooth L1 $s$ over the foreground classes, and the map $\phi$. The
    whole cascade predicts. It has full resolution only, whatever deep supervision the network offers.

    Attributes:
        map: $\phi$.
        alpha: weight $\alpha$ of the map term.
        features: channels that reach the last convolution beside the map.
    """

    kind: Literal["cascaded"] = "cascaded"
    map: DistanceMap = SignedNormalizedInverse()
    alpha: Annotated[float, Field(gt=0)] = 1.0
    features: Annotated[int, Field(ge=1)] = 8
    source: ClassVar = "Audebert et al. 2019, doi:10.1016/j.cviu.2019.102809"

    @override
    def require(self, network: Network, topology: Topology) -> None:
        """Every network will do."""

    @override
    def predictor(self, network: Network, topology: Topology) -> nn.Module:
        return _Cascade(network, topology, self.features)

    @override
    def seen(self, patch: tuple[int, ...]) -> tuple[int, ...]:
        return patch

    @override
    def groundwork(self, setting: Setting) -> tuple[Groundwork, ...]:
        return ()

    @override
    def learner(self, setting: Setting, laid: Laid) -> Learner:
        cascade = self.predictor(setting.network, setting.topology)
        objective = _both_terms(SmoothL1(map=self.map), self.alpha, setting, "resized_labels")
        return Descent(setting, cascade, (Turn(objective=objective),))


class _Branches(nn.Module):
    """A segmentation network, and a second decoder on its encoder with one channel a foreground class."""

    def __init__(self, network: Network, topology: Topology) -> None:
        super().__init__()
        segment = network.build(topology)
        second = network.build(replace(topology, classes=topology.classes - 1))
        assert isinstance(segment, EncoderDecoder)
        assert isinstance(second, EncoderDecoder)
        second.drop_encoder()
        self.segment, self.second = segment, _full_resolution_only(second)

    def both(self, image: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """Logits (B, C, *space) of every supervised level, and maps (B, C-1, *space)."""
        features = self.segment.encode(image)
        return self.segment.decode(features, image), self.second.decode(features, image)[0]


class _Cascade(nn.Module):
    """Images to logits through a regressed map."""

    def __init__(self, network: Network, topology: Topology, features: int) -> None:
        super().__init__()
        self.maps = topology.classes - 1
        trunk = network.build(replace(topology, classes=self.maps + features))
        self.trunk = _full_resolution_only(trunk) if isinstance(trunk, EncoderDecoder) else trunk
        self.last = convolution(topology.dims)(self.maps + features, topology.classes, 3, padding=1)
        replace_layers(self)

    @override
    def forward(self, image: Tensor) -> Tensor:
        (logits,), _ = self.both(image)
        return logits

    def both(self, image: Tensor) -> tuple[Sequence[Tensor], Tensor]:
        """Logits (B, C, *space), alone, and maps (B, C-1, *space)."""
        outputs = self.trunk(image)
        full = outputs if isinstance(outputs, Tensor) else outputs[0]
        return (self.last(full),), full[:, : self.maps]


def _both_terms(term: SmoothL1, alpha: float, setting: Setting, reading: Reading) -> Objective:
    """The segmentation loss and the distance to the map, of one truth."""
    needs = (*setting.loss.needs, *term.needs)

    def objective(module: nn.Module, batch: Batch, step: int) -> Tensor:
        assert isinstance(module, _Branches | _Cascade)
        with setting.arithmetic.autocast(setting.device):
            logits, predicted = module.both(setting.arithmetic.arrange(batch.image))
        truth, main = truth_of(batch, setting, needs), setting.loss.at(step / setting.epoch)
        return segmentation_loss(logits, truth, main, reading) + alpha * term.between(predicted.float(), truth)

    return objective


def _segment(branches: nn.Module) -> nn.Module:
    assert isinstance(branches, _Branches)
    return branches.segment


def _has_decoder(network: Network, topology: Topology) -> bool:
    with torch.device("meta"):  # no memory, no time, no random numbers
        return isinstance(network.build(topology), EncoderDecoder)


def _full_resolution_only(module: EncoderDecoder) -> EncoderDecoder:
    """The same without coarse heads, which nothing would train."""
    module.heads = module.heads[-1:]
    return module
