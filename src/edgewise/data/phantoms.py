"""Abdomen-like CT volumes with known truth: a liver with small tumours, for demonstrations and tests.

`draw` makes a plan (plain data), `render` samples it on a grid, `write_dataset` writes a labelled dataset.
"""

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from scipy.ndimage import gaussian_filter

from edgewise.data.anatomy import LIVER, TUMOUR, Blob, PhantomPlan, draw
from edgewise.data.case import Case, Grid
from edgewise.errors import ShapeError, SpacingError
from edgewise.files import atomic, output_folder, write_json
from edgewise.types import Affine, Field, Labels, Spacing

__all__ = ["CLASSES", "PhantomPlan", "draw", "render", "write_dataset"]

CLASSES = ("background", "liver", "tumour")
AIR = -1000.0
TUMOUR_FREE = (1, 16)
"""Cases of a written dataset without a tumour; fixed, so that a longer dataset begins like a shorter one."""
FINE = 2
"""Fine voxels along each edge of a voxel: tissue fractions (partial volume) and truth come from them."""


def render(plan: PhantomPlan, shape: tuple[int, int, int], spacing: Spacing) -> Case:
    """Sample a plan on a grid; equal arguments give equal voxels.

    Intensities are tissue fractions times their HU, blurred by half a voxel, plus slightly correlated noise.

    Args:
        plan: what to render.
        shape: voxels along x, y, z.
        spacing: voxel size along x, y, z in mm.

    Returns:
        image (1, x, y, z) float32 with whole HU in [-1024, 3071]; labels (x, y, z) uint8: 0 background,
        1 liver, 2 tumour, each voxel by the majority of its fine voxels.

    Raises:
        ShapeError: `shape` is not three positive sizes.
        SpacingError: `spacing` is not three positive sizes.
    """
    if min(shape) < 1:
        raise ShapeError(f"a phantom cannot have the shape {shape}: pass three positive sizes, (x, y, z).")
    if len(spacing) != 3 or not all(0 < size < math.inf for size in spacing):
        raise SpacingError(f"a phantom cannot have the spacing {spacing}: pass three positive sizes in mm.")
    hu, truth = _paint(plan.blobs, tuple(size * FINE for size in shape))
    tumour, foreground = _fraction(truth == TUMOUR), _fraction(truth != 0)
    labels = np.where(tumour >= 0.5, TUMOUR, np.where(foreground >= 0.5, LIVER, 0)).astype(np.uint8)
    image = gaussian_filter(_fraction(hu), 0.5, mode="nearest") + _noise(plan, shape)
    affine = _centred(shape, spacing)
    return Case(
        id="phantom",
        image=np.clip(np.rint(image), -1024, 3071).astype(np.float32)[None],
        labels=labels,
        spacing=tuple(float(size) for size in spacing),
        affine=affine,
        grid=Grid(path=Path("phantom.nii.gz"), shape=tuple(shape), affine=affine),
    )


def write_dataset(
    folder: Path,
    cases: int = 20,
    seed: int = 0,
    shape: tuple[int, int, int] = (96, 96, 40),
    spacing: Spacing = (3.0, 3.0, 5.0),
) -> None:
    """Write a labelled dataset of phantoms in nnU-Net's raw layout (`imagesTr`, `labelsTr`, `dataset.json`).

    The first n cases do not depend on how many follow. Cases 2 and 17 have no tumour, every
    other has 1 to 5.

    Args:
        folder: created if absent; files of the same names are replaced.
        cases: how many.
        seed: of all of them.
        shape: voxels along x, y, z.
        spacing: voxel size in mm; each case varies it by up to 10 %, in the slice plane and across.

    Raises:
        OutputError: the folder cannot be written.
    """
    output_folder(folder)
    for index in range(cases):
        rng = np.random.default_rng([seed, index])
        plan = draw(rng, (0,) if index in TUMOUR_FREE else range(1, 6))
        plane, across = rng.uniform(0.9, 1.1, 2).round(3).tolist()
        case = render(plan, shape, (spacing[0] * plane, spacing[1] * plane, spacing[2] * across))
        name = f"phantom_{index + 1:03d}"
        _save(folder / "imagesTr" / f"{name}_0000.nii.gz", case.image[0].astype(np.int16), case.affine)
        _save(folder / "labelsTr" / f"{name}.nii.gz", np.asarray(case.labels), case.affine)
    write_json(
        folder / "dataset.json",
        {
            "name": "Phantoms",
            "description": "Synthetic abdominal CT: liver and liver tumours with known truth.",
            "channel_names": {"0": "CT"},
            "labels": {name: value for value, name in enumerate(CLASSES)},
            "numTraining": cases,
            "file_ending": ".nii.gz",
        },
    )


