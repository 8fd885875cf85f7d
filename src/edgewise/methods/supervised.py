"""One network, one loss: ordinary supervised training."""

from dataclasses import dataclass
from typing import ClassVar, Literal

from torch import Tensor, nn
from typing_extensions import override

from edgewise.data.batches import Batch
from edgewise.methods.base import Method
from edgewise.methods.groundwork import Groundwork, Laid
from edgewise.networks.base import Network, Topology
from edgewise.training.descent import Descent, Reading, Turn, outputs_of, segmentation_loss, truth_of
from edgewise.training.learner import Learner, Setting


@dataclass(frozen=True, kw_only=True)
class Supervised(Method):
    """Minimise one loss over the weights of one network; predict with a moving average of the weights.

    Attributes:
        deep_supervision: how the coarse outputs of a network that has them are compared with the labels: labels
            resized to the output, or the output upsampled to the labels.
    """

    kind: Literal["supervised"] = "supervised"
    deep_supervision: Reading = "resized_labels"
    source: ClassVar = "Polyak and Juditsky 1992, doi:10.1137/0330046 (averaging)"

    @override
    def require(self, network: Network, topology: Topology) -> None:
        """Every network will do."""

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
        def objective(network: nn.Module, batch: Batch, step: int) -> Tensor:
            logits = outputs_of(network, batch.image, setting)
            truth, loss = truth_of(batch, setting, setting.loss.needs), setting.loss.at(step / setting.epoch)
            return segmentation_loss(logits, truth, loss, self.deep_supervision)

        return Descent(setting, self.predictor(setting.network, setting.topology), (Turn(objective=objective),))
