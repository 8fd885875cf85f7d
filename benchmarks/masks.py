"""Label maps that look like organs and lesions, from smoothed noise with a fixed seed: data for benchmarks."""

import numpy as np
from scipy import ndimage


def noise(shape: tuple[int, ...], coarse: int, seed: int) -> np.ndarray:
    """Smooth noise of unit scale: `coarse` voxels between its random control points."""
    rng = np.random.default_rng(seed)
    points = rng.standard_normal([max(2, size // coarse) + 1 for size in shape]).astype(np.float32)
    factors = [size / count for size, count in zip(shape, points.shape, strict=True)]
    return ndimage.zoom(points, factors, order=1, grid_mode=True, mode="nearest")


def organs(shape: tuple[int, ...], classes: int, seed: int = 0, coarse: int = 24) -> np.ndarray:
    """Classes that fill the field: at each voxel the one whose noise is largest. All are large and many-lobed."""
    best, labels = noise(shape, coarse, seed), np.zeros(shape, np.uint8)
    for each in range(1, classes):
        field = noise(shape, coarse, seed + each)
        np.copyto(labels, each, where=field > best)
        np.maximum(best, field, out=best)
    return labels


def kidneys(shape: tuple[int, ...] = (100, 512, 512), seed: int = 0) -> np.ndarray:
    """Two kidneys with a tumour, about 2 % of a CT."""
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, size, dtype=np.float32) for size in shape], indexing="ij", sparse=True)
    rough = 0.15 * noise(shape, 16, seed)
    labels = np.zeros(shape, np.uint8)
    for centre in (-0.35, 0.35):
        labels[((x - centre) / 0.16) ** 2 + ((y - 0.2) / 0.2) ** 2 + (z / 0.6) ** 2 + rough < 1] = 1
    labels[((x - 0.4) / 0.07) ** 2 + ((y - 0.1) / 0.08) ** 2 + ((z - 0.1) / 0.2) ** 2 + rough < 1] = 2
    return labels


def lesions(shape: tuple[int, ...], count: int, seed: int = 0) -> np.ndarray:
    """About `count` separate lesions of one class, of radius 3 to 12 voxels."""
    rng = np.random.default_rng(seed)
    labels = np.zeros(shape, np.uint8)
    for _ in range(count):
        radius = rng.uniform(3, 12)
        centre = [int(rng.integers(14, size - 14)) for size in shape]
        box = tuple(slice(c - 13, c + 14) for c in centre)
        z, y, x = np.ogrid[-13:14, -13:14, -13:14]
        labels[box][z**2 + y**2 + x**2 < radius**2] = 1
    return labels
