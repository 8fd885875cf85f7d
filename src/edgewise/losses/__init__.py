"""Training losses, one a module: to add one, add a file here and nothing else.

`LOSSES` maps every kind to its class. A loss from a new file is found by its kind and by its class name at
once; the imports below only add static types for those who write `from edgewise.losses import Dice`.
"""

from typing import Any

from edgewise.catalog import discover
from edgewise.losses.active_contour import ActiveContour as ActiveContour
from edgewise.losses.base import Loss as Loss
from edgewise.losses.blob import Blob as Blob
from edgewise.losses.boundary import Boundary as Boundary
from edgewise.losses.boundary_dou import BoundaryDoU as BoundaryDoU
from edgewise.losses.component_dice_ce import ComponentDiceCE as ComponentDiceCE
from edgewise.losses.compound import Sum as Sum
from edgewise.losses.compound import Term as Term
from edgewise.losses.compound import equal as equal
from edgewise.losses.compound import gradual as gradual
from edgewise.losses.compound import increase as increase
from edgewise.losses.compound import rebalance as rebalance
from edgewise.losses.confidence_penalty import ConfidencePenalty as ConfidencePenalty
from edgewise.losses.cross_entropy import CrossEntropy as CrossEntropy
from edgewise.losses.deep_supervision import DeepSupervision as DeepSupervision
from edgewise.losses.deep_supervision import pyramid as pyramid
from edgewise.losses.dice import Dice as Dice
from edgewise.losses.exponential_logarithmic import ExponentialLogarithmic as ExponentialLogarithmic
from edgewise.losses.focal import Focal as Focal
from edgewise.losses.focal_tversky import FocalTversky as FocalTversky
from edgewise.losses.generalised_dice import GeneralisedDice as GeneralisedDice
from edgewise.losses.generalised_surface import GeneralisedSurface as GeneralisedSurface
from edgewise.losses.hausdorff import HausdorffDT as HausdorffDT
from edgewise.losses.jaccard import Jaccard as Jaccard
from edgewise.losses.map_dice import MapDice as MapDice
from edgewise.losses.penalised_cross_entropy import PenalisedCrossEntropy as PenalisedCrossEntropy
from edgewise.losses.rectified_cross_entropy import RectifiedCrossEntropy as RectifiedCrossEntropy
from edgewise.losses.region_wise import RegionWise as RegionWise
from edgewise.losses.schedules import Complement as Complement
from edgewise.losses.schedules import Cosine as Cosine
from edgewise.losses.schedules import Linear as Linear
from edgewise.losses.smooth_l1 import SmoothL1 as SmoothL1
from edgewise.losses.soft_cldice import SoftClDice as SoftClDice
from edgewise.losses.top_k import TopK as TopK
from edgewise.losses.tversky import Tversky as Tversky


def __getattr__(name: str) -> Any:
    if name == "LOSSES":
        return discover(Loss)
    for loss in () if name.startswith("__") else discover(Loss).values():
        if loss.__name__ == name:
            return loss
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
