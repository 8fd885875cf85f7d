"""LR-Net: a small frozen network tells the segmentation network which distance map its masks would have."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import one_hot
from typing_extensions import override

from edgewise.data.batches import Batch
from edgewise.errors import ExperimentError
from edgewise.losses.smooth_l1 import SmoothL1
from edgewise.maps.base import DistanceMap
from edgewise.maps.inverse import normalized_inverse
from edgewise.methods.base import Method
from edgewise.methods.groundwork import Groundwork, Laid, read
from edgewise.networks.base import Network, Topology
from edgewise.networks.fixed_convolution import in_pairs
from edgewise.networks.layers import replace_layers
from edgewise.networks.lrnet import RANGES, Activation, frozen
from edgewise.networks.lrnet import LRNet as Regression
from edgewise.training.descent import Descent, Reading, Turn, outputs_of, segmentation_loss, truth_of
from edgewise.training.learner import Learner, Setting
from edgewise.training.optimise import Adam, Poly

NAME = "lrnet"
ALPHA: Mapping[Activation, float] = {"relu": 10.0, "sigmoid": 1000.0, "tanh": 10.0}
"""Weights of the map term; the preprint gives no numbers, and these are what is known of its experiments."""

SMALL = 1 / 64
"""Above it a sigmoid stands for its class: it is never 0, and an NI-DM is 1/max in the middle, max being the depth."""


@dataclass(frozen=True, kw_only=True)
class Pretraining:
    r"""How LR-Net is trained on reference masks, before the segmentation network is.

    Adam, with a rate that falls to 0, in single precision.

    Attributes:
        steps: training steps at most.
        batch: patches in a batch.
        rate: Adam's learning rate at the beginning.
        beta: $\beta$ of the smooth L1 loss in the end; the square of a larger one hardly feels a background a little
            above 0. It falls there from 1: of three classes, a small one from the start lost one for some seeds.
        sharpening: share of the steps in which it falls, geometrically.
        validate_every: steps between validations.
        enough: mean validation Dice of (map > threshold) with the mask at which it ends early.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    steps: Annotated[int, Field(ge=1)] = 1500
    batch: Annotated[int, Field(ge=1)] = 4
    rate: Annotated[float, Field(gt=0)] = 1e-2
    beta: Annotated[float, Field(gt=0, le=1)] = 0.1
    sharpening: Annotated[float, Field(gt=0, le=1)] = 0.25
    validate_every: Annotated[int, Field(ge=1)] = 100
    enough: Annotated[float, Field(gt=0, le=1)] = 0.99


