"""The tools whose numbers the presets repeat, each called as its users do, and pairs of masks to compare them on."""

from collections.abc import Iterator
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.distance import cdist

DATA = Path(__file__).parents[2] / "../shared/data"
"""Real masks; never in the repository."""
SPACINGS = {2: ((1.0, 1.0), (2.0, 0.7)), 3: ((1.0, 1.0, 1.0), (2.5, 0.8, 0.8), (0.7, 0.365, 1.1))}


def noise(shape, seed, share=0.3):
    """Two unrelated masks of random voxels: border everywhere."""
    rng = np.random.default_rng(seed)
    return rng.random(shape) < share, rng.random(shape) < share


def blobs(shape, seed):
    """Smooth structures, and the same moved, thinner, and with a false one: what predictions are like."""
    rng = np.random.default_rng(seed)
    field = ndimage.gaussian_filter(rng.standard_normal(shape), 2.0, mode="constant")
    reference = field > np.quantile(field, 0.85)
    moved = np.roll(reference, tuple(rng.integers(0, 3, len(shape))), range(len(shape)))
    prediction = moved & (ndimage.gaussian_filter(rng.standard_normal(shape), 1.0) > -0.2)
    prediction[tuple(slice(0, 3) for _ in shape)] = True
    return prediction, reference


def pairs(dimensions: int) -> Iterator[tuple[np.ndarray, np.ndarray, tuple[float, ...]]]:
    """(prediction, reference, spacing), on images of several shapes, some structures cut by the image's edge."""
    shapes = {2: ((24, 31), (40, 17)), 3: ((14, 17, 12), (9, 20, 21))}[dimensions]
    for seed, shape in enumerate(shapes):
        for spacing in SPACINGS[dimensions]:
            yield *noise(shape, seed), spacing
            yield *noise(shape, seed + 10, share=0.02), spacing
            yield *blobs(shape, seed + 20), spacing


def medpy(prediction, reference, spacing):
    from medpy.metric import binary

    directed = [binary.asd(*masks, spacing) for masks in ((prediction, reference), (reference, prediction))]
    return {
        "dice": binary.dc(prediction, reference),
        "jaccard": binary.jc(prediction, reference),
        "sensitivity": binary.sensitivity(prediction, reference),
        "precision": binary.precision(prediction, reference),
        "specificity": binary.specificity(prediction, reference),
        "rvd": binary.ravd(prediction, reference),
        "hd95": binary.hd95(prediction, reference, spacing),
        "hd": binary.hd(prediction, reference, spacing),
        "assd": binary.assd(prediction, reference, spacing),
        "masd": float(np.mean(directed)),
    }


def lits_liver(prediction, reference, spacing):
    """What the scoring script of LiTS measures of a liver, by brute force: every pair of border voxels."""
    structure = ndimage.generate_binary_structure(prediction.ndim, 2)
    points = [
        np.argwhere(mask & ~ndimage.binary_erosion(mask, structure)) * np.array(spacing)
        for mask in (prediction, reference)
    ]
    distances = cdist(*points)
    both = np.concatenate([distances.min(0), distances.min(1)])
    shared, union = (prediction & reference).sum(), (prediction | reference).sum()
    return {
        "dice": 2 * shared / (prediction.sum() + reference.sum()),
        "jaccard": shared / union,
        "voe": 1 - shared / union,
        "rvd": (reference.sum() - prediction.sum()) / prediction.sum(),
        "assd": both.mean(),
        "rmsd": np.sqrt((both**2).mean()),
        "msd": both.max(),
    }


def monai(prediction, reference, spacing, tolerance=2.0):
    import torch
    from monai import metrics

    pair = [torch.from_numpy(np.stack([~mask, mask])[None].astype(np.float32)) for mask in (prediction, reference)]
    found = {
        "dice": metrics.compute_dice(*pair, include_background=False),
        "jaccard": metrics.compute_iou(*pair, include_background=False),
        "hd95": metrics.compute_hausdorff_distance(*pair, percentile=95, spacing=spacing),
        "hd": metrics.compute_hausdorff_distance(*pair, spacing=spacing),
        "assd": metrics.compute_average_surface_distance(*pair, symmetric=True, spacing=spacing),
        "nsd": metrics.compute_surface_dice(*pair, class_thresholds=[tolerance], spacing=spacing),
    }
    return {column: float(value) for column, value in found.items()}


def surface_distance(prediction, reference, spacing, tolerance=2.0):
    import surface_distance as tool

    distances = tool.compute_surface_distances(reference, prediction, spacing)
    return {
        "dice": tool.compute_dice_coefficient(reference, prediction),
        "hd95": tool.compute_robust_hausdorff(distances, 95),
        "hd": tool.compute_robust_hausdorff(distances, 100),
        "masd": float(np.mean(tool.compute_average_surface_distance(distances))),
        "nsd": tool.compute_surface_dice_at_tolerance(distances, tolerance),
    }


def read(path: Path) -> tuple[np.ndarray, tuple[float, ...]]:
    """Labels and voxel size of a NIfTI file, in stored order."""
    image = nib.load(path)
    return np.asanyarray(image.dataobj), tuple(float(size) for size in image.header.get_zooms())


def lits_pair(number):
    """A submission of the LiTS scoring example: (predicted labels, reference labels, spacing)."""
    folder = DATA / "masks_lits_scoring"
    prediction, _ = read(folder / f"submission-{number}.nii.gz")
    return _cropped(prediction, *read(folder / f"reference-{number}.nii.gz"))


def kits_pair(name):
    """A kidney with its tumour, and the same moved and thinner."""
    reference, spacing = read(DATA / "masks_kits19" / f"{name}_segmentation.nii.gz")
    moved = np.roll(reference, (1, 3, -2), (0, 1, 2))
    return _cropped(np.where(ndimage.binary_erosion(moved > 0), moved, 0), reference, spacing)


def _cropped(prediction, reference, spacing):
    """The box around both with a margin: what lies further away takes the tools time and changes nothing."""
    used = np.argwhere((prediction > 0) | (reference > 0))
    box = tuple(slice(max(int(low) - 2, 0), int(high) + 3) for low, high in zip(used.min(0), used.max(0), strict=True))
    return prediction[box].astype(np.uint8), reference[box].astype(np.uint8), spacing
