"""Apply any trained network to a prepared volume."""

import numpy as np
from numpy.typing import NDArray
from torch import nn

from edgewise.inference.prediction import Prediction
from edgewise.inference.sliding import Inference, Window, probabilities
from edgewise.inference.two_stage import TwoStage, located


def applied(network: nn.Module, image: NDArray[np.float32], window: Window, settings: Inference) -> Prediction:
    """Class probabilities of a volume: by windows that slide over it, or where a locator says.

    Args:
        network: in evaluation mode.
        image: (K, *volume) float32; may be a memory map.
        window: what the network was trained for.
        settings: how it is applied.
    """
    if isinstance(network, TwoStage):
        return located(network, image, window, settings)
    return Prediction(probabilities=probabilities(network, image, window, settings))
