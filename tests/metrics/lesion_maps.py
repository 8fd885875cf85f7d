"""Label maps with many lesions, from whole numbers alone, so that they are the same on every machine."""

import numpy as np

SPACINGS = ((1.0, 1.0, 1.0), (2.5, 0.75, 0.75), (0.875, 1.125, 3.0))


def lesion_maps(seed):
    """A predicted and a reference label map (labels 0 to 3) and their spacing; every fifth seed has a special pair."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(size) for size in rng.integers(24, 40, 3))
    reference, prediction = np.zeros(shape, np.uint8), np.zeros(shape, np.uint8)
    for _ in range(int(rng.integers(2, 9))):
        centre, radii, label = rng.integers(0, shape), rng.integers(1, 6, 3), int(rng.integers(1, 4))
        shift, growth, fate = rng.integers(-2, 3, 3), rng.integers(-1, 2, 3), int(rng.integers(0, 10))
        if fate != 0:  # else false
            reference[ball(shape, centre, radii)] = label
        if fate != 1:  # else missed
            prediction[ball(shape, centre + shift, np.maximum(radii + growth, 1))] = label if fate != 2 else 2
    prediction[rng.integers(0, 8000, shape) == 0] = 3  # speckles
    reference[rng.integers(0, 12000, shape) == 0] = 3
    if seed % 5 == 0:
        special(seed // 5 % 4, prediction, reference)
    return prediction, reference, SPACINGS[seed % 3]


def ball(shape, centre, radii):
    """Voxels of an ellipsoid."""
    axes = np.ogrid[tuple(slice(0, size) for size in shape)]
    common = int(np.prod(radii)) ** 2
    return (
        sum((axis - c) ** 2 * (common // int(r) ** 2) for axis, c, r in zip(axes, centre, radii, strict=True)) <= common
    )


def special(which, prediction, reference):
    """Nothing predicted; nothing there; tiny lesions only, found; tiny lesions only, missed."""
    if which == 0:
        prediction[:] = 0
    if which == 1:
        reference[:] = 0
    if which >= 2:
        reference[:] = prediction[:] = 0
        reference[3:5, 3:5, 3:5] = reference[12:14, 12, 12] = 3
    if which == 2:
        prediction[3:5, 3:5, 3] = prediction[13, 12, 12] = 1