def _paint(blobs: Sequence[Blob], shape: tuple[int, ...]) -> tuple[Field, Labels]:
    hu = np.full(shape, AIR, np.float32)
    truth = np.zeros(shape, np.uint8)
    for blob in blobs:
        box = _box(blob, shape)
        inside = _inside(blob, box, shape)
        if blob.within_liver:
            inside &= truth[box] != 0
        hu[box][inside] = blob.hu
        truth[box][inside] = blob.label
    return hu, truth


def _box(blob: Blob, shape: tuple[int, ...]) -> tuple[slice, slice, slice]:
    swell = 1 + sum(wave.height for wave in blob.waves)
    in_plane = max(blob.radii[:2])
    ranges = []
    for centre, radius, size in zip(blob.centre, (in_plane, in_plane, blob.radii[2]), shape, strict=True):
        ends = [(centre + sign * radius * swell + 1) / 2 * size for sign in (-1, 1)]
        ranges.append(slice(max(0, math.floor(ends[0])), min(size, max(0, math.ceil(ends[1])))))
    return ranges[0], ranges[1], ranges[2]


def _inside(blob: Blob, box: Sequence[slice], shape: tuple[int, ...]) -> np.ndarray:
    x, y, z = (
        ((np.arange(part.start, part.stop, dtype=np.float32) + 0.5) * 2 / size - 1 - centre).astype(np.float32)
        for part, size, centre in zip(box, shape, blob.centre, strict=True)
    )
    cos, sin = math.cos(blob.angle), math.sin(blob.angle)
    a = (cos * x[:, None] + sin * y[None]) / blob.radii[0]
    b = (-sin * x[:, None] + cos * y[None]) / blob.radii[1]
    squared = (a * a + b * b)[:, :, None] + (z / blob.radii[2]) ** 2
    edge = np.ones((), np.float32)
    for wave in blob.waves:
        plane = np.sin(wave.pace[0] * a + wave.phase[0]) * np.sin(wave.pace[1] * b + wave.phase[1])
        along = np.sin(wave.pace[2] * z / blob.radii[2] + wave.phase[2])
        edge = edge + (wave.height * plane[:, :, None] * along).astype(np.float32)
    result: np.ndarray = squared < edge * edge
    return result


def _fraction(fine: np.ndarray) -> Field:
    """Mean of the fine voxels in each voxel, float32."""
    x, y, z = (size // FINE for size in fine.shape)
    mean: Field = fine.reshape(x, FINE, y, FINE, z, FINE).mean((1, 3, 5), dtype=np.float32)
    return mean


def _noise(plan: PhantomPlan, shape: Sequence[int]) -> Field:
    rng = np.random.default_rng(plan.seed)
    noise = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), (0.7, 0.7, 0.3), mode="wrap")
    scaled: Field = noise * (plan.noise / noise.std())
    return scaled


def _centred(shape: Sequence[int], spacing: Spacing) -> Affine:
    affine = np.diag([*spacing, 1.0]).astype(np.float64)
    affine[:3, 3] = [-(size - 1) / 2 * step for size, step in zip(shape, spacing, strict=True)]
    return affine


def _save(path: Path, array: np.ndarray, affine: Affine) -> None:
    import nibabel

    image = nibabel.Nifti1Image(array, affine)  # type: ignore[no-untyped-call]
    image.header.set_xyzt_units("mm")  # type: ignore[no-untyped-call]
    with atomic(path) as temporary:
        nibabel.save(image, temporary)
