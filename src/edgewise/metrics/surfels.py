"""Sizes of the surface elements of marching cubes: areas in 3D, lengths of contours in 2D."""

from collections.abc import Iterator
from functools import cache
from itertools import product
from typing import TypeAlias

import numpy as np
from numpy import ndarray

from edgewise.types import Spacing

Point: TypeAlias = tuple[int | float, ...]
Square: TypeAlias = list[Point]
Loop: TypeAlias = list[Point]
_AROUND: Square = [(0, 0), (0, 1), (1, 1), (1, 0)]
_CORNERS = {ndim: list(product((0, 1), repeat=ndim)) for ndim in (2, 3)}


@cache
def sizes(spacing: Spacing) -> ndarray:
    """What the surface element between 4 (2D) or 8 (3D) voxels measures, by which of them are inside.

    Polygons run through the middles of the edges between an inside and an outside voxel. Voxels that touch only
    diagonally on a face are apart: the inside ones where up to four are inside, else the outside ones. A polygon
    that is not flat is cut into the triangles whose total area is largest for cubic voxels. With these three rules
    every one of the 256 areas equals that of DeepMind's surface-distance, whose table states no rule.

    Args:
        spacing: voxel size along each axis, in mm.

    Returns:
        (16,) lengths in mm or (256,) areas in mm², by the sum of $2^b$ over the voxels $b$ inside, in C order;
        0 where none or all are.

    Source: Lorensen & Cline 1987, doi:10.1145/37402.37422; Nikolov et al. 2021, doi:10.2196/26151.
    """
    codes, points = _segments() if len(spacing) == 2 else _triangles()
    found = np.bincount(codes, _extent(points * np.asarray(spacing)), minlength=2**2 ** len(spacing))
    found.setflags(write=False)
    return found


def _extent(points: ndarray) -> ndarray:
    """Lengths of segments (n, 2, 2), areas of triangles (n, 3, 3)."""
    sides = points[:, 1:] - points[:, :1]
    across = sides[:, 0] if sides.shape[1] == 1 else np.cross(sides[:, 0], sides[:, 1]) / 2
    extent: ndarray = np.linalg.norm(across, axis=-1)
    return extent


@cache
def _segments() -> tuple[ndarray, ndarray]:
    """The segments of all configurations: whose each is, and its two ends."""
    found = [(code, segment) for code in range(16) for segment in _cuts(_AROUND, _inside(code, 2))]
    return np.array([code for code, _ in found]), np.array([segment for _, segment in found])


@cache
def _triangles() -> tuple[ndarray, ndarray]:
    """The triangles of all configurations: whose each is, and its three corners."""
    few = [code for code in range(256) if code.bit_count() <= 4]
    found = [(code, part) for code in few for loop in _loops(_inside(code, 3)) for part in _triangulated(loop)]
    found += [(255 - code, part) for code, part in found if code.bit_count() < 4]
    return np.array([code for code, _ in found]), np.array([part for _, part in found])


def _inside(code: int, ndim: int) -> set[Point]:
    return {corner for bit, corner in enumerate(_CORNERS[ndim]) if code >> bit & 1}


def _cuts(square: Square, inside: set[Point]) -> list[tuple[Point, Point]]:
    """Segments between the middles of the sides of a square; inside corners diagonal to each other are apart."""
    middles = [_middle(square[i - 1], square[i]) for i in range(4)]
    state = [corner in inside for corner in square]
    crossed = [i for i in range(4) if state[i - 1] != state[i]]
    if len(crossed) == 4:
        return [(middles[i], middles[(i + 1) % 4]) for i in range(4) if state[i]]
    return [(middles[crossed[0]], middles[crossed[1]])] if crossed else []


def _middle(one: Point, other: Point) -> Point:
    return tuple((a + b) / 2 for a, b in zip(one, other, strict=True))


def _faces() -> Iterator[Square]:
    for axis, side in product(range(3), (0, 1)):
        yield [(*pair[:axis], side, *pair[axis:]) for pair in _AROUND]


def _loops(inside: set[Point]) -> Iterator[Loop]:
    """The closed polygons that the segments of the six faces make."""
    following: dict[Point, list[Point]] = {}
    for face in _faces():
        for one, other in _cuts(face, inside):
            following.setdefault(one, []).append(other)
            following.setdefault(other, []).append(one)
    while following:
        loop = [next(iter(following))]
        while ahead := [point for point in following.pop(loop[-1]) if point in following]:
            loop.append(ahead[0])
        yield loop


def _triangulated(loop: Loop) -> list[Loop]:
    ways = list(_triangulations(loop))
    areas = _extent(np.array(ways).reshape(-1, 3, 3)).reshape(len(ways), -1).sum(axis=1)
    return ways[int(areas.round(9).argmax())]


def _triangulations(loop: Loop) -> Iterator[list[Loop]]:
    """Every way to cut a polygon into triangles: one of them holds its first and last corner."""
    if len(loop) < 3:
        yield []
    for k in range(1, len(loop) - 1):
        for left, right in product(_triangulations(loop[: k + 1]), _triangulations(loop[k:])):
            yield [*left, [loop[0], loop[k], loop[-1]], *right]
