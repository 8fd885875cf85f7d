"""LR-Net: a small frozen network tells the segmentation network which distance map its masks would have."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import one_hot
from typing_extensions import override

from edgewise.data.batches import Batch
from edgewise.errors import ExperimentError, RunError
from edgewise.losses.smooth_l1 import SmoothL1
from edgewise.maps.base import DistanceMap
from edgewise.maps.inverse import normalized_inverse
from edgewise.methods.base import Groundwork, Laid, Method
from edgewise.networks.base import Network, Topology
from edgewise.networks.lrnet import RANGES, Activation
from edgewise.networks.lrnet import LRNet as Regression
from edgewise.training import checkpoint
from edgewise.training.descent import Descent, Reading, outputs_of, segmentation_loss
from edgewise.training.learner import Learner, Setting
from edgewise.training.optimise import Adam, Plateau
from edgewise.truth import Truth

NAME = "lrnet"
ALPHA: Mapping[Activation, float] = {"relu": 10.0, "sigmoid": 1000.0, "tanh": 10.0}
"""The paper's weights of the map term."""


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    """How LR-Net is trained on reference masks, before the segmentation network is.

    Attributes:
        steps: training steps at most.
        batch: patches in a batch.
        rate: Adam's learning rate.
        validate_every: steps between validations.
        enough: mean validation Dice of (map > threshold) with the mask at which it ends early.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    steps: Annotated[int, Field(ge=1)] = 2000
    batch: Annotated[int, Field(ge=1)] = 4
    rate: Annotated[float, Field(gt=0)] = 1e-3
    validate_every: Annotated[int, Field(ge=1)] = 200
    enough: Annotated[float, Field(gt=0, le=1)] = 0.995


@dataclass(frozen=True, kw_only=True)
class LRNet(Method):
    r"""Segmentation loss plus the distance between LR-Net's map of the prediction and the reference's map.

    $$L = L_{seg}(p, y) + \alpha\, s(\mathrm{LRNet}(p) - \phi(y))$$

    with smooth L1 $s$ and the map $\phi$, over the foreground classes. LR-Net is trained first, on reference masks
    alone, and then frozen, so that the gradient of the map reaches the segmentation network through it. It is not part
    of the network that predicts.

    Attributes:
        map: $\phi$; its range must fit the activation.
        activation: LR-Net's last function; `auto`: `tanh` for maps with negative values, else `relu`.
        alpha: weight of the map term; `auto`: the paper's, 1000 for `sigmoid`, else 10.
        segmentation: `loss`: $L_{seg}$ is the experiment's loss; `none`: there is none.
        weights: whether LR-Net is `frozen`, or trained on together with the segmentation network (uLR-Net).
        network: LR-Net's size.
        pretraining: how it is trained first.
        file: weights of an LR-Net trained before, `checkpoints/lrnet.pt` of a run; `train` trains one.
        deep_supervision: how coarse outputs are compared with the labels; the map term sees full resolution only.
    """

    kind: Literal["lrnet"] = "lrnet"
    map: DistanceMap = normalized_inverse
    activation: Activation | Literal["auto"] = "auto"
    alpha: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    segmentation: Literal["loss", "none"] = "loss"
    weights: Literal["frozen", "trained"] = "frozen"
    network: Regression = Regression()
    pretraining: Pretraining = Pretraining()
    file: Path | Literal["train"] = "train"
    deep_supervision: Reading = "resized_labels"
    source: ClassVar = "Li et al. 2020, doi:10.1007/978-3-030-59861-7_24; arXiv:2501.09116"

    def __post_init__(self) -> None:
        low, high = self.map.range
        least, most = RANGES[self.last]
        if low < least or high > most:
            fitting = [name for name, (a, b) in RANGES.items() if a <= low and high <= b]
            hint = f"Choose {' or '.join(fitting)}." if fitting else "No activation fits this map: choose another map."
            raise ExperimentError(
                f"lrnet: the map {self.map.kind} has values from {low:g} to {high:g}, but the activation {self.last} "
                f"gives only {least:g} to {most:g}. {hint}"
            )

    @property
    def last(self) -> Activation:
        """The activation, decided."""
        if self.activation != "auto":
            return self.activation
        return "tanh" if self.map.range[0] < 0 else "relu"

    @property
    def weight(self) -> float:
        """The weight of the map term, decided."""
        return ALPHA[self.last] if self.alpha == "auto" else self.alpha

    @override
    def predictor(self, network: Network, topology: Topology) -> nn.Module:
        return network.build(topology)

    @override
    def groundwork(self, setting: Setting) -> tuple[Groundwork, ...]:
        if self.file != "train":
            return ()
        work, term = self.pretraining, SmoothL1(map=self.map)

        def objective(network: nn.Module, batch: Batch, _: int) -> Tensor:
            (predicted,) = outputs_of(network, _one_hot(batch.labels, setting), setting)
            return term.between(predicted.float(), _truth(batch.labels, setting, (self.map,)))

        own = replace(
            setting,
            optimiser=Adam(rate=work.rate),
            schedule=Plateau(drop=0.1, patience=2),
            steps=work.steps,
            average=0.0,
        )
        return (
            Groundwork(
                name=NAME,
                learner=Descent(own, self._fresh(setting), objective),
                steps=work.steps,
                batch=work.batch,
                validate_every=min(work.validate_every, work.steps),
                threshold=0.5 if self.last == "sigmoid" else 0.0,
                enough=work.enough,
                expected=0.98,
            ),
        )

    @override
    def learner(self, setting: Setting, laid: Laid) -> Learner:
        segment, regress = self.predictor(setting.network, setting.topology), self._fresh(setting)
        _load(regress, laid[NAME] if self.file == "train" else _read(self.file), setting)
        frozen = self.weights == "frozen"
        both = _Both(segment, regress.requires_grad_(requires_grad=not frozen))
        term = SmoothL1(map=self.map)

        def objective(network: nn.Module, batch: Batch, step: int) -> Tensor:
            assert isinstance(network, _Both)
            logits = outputs_of(network.segment, batch.image, setting)
            p = logits[0].float().softmax(dim=1)
            (predicted,) = outputs_of(network.regress, p, setting)
            loss = self.weight * term.between(predicted.float(), _truth(batch.labels, setting, (self.map,)))
            if self.segmentation == "none":
                return loss
            main = setting.loss.at(step / setting.epoch)
            return loss + segmentation_loss(logits, batch.labels, main, setting, self.deep_supervision)

        return Descent(setting, both, objective, _segment)

    def _fresh(self, setting: Setting) -> nn.Module:
        return self.network.build(setting.topology.classes, setting.topology.dims, self.last)


class _Both(nn.Module):
    """The two networks under one roof, for one optimiser and one checkpoint."""

    def __init__(self, segment: nn.Module, regress: nn.Module) -> None:
        super().__init__()
        self.segment, self.regress = segment, regress


def _segment(both: nn.Module) -> nn.Module:
    assert isinstance(both, _Both)
    return both.segment


def _one_hot(labels: Tensor, setting: Setting) -> Tensor:
    return one_hot(labels, setting.topology.classes).movedim(-1, 1).to(torch.float32)


def _truth(labels: Tensor, setting: Setting, needs: tuple[DistanceMap, ...]) -> Truth:
    return Truth.of(labels, classes=setting.topology.classes, spacing=setting.spacing, needs=needs)


def _read(file: Path | Literal["train"]) -> Mapping[str, Any]:
    content = checkpoint.load(Path(file), torch.device("cpu"))
    if "network" not in content:
        raise RunError(f"{file} holds no LR-Net. Pass the checkpoints/{NAME}.pt of a run with method.kind lrnet.")
    weights: Mapping[str, Any] = content["network"]
    return weights


def _load(network: nn.Module, weights: Mapping[str, Any], setting: Setting) -> None:
    try:
        network.load_state_dict(weights)
    except RuntimeError as error:
        raise RunError(
            f"this LR-Net does not fit {setting.topology.classes} classes and {setting.topology.dims} axes, or has "
            "another size than method.network says. Train one on this data (method.file: train)."
        ) from error
