"""Sets of definitions by name: our own, and those of the tools and challenges whose numbers people compare with.

How close each comes to its tool is tested (tests/metrics/test_peers.py) and told in docs/explanation/correctness.md.
"""

import math
from collections.abc import Callable, Mapping
from types import MappingProxyType

from edgewise.catalog import discover
from edgewise.errors import ExperimentError
from edgewise.metrics.base import Empty, Metric
from edgewise.metrics.challenges import WORST_DISTANCE, BratsLesionDice, BratsLesionHD95
from edgewise.metrics.definitions import Definitions, Region, nearest
from edgewise.metrics.lits_lesions import LARGE, LitsLesion, LitsLesionPrecision, LitsLesionRecall
from edgewise.metrics.overlap import RVD, VOE, Dice, Jaccard, Precision, Sensitivity, Specificity
from edgewise.metrics.surface import ASSD, HD, HD95, MASD, MSD, NSD, RMSD

ORDER = (
    "dice", "jaccard", "voe", "sensitivity", "precision", "specificity",
    "dice_slices", "sensitivity_slices", "precision_slices", "rvd", "volume_difference", "volume",
    "hd95", "hd", "assd", "masd", "rmsd", "msd", "nsd", "bdice", "boundary_iou",
    "lesion_f1", "lesion_recall", "lesion_precision", "lesion_dice", "pq", "sq", "rq", "box_iou", "containment",
)  # fmt: skip
"""Of the columns of a table; what is not in it comes after."""
NAN, INF = math.nan, math.inf
KITS_TOLERANCES = {
    "kidney_and_mass": 2.1780822681004897,
    "mass": 1.3929527150618852,
    "tumour": 1.536272517110166,
}
"""In mm, from the disagreement of the annotators of KiTS21."""


def named(name: str, tolerance: float = 2.0) -> Definitions:
    """The set of definitions called `name`; `-` and `_` are the same in it.

    Args:
        name: a key of `PRESETS`.
        tolerance: of the metrics that forgive small distances, in mm; where a source fixes one, that holds.

    Raises:
        ExperimentError: there is none of that name, or the tolerance is not a positive number.
    """
    wanted = name.replace("_", "-").lower()
    if wanted not in PRESETS:
        raise ExperimentError(f"there are no definitions called {nearest(name, PRESETS)}")
    if not 0 < tolerance < INF:
        raise ExperimentError(f"a tolerance of {tolerance} mm: expected a positive number of mm, such as 2.")
    return PRESETS[wanted](tolerance)


def default(tolerance: float) -> Definitions:
    """Every metric of the catalogue, as Metrics Reloaded recommends where it does.

    Args:
        tolerance: of the metrics that forgive small distances, in mm.
    """
    place = {column: number for number, column in enumerate(ORDER)}
    metrics = {kind: _tolerant(metric, tolerance) for kind, metric in discover(Metric).items() if metric.in_default}
    return Definitions(
        name="default",
        summary="Metrics Reloaded where it settles the choice.",
        source="Maier-Hein et al. 2024, doi:10.1038/s41592-023-02151-z",
        metrics=dict(sorted(metrics.items(), key=lambda item: place.get(item[0], len(place)))),
    )


def medpy() -> Definitions:
    """MedPy 0.5.2, `medpy.metric.binary`."""
    nothing = Empty(both=0.0, prediction=0.0, reference=0.0)
    return Definitions(
        name="medpy",
        summary="MedPy 0.5.2: HD95 pools both sets of distances; MASD is the mean of its `asd` both ways. For empty "
        "masks its distances raise an error: here they are inf, and 0 where both are empty. What it means to return "
        "for ratios of nothing (Dice 1, precision 0) is returned here; with NumPy 2 it returns NaN. Its ASSD "
        "before 0.5 was what is called MASD here.",
        source="loli/medpy, medpy/metric/binary.py",
        metrics={
            "dice": Dice(),
            "jaccard": Jaccard(),
            "sensitivity": Sensitivity(),
            "precision": Precision(),
            "specificity": Specificity(),
            "rvd": RVD(),
            "hd95": HD95(pooling="pooled"),
            "hd": HD(),
            "assd": ASSD(),
            "masd": MASD(),
        },
        empty={"sensitivity": nothing, "precision": nothing},
    )


