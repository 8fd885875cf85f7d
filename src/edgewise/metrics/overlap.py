"""Overlap and volume, from three numbers of voxels."""

import math
from dataclasses import dataclass
from typing import ClassVar, Literal

from typing_extensions import override

from edgewise.metrics.base import OVERLAP, Empty, Metric
from edgewise.metrics.comparison import Comparison

TAHA = "Taha & Hanbury 2015, doi:10.1186/s12880-015-0068-x"
HEIMANN = "Heimann et al. 2009, doi:10.1109/TMI.2009.2013851"


@dataclass(frozen=True, kw_only=True)
class Dice(Metric):
    r"""Overlap of two masks relative to their mean size: $2 |P \cap R| / (|P| + |R|)$."""

    kind: Literal["dice"] = "dice"
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = "Dice similarity 2|P∩R| / (|P|+|R|) of voxels"
    source: ClassVar[str] = "Dice 1945, doi:10.2307/1932409"

    @override
    def of(self, comparison: Comparison) -> float:
        """In (0, 1], or 0 for masks that do not touch."""
        prediction, reference, both = comparison.voxels
        return 2 * both / (prediction + reference)


@dataclass(frozen=True, kw_only=True)
class Jaccard(Metric):
    r"""Overlap of two masks relative to their union (IoU): $|P \cap R| / |P \cup R|$."""

    kind: Literal["jaccard"] = "jaccard"
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = "Jaccard index (IoU) |P∩R| / |P∪R| of voxels"
    source: ClassVar[str] = "Jaccard 1912, doi:10.1111/j.1469-8137.1912.tb05611.x"

    @override
    def of(self, comparison: Comparison) -> float:
        """In (0, 1], or 0 for masks that do not touch."""
        return _jaccard(comparison)


@dataclass(frozen=True, kw_only=True)
class VOE(Metric):
    r"""Volumetric overlap error: $1 - |P \cap R| / |P \cup R|$."""

    kind: Literal["voe"] = "voe"
    unit: ClassVar = "1"
    better: ClassVar = "lower"
    empty: ClassVar[Empty] = Empty(both=0.0, prediction=1.0, reference=1.0)
    definition: ClassVar[str] = "volumetric overlap error 1 − |P∩R| / |P∪R| of voxels"
    source: ClassVar[str] = HEIMANN

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1], 1 for masks that do not touch."""
        return 1 - _jaccard(comparison)


@dataclass(frozen=True, kw_only=True)
class RVD(Metric):
    r"""Relative volume difference with its sign: $(|P| - |R|) / |R|$, positive where the prediction is too large.

    The scoring script of LiTS calls MedPy with its arguments swapped: $(|R| - |P|) / |P|$, positive where the
    prediction is too small. `relative_to="prediction"` is that; its values for an empty prediction and an empty
    reference trade places, too, which a set of definitions states in `empty`.

    Attributes:
        relative_to: the mask whose volume the difference is divided by, and subtracted from the other's.

    Example:
        >>> import numpy as np
        >>> prediction, reference = np.arange(24).reshape(4, 6) < 15, np.arange(24).reshape(4, 6) < 12
        >>> RVD()(Comparison.of(prediction, reference, (1.0, 1.0)))
        0.25
        >>> RVD(relative_to="prediction")(Comparison.of(prediction, reference, (1.0, 1.0)))
        -0.2
    """

    kind: Literal["rvd"] = "rvd"
    relative_to: Literal["reference", "prediction"] = "reference"
    unit: ClassVar = "1"
    better: ClassVar = "zero"
    empty: ClassVar[Empty] = Empty(both=0.0, prediction=-1.0, reference=float("inf"))
    definition: ClassVar[str] = (
        "signed relative volume difference: the other mask's volume minus that of the {relative_to}, over the latter"
    )
    source: ClassVar[str] = HEIMANN

    @override
    def of(self, comparison: Comparison) -> float:
        """Above -1; 0 for equal volumes."""
        prediction, reference, _ = comparison.voxels
        if self.relative_to == "prediction":
            return (reference - prediction) / prediction
        return (prediction - reference) / reference


@dataclass(frozen=True, kw_only=True)
class Volume(Metric):
    """Volume of the prediction, in ml; of a 2D mask its area in mm² over 1000. It describes, and judges nothing."""

    kind: Literal["volume"] = "volume"
    unit: ClassVar = "ml"
    better: ClassVar = "neither"
    empty: ClassVar[Empty] = Empty(both=0.0, prediction=0.0, reference="formula")
    definition: ClassVar[str] = "volume of the prediction (of a 2D mask its area in mm² over 1000)"
    source: ClassVar[str] = TAHA

    @override
    def of(self, comparison: Comparison) -> float:
        """Not negative."""
        return comparison.voxels[0] * _millilitres(comparison)


@dataclass(frozen=True, kw_only=True)
class VolumeDifference(Metric):
    """Volume of the prediction minus that of the reference, in ml: what was missed or invented has its size, too."""

    kind: Literal["volume_difference"] = "volume_difference"
    unit: ClassVar = "ml"
    better: ClassVar = "zero"
    empty: ClassVar[Empty] = Empty(both=0.0, prediction="formula", reference="formula")
    definition: ClassVar[str] = "volume of the prediction minus that of the reference"
    source: ClassVar[str] = TAHA

    @override
    def of(self, comparison: Comparison) -> float:
        """Positive where the prediction is too large."""
        prediction, reference, _ = comparison.voxels
        return (prediction - reference) * _millilitres(comparison)


@dataclass(frozen=True, kw_only=True)
class Sensitivity(Metric):
    r"""Share of the reference's voxels that were found (recall): $|P \cap R| / |R|$."""

    kind: Literal["sensitivity"] = "sensitivity"
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = "sensitivity (recall) |P∩R| / |R| of voxels"
    source: ClassVar[str] = TAHA

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        _, reference, both = comparison.voxels
        return both / reference


@dataclass(frozen=True, kw_only=True)
class Precision(Metric):
    r"""Share of the prediction's voxels that are right: $|P \cap R| / |P|$."""

    kind: Literal["precision"] = "precision"
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = OVERLAP
    definition: ClassVar[str] = "precision (positive predictive value) |P∩R| / |P| of voxels"
    source: ClassVar[str] = TAHA

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        prediction, _, both = comparison.voxels
        return both / prediction


@dataclass(frozen=True, kw_only=True)
class Specificity(Metric):
    r"""Share of the voxels outside the reference that are outside the prediction: $|\bar P \cap \bar R| / |\bar R|$.

    It counts the background of the whole image, so that a larger field of view brings it closer to 1: compare it on
    equal images only. 1 where the reference fills the image.
    """

    kind: Literal["specificity"] = "specificity"
    unit: ClassVar = "1"
    better: ClassVar = "higher"
    empty: ClassVar[Empty] = Empty(both="formula", prediction="formula", reference="formula")
    definition: ClassVar[str] = "specificity: share of the whole image's voxels outside R that are outside P"
    source: ClassVar[str] = TAHA

    @override
    def of(self, comparison: Comparison) -> float:
        """In [0, 1]."""
        prediction, reference, both = comparison.voxels
        outside = math.prod(comparison.image) - reference
        return 1 - (prediction - both) / outside if outside else 1.0


def _jaccard(comparison: Comparison) -> float:
    prediction, reference, both = comparison.voxels
    return both / (prediction + reference - both)


def _millilitres(comparison: Comparison) -> float:
    """Of one voxel."""
    return math.prod(comparison.spacing) / 1000
