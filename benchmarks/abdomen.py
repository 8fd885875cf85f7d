"""CT-like volumes with one organ or several, and things that look like it: data for benchmarks, made in memory.

A body of smooth texture with noise holds a spine, bright bones, and many blobs that are as bright as the organ but have
at most a fiftieth of its volume: an organ is known by its size alone, so both near and far must be looked at.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
from torch.nn.functional import interpolate

AIR, TISSUE, ORGAN, BONE = -3.0, 0.0, 1.0, 3.0
NOISE, TEXTURE, COARSE = 0.35, 0.25, 20
RADII = (38.0, 49.7, 49.7)
"""Of an organ with 0.5 % of the voxels of 300 x 512 x 512."""
BODY = 0.45
"""Radii of the body in the slice, in sides of a whole image."""
BLOBS, BONES = 3e-6, 1.5e-6
"""How many there are in a voxel."""

Shape = tuple[int, int, int]
Point = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True, eq=False)
class Scene:
    """A volume: image (1, *space) float32, labels (*space) uint8."""

    image: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True, kw_only=True)
class Ellipsoid:
    """With its axes along those of the image, in voxels."""

    centre: Point
    radii: Point

    def paint(self, image: np.ndarray, value: float) -> None:
        box = self.box(image.shape)
        part = image[box]
        axes = np.ogrid[box]
        squared = sum(((a - c) / r) ** 2 for a, c, r in zip(axes, self.centre, self.radii, strict=True))
        part[squared < 1] = value

    def box(self, shape: tuple[int, ...]) -> tuple[slice, ...]:
        return tuple(
            slice(max(0, math.ceil(c - r)), max(0, min(n, math.floor(c + r) + 1)))
            for c, r, n in zip(self.centre, self.radii, shape, strict=True)
        )

    def meets(self, other: "Ellipsoid") -> bool:
        """Whether the boxes around both come within two voxels of each other."""
        pairs = zip(self.centre, other.centre, self.radii, other.radii, strict=True)
        return all(abs(a - b) < r + s + 2 for a, b, r, s in pairs)


@dataclass(frozen=True, kw_only=True)
class Body:
    """An elliptic cylinder along the first axis; its spine lies at the back (the high end of the second axis)."""

    centre: tuple[float, float]
    radii: tuple[float, float]

    @property
    def spine(self) -> Ellipsoid:
        return Ellipsoid(centre=(0.0, self.centre[0] + 0.62 * self.radii[0], self.centre[1]), radii=(1e9, 24.0, 20.0))

    def holds(self, blob: Ellipsoid) -> bool:
        """Whether a blob lies inside as a whole, away from the spine."""
        sides = zip(blob.centre[1:], self.centre, blob.radii[1:], self.radii, strict=True)
        return math.hypot(*((abs(x - c) + r) / own for x, c, r, own in sides)) < 1 and not blob.meets(self.spine)


def whole(shape: Shape, organs: int = 1, volume: float = 1.0, seed: int = 0) -> Scene:
    """An image of a whole body, with organs of `volume` times the usual volume."""
    rng = np.random.default_rng((seed, 0))
    body = Body(centre=(shape[1] / 2, shape[2] / 2), radii=(BODY * shape[1], BODY * shape[2]))
    radii = [(RADII[0] * s, RADII[1] * s, RADII[2] * s) for s in [volume ** (1 / 3)] * organs]
    return _drawn(shape, body, radii, rng)


def part(shape: Shape, size: Shape, seed: int) -> Scene:
    """A part of an image of `size` that holds one organ, of 0.7 to 1.4 times the usual volume."""
    rng = np.random.default_rng((seed, 1))
    _, y, x = (rng.uniform(-0.25, 0.25) * n + m / 2 for n, m in zip(size, shape, strict=True))
    a, b, c = np.exp(rng.uniform(-0.12, 0.12, 3)) * RADII
    body = Body(centre=(y, x), radii=(BODY * size[1], BODY * size[2]))
    return _drawn(shape, body, [(float(a), float(b), float(c))], rng)


def _drawn(shape: Shape, body: Body, organs: list[Point], rng: np.random.Generator) -> Scene:
    placed: list[Ellipsoid] = []
    for radii in organs:
        placed.append(_room(shape, body, radii, placed, rng))
    image = _tissue(shape, body, rng)
    body.spine.paint(image, BONE)
    for value, density, sizes in ((ORGAN, BLOBS, (4, 10)), (BONE, BONES, (5, 13))):
        for _ in range(round(density * math.prod(shape))):
            z, y, x = (float(rng.uniform(0, n)) for n in shape)
            a, b, c = (float(r) for r in rng.uniform(*sizes, 3))
            blob = Ellipsoid(centre=(z, y, x), radii=(a, b, c))
            if body.holds(blob) and not any(blob.meets(each) for each in placed):
                blob.paint(image, value)
    labels = np.zeros(shape, np.uint8)
    for each in placed:
        each.paint(image, ORGAN)
        each.paint(labels, 1)
    image += NOISE * rng.standard_normal(shape, np.float32)
    return Scene(image=image[None], labels=labels)


def _room(shape: Shape, body: Body, radii: Point, others: list[Ellipsoid], rng: np.random.Generator) -> Ellipsoid:
    """An organ at a random place, as a whole in the image and the body, that meets no other and not the spine."""
    for _ in range(10_000):
        z, y, x = (float(rng.uniform(r + 1, n - r - 2)) for r, n in zip(radii, shape, strict=True))
        organ = Ellipsoid(centre=(z, y, x), radii=radii)
        if body.holds(organ) and not any(organ.meets(each) for each in others):
            return organ
    raise SystemExit(f"an image of {shape} voxels has no room for an organ of radii {radii}")


def _tissue(shape: Shape, body: Body, rng: np.random.Generator) -> np.ndarray:
    points = rng.standard_normal([n // COARSE + 2 for n in shape]).astype(np.float32)
    smooth = interpolate(torch.from_numpy(points)[None, None], shape, mode="trilinear", align_corners=True)
    image: np.ndarray = TISSUE + TEXTURE * smooth[0, 0].numpy()
    y, x = np.ogrid[: shape[1], : shape[2]]
    outside = ((y - body.centre[0]) / body.radii[0]) ** 2 + ((x - body.centre[1]) / body.radii[1]) ** 2 >= 1
    image[:, outside] = AIR
    return image