@dataclass(frozen=True, kw_only=True)
class LRNet(Method):
    r"""Segmentation loss plus the distance between LR-Net's map of the prediction and the reference's map.

    $$L = L_{seg}(p, y) + \alpha\, s(\mathrm{LRNet}(p) - \phi(y))$$

    with smooth L1 $s$ and the map $\phi$, over the foreground classes. LR-Net is trained first, on reference masks
    alone, and then frozen, so that the gradient of the map reaches the segmentation network through it. It is not part
    of the network that predicts. `docs/explanation/methods.md` says what the paper leaves open.

    Attributes:
        map: $\phi$; its range must fit the activation.
        activation: LR-Net's last function; `auto`: `tanh` for maps with negative values, else `relu`.
        alpha: weight $\alpha$ of the map term; `auto`: 1000 for `sigmoid`, else 10.
        segmentation: `loss`: $L_{seg}$ is the experiment's loss; `none`: there is none.
        weights: LR-Net is `frozen` after its own training; or `trained` on together with the segmentation network
            (uLR-Net); or trained together with it `from_scratch`, without any training of its own.
        network: LR-Net's size.
        pretraining: how it is trained first.
        file: an LR-Net trained before, `checkpoints/lrnet.pt` of a run; `train` trains one.
        deep_supervision: how coarse outputs are compared with the labels; the map term sees full resolution only.
    """

    kind: Literal["lrnet"] = "lrnet"
    map: DistanceMap = normalized_inverse
    activation: Activation | Literal["auto"] = "auto"
    alpha: Annotated[float, Field(gt=0)] | Literal["auto"] = "auto"
    segmentation: Literal["loss", "none"] = "loss"
    weights: Literal["frozen", "trained", "from_scratch"] = "frozen"
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
        if self.weights == "from_scratch" and self.file != "train":
            raise ExperimentError(
                "lrnet: weights: from_scratch starts from no LR-Net, but a file is given. Leave out `file`, or choose "
                "weights: frozen or trained."
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
    def require(self, network: Network, topology: Topology) -> None:
        if self.file != "train":
            read(Path(self.file), torch.device("cpu"), NAME, self._about(topology))

    @override
    def predictor(self, network: Network, topology: Topology) -> nn.Module:
        return network.build(topology)

    @override
    def seen(self, patch: tuple[int, ...]) -> tuple[int, ...]:
        return patch

    @override
    def groundwork(self, setting: Setting) -> tuple[Groundwork, ...]:
        if self.weights == "from_scratch":
            return ()
        work = self.pretraining

        def objective(network: nn.Module, batch: Batch, step: int) -> Tensor:
            (predicted,) = outputs_of(network, _one_hot(batch.labels, setting), setting)
            term = SmoothL1(map=self.map, beta=work.beta ** min(step / (work.sharpening * work.steps), 1.0))
            return term.between(predicted.float(), truth_of(batch, setting, term.needs))

        own = replace(
            setting,
            optimiser=Adam(rate=work.rate),
            schedule=Poly(),
            arithmetic=replace(setting.arithmetic, precision="fp32"),
            steps=work.steps,
            average=0.0,
        )
        return (
            Groundwork(
                name=NAME,
                about=self._about(setting.topology),
                spacing=setting.spacing,
                file=self.file,
                learner=Descent(own, self._fresh(setting), (Turn(objective=objective),)),
                steps=work.steps,
                batch=work.batch,
                validate_every=min(work.validate_every, work.steps),
                threshold=SMALL if self.last == "sigmoid" else 0.0,
                enough=work.enough,
                expected=0.98,
            ),
        )

    @override
    def learner(self, setting: Setting, laid: Laid) -> Learner:
        segment, regress = self.predictor(setting.network, setting.topology), self._fresh(setting)
        if self.weights != "from_scratch":
            regress.load_state_dict(laid[NAME])
        if self.weights == "frozen":
            regress = in_pairs(frozen(regress))
        else:
            replace_layers(regress)
        term, alpha = SmoothL1(map=self.map), self.weight
        needs = (*setting.loss.needs, *term.needs) if self.segmentation == "loss" else term.needs

        def objective(network: nn.Module, batch: Batch, step: int) -> Tensor:
            assert isinstance(network, _Both)
            logits = outputs_of(network.segment, batch.image, setting)
            (predicted,) = outputs_of(network.regress, logits[0].float().softmax(dim=1), setting)
            truth = truth_of(batch, setting, needs)
            loss = alpha * term.between(predicted.float(), truth)
            if self.segmentation == "none":
                return loss
            main = setting.loss.at(step / setting.epoch)
            return loss + segmentation_loss(logits, truth, main, self.deep_supervision)

        return Descent(setting, _Both(segment, regress), (Turn(objective=objective),), _segment)

    def _fresh(self, setting: Setting) -> nn.Module:
        return self.network.build(setting.topology.classes, setting.topology.dims, self.last)

    def _about(self, topology: Topology) -> Mapping[str, Any]:
        """What an LR-Net must have been trained for to serve here."""
        shape = {"classes": topology.classes, "axes": topology.dims}
        return {"map": asdict(self.map), "activation": self.last, **shape, **asdict(self.network)}


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