def monai(tolerance: float) -> Definitions:
    """MONAI 1.6, `monai.metrics` with their own defaults, distances with spacing and symmetric.

    Args:
        tolerance: of NSD (`class_thresholds`), in mm.
    """
    overlap = Empty(both=NAN, prediction=0.0, reference=NAN)
    distance = Empty(both=NAN, prediction=INF, reference=INF)
    return Definitions(
        name="monai",
        summary="MONAI 1.6: NSD with voxel borders (use_subvoxels=False). It gives NaN for empty masks, even for an "
        "HD95 of a missed structure, and leaves these out of its means; here they are kept and counted: `--empty "
        "skip` repeats MONAI's means.",
        source="Project-MONAI/MONAI, monai/metrics",
        metrics={
            "dice": Dice(),
            "jaccard": Jaccard(),
            "hd95": HD95(),
            "hd": HD(),
            "assd": ASSD(),
            "nsd": NSD(tolerance=tolerance),
        },
        empty={
            "dice": overlap,
            "jaccard": overlap,
            "hd95": Empty(both=NAN, prediction=NAN, reference=NAN),
            "hd": distance,
            "assd": distance,
            "nsd": Empty(both=NAN, prediction=0.0, reference=0.0),
        },
    )


def surface_distance(tolerance: float) -> Definitions:
    """The package surface-distance 0.1 of Google DeepMind.

    Args:
        tolerance: of NSD (its surface Dice), in mm.
    """
    percentile = Empty(both=INF, prediction=INF, reference=INF)
    return Definitions(
        name="surface-distance",
        summary="surface-distance 0.1 (Google DeepMind): surface elements at voxel corners, weighted by area; HD95 "
        "is the smallest distance that 95 % of the area keep; MASD is the mean of its two average distances. For "
        "empty masks 0.1 fails with NumPy 2; these are its values with NumPy 1, where an average distance is (inf, "
        "NaN) for one empty mask: here inf.",
        source="Nikolov et al. 2021, doi:10.2196/26151; google-deepmind/surface-distance",
        border="surfels",
        metrics={
            "dice": Dice(),
            "hd95": HD95(rule="cumulative"),
            "hd": HD(),
            "masd": MASD(),
            "nsd": NSD(tolerance=tolerance),
        },
        empty={
            "dice": Empty(both=NAN, prediction=0.0, reference=0.0),
            "hd95": percentile,
            "hd": percentile,
            "masd": Empty(both=NAN, prediction=INF, reference=INF),
            "nsd": Empty(both=NAN, prediction=0.0, reference=0.0),
        },
    )


def lits() -> Definitions:
    """Scoring script of the liver tumour segmentation challenge LiTS 2017."""
    missing, none = Empty(both=LARGE, prediction=LARGE, reference=LARGE), Empty(both=0.0, prediction=0.0, reference=0.0)
    liver: dict[str, Metric] = {
        "dice": Dice(),
        "jaccard": Jaccard(),
        "voe": VOE(),
        "rvd": RVD(relative_to="prediction"),
        "assd": ASSD(),
        "rmsd": RMSD(),
        "msd": MSD(),
    }
    nothing = {"dice": 0.0, "voe": 1.0}
    lesion: dict[str, Metric] = {
        "dice": Dice(),
        "lits_lesion_recall": LitsLesionRecall(),
        "lits_lesion_precision": LitsLesionPrecision(),
        **{
            f"lits_lesion_{column}": LitsLesion(measured=metric, nothing=nothing.get(column, LARGE))
            for column, metric in liver.items()
            if column != "jaccard"
        },
    }
    empty = {
        **dict.fromkeys(liver, missing),
        "dice": none,
        "jaccard": none,
        "voe": Empty(both=1.0, prediction=1.0, reference=1.0),
    }
    return Definitions(
        name="lits",
        summary="LiTS 2017: liver (labels 1 and 2) and lesion (label 2). Borders with 18 neighbours; RVD has its "
        "arguments swapped, (|R|-|P|)/|P|; 9001 where a distance or RVD does not exist. The script takes a "
        "prediction without label 1 for one without liver, even if it has lesions: here their union counts. It "
        "pools lesions over all cases: here each case has scores of its own.",
        source="Bilic et al. 2023, doi:10.1016/j.media.2022.102680; PatrickChrist/lits-challenge-scoring",
        border="edges",
        metrics=liver,
        empty=empty,
        regions=(
            Region(name="liver", labels=(1, 2)),
            Region(
                name="lesion",
                labels=(2,),
                metrics=lesion,
                empty={"dice": Empty(both=1.0, prediction=0.0, reference=0.0)},
            ),
        ),
    )


def kits21(tolerance: float) -> Definitions:
    """Evaluation of the kidney tumour segmentation challenge KiTS21.

    Args:
        tolerance: of the surface Dice of a single mask, in mm; each region of a label image has its own.
    """
    labels = {"kidney_and_mass": (1, 2, 3), "mass": (2, 3), "tumour": (2,)}
    return Definitions(
        name="kits21",
        summary="KiTS21: kidney and masses, masses, and tumour, with labels 1 kidney, 2 tumour, 3 cyst; surface "
        "Dice (NSD) of area-weighted surface elements with a tolerance of its own for each.",
        source="Heller et al. 2023, arXiv:2307.01984; neheller/kits21, kits21/evaluation/metrics.py",
        border="surfels",
        metrics={"dice": Dice(), "nsd": NSD(tolerance=tolerance)},
        regions=tuple(
            Region(name=name, labels=labels[name], metrics={"dice": Dice(), "nsd": NSD(tolerance=each)})
            for name, each in KITS_TOLERANCES.items()
        ),
    )


def brats_lesionwise() -> Definitions:
    """Lesion-wise scores of BraTS 2023, with the settings for adult glioma."""
    return Definitions(
        name="brats-lesionwise",
        summary="BraTS 2023, adult glioma: whole tumour, tumour core and enhancing tumour, with labels 1 necrosis, "
        "2 oedema, 3 enhancing; lesion-wise Dice and HD95, and the plain (`legacy`) Dice and HD95; 374 mm where one "
        "mask is empty. Other tasks of the challenge have other settings: see "
        "`edgewise.metrics.challenges.BRATS_2023`.",
        source="Moawad et al. 2023, arXiv:2306.00838; rachitsaluja/BraTS-2023-Metrics",
        border="surfels",
        metrics={
            "brats_lesion_dice": BratsLesionDice(),
            "brats_lesion_hd95": BratsLesionHD95(),
            "dice": Dice(),
            "hd95": HD95(rule="cumulative"),
        },
        empty={"hd95": Empty(both=0.0, prediction=WORST_DISTANCE, reference=WORST_DISTANCE)},
        regions=(
            Region(name="whole tumour", labels=(1, 2, 3)),
            Region(name="tumour core", labels=(1, 3)),
            Region(name="enhancing tumour", labels=(3,)),
        ),
    )


def _tolerant(metric: type[Metric], tolerance: float) -> Metric:
    return metric(tolerance=tolerance) if "tolerance" in metric.__dataclass_fields__ else metric()  # type: ignore[call-arg]


PRESETS: Mapping[str, Callable[[float], Definitions]] = MappingProxyType(
    {
        "default": default,
        "medpy": lambda _: medpy(),
        "monai": monai,
        "surface-distance": surface_distance,
        "lits": lambda _: lits(),
        "kits21": kits21,
        "brats-lesionwise": lambda _: brats_lesionwise(),
    }
)
"""What makes each set, given the tolerance in mm."""
