"""Pictures of surfaces, coloured by their distance to another one; a small renderer, for no display is needed."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from markupsafe import Markup
from numpy import ndarray

from edgewise.report.error_surface import Surface
from edgewise.report.panels import webp
from edgewise.types import Spacing

SIDE = 300
"""Pixels along a side of one view."""
FINER = 2
"""Rendered pixels for each one shown, along a side."""
DENSITY = 1.1
"""Samples of a face for each rendered pixel, along a side, at least: few enough to be fast, and no hole can be seen."""
RAMP = np.array([[242, 236, 218], [247, 196, 107], [236, 116, 52], [187, 31, 77], [110, 18, 110]], float)
MISSED = np.array([92.0, 104.0, 122.0])
VIEWERS = (("the left, the front and above", (-0.55, 0.75, 0.4)), ("the right, behind and below", (0.55, -0.75, -0.4)))
"""Where the viewer stands: in words, and as a direction from the structure in RAS+. The two stand opposite each other,
so that every face is turned to one of them."""
NICE = (1.0, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)


@dataclass(frozen=True, kw_only=True)
class Scale:
    """What the pictures of one class in one case share, so that they can be compared.

    Attributes:
        top: distance in mm of the last colour.
        clipped: some distances are larger.
        centre: the middle of all surfaces in mm.
        reach: half the side of a view in mm.
    """

    top: float
    clipped: bool
    centre: tuple[float, float, float]
    reach: float


def scale(surfaces: Sequence[Surface], reference: Surface, spacing: Spacing) -> Scale:
    """Colours and frame that fit every surface of one class in one case.

    Args:
        surfaces: of every run, with distances that are finite; those without faces count for nothing.
        reference: of the reference.
        spacing: voxel size in mm.

    Returns:
        Colours up to `last_colour`; a frame that holds all surfaces.
    """
    top = last_colour(surfaces, spacing)
    corners = np.concatenate([reference.vertices, *(surface.vertices for surface in surfaces)])
    low, high = corners.min(0), corners.max(0)
    centre = (low + high) / 2
    seen = [np.abs((corners - centre) @ _axes(place)[:, :2]).max() for _, place in VIEWERS]
    across, deep, high_up = centre.tolist()
    return Scale(
        top=top,
        clipped=any((surface.distances > top).any() for surface in surfaces),
        centre=(across, deep, high_up),
        reach=1.06 * float(max(seen)),
    )


def last_colour(surfaces: Sequence[Surface], spacing: Spacing) -> float:
    """The distance in mm of the last colour.

    A round number that 95 % of the distances do not exceed, and at least two voxels (by the middle one of their
    sizes), so that an error of one voxel never looks grave.
    """
    distances = np.concatenate([[0.0], *(surface.distances for surface in surfaces)])
    return _round_up(max(float(np.quantile(distances, 0.95)), 2 * sorted(spacing)[1]))


def picture(surface: Surface, reference: Surface, frame: Scale, title: str) -> Markup:
    """Two views of a surface as inline SVG, coloured by distance; grey where only the reference is.

    Args:
        surface: of the prediction.
        reference: of the reference.
        frame: from `scale`.
        title: text for those who cannot see it.
    """
    from PIL import Image

    views = [_render(surface, reference, frame, place) for _, place in VIEWERS]
    drawn = Image.fromarray(np.hstack(views)).resize((SIDE * len(views), SIDE), Image.Resampling.BOX)
    width = SIDE * len(views)
    length, pixels = _ruler(frame)
    return Markup(
        '<svg class="panel surface" role="img" aria-label="{}" viewBox="0 0 {} {}"><image width="{}" height="{}" '
        'href="{}"/><g class="ruler"><path d="M10 {}v5h{:.4g}v-5"/><text x="{:.4g}" y="{}">{} mm</text></g></svg>'
    ).format(title, width, SIDE, width, SIDE, webp(drawn), SIDE - 15, pixels, 17 + pixels, SIDE - 8, f"{length:g}")


def bar(frame: Scale) -> Markup:
    """The colours and their distances as inline SVG."""
    steps = 40
    shares = (np.arange(steps) + 0.5) / steps
    strips = "".join(
        f'<rect x="{10 + 200 * index / steps:g}" width="{200 / steps + 0.5:g}" height="12" '
        f'fill="#{red:02x}{green:02x}{blue:02x}"/>'
        for index, (red, green, blue) in enumerate(colours(shares).astype(int).tolist())
    )
    ticks = [(0.0, "0"), (0.5, f"{frame.top / 2:g}"), (1.0, ("≥ " if frame.clipped else "") + f"{frame.top:g} mm")]
    words = "".join(f'<text x="{10 + 200 * at:g}" y="27" text-anchor="middle">{text}</text>' for at, text in ticks)
    title = f"Colours from 0 to {frame.top:g} mm"
    return Markup(  # numbers only
        f'<svg class="bar" role="img" aria-label="{title}" viewBox="0 0 240 32">{strips}{words}</svg>'
    )


def colours(shares: ndarray) -> ndarray:
    """(n, 3) red, green, blue of shares of the scale."""
    place = np.clip(shares, 0, 1) * (len(RAMP) - 1)
    return np.stack([np.interp(place, np.arange(len(RAMP)), channel) for channel in RAMP.T], axis=1)


def _round_up(value: float) -> float:
    power = 10.0 ** math.floor(math.log10(value))
    return next(step * power for step in NICE if step * power >= value * (1 - 1e-9))


def _ruler(frame: Scale) -> tuple[float, float]:
    """A round length of at most a quarter of a view, in mm and in pixels."""
    quarter = frame.reach / 2
    power = 10.0 ** math.floor(math.log10(quarter))
    length = max(step * power for step in (1.0, 2.0, 5.0) if step * power <= quarter)
    return length, length * SIDE / (2 * frame.reach)


def _axes(place: tuple[float, float, float]) -> ndarray:
    """Columns: to the right in the picture, upwards in it, towards the viewer; all of length 1."""
    towards = np.array(place) / np.linalg.norm(place)
    right = np.cross((0, 0, 1), towards)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(towards, right), towards], axis=1)


def _render(surface: Surface, reference: Surface, frame: Scale, place: tuple[float, float, float]) -> ndarray:
    face, light, distance = _visible(surface, frame, _axes(place))
    behind, its_light, _ = _visible(reference, frame, _axes(place))
    drawn = np.zeros((*face.shape, 3))
    missed = (face < 0) & (behind >= 0)
    drawn[missed] = MISSED * its_light[missed, None]
    shown = face >= 0
    drawn[shown] = colours(distance[shown] / frame.top) * light[shown, None]
    return drawn.astype(np.uint8)


def _visible(surface: Surface, frame: Scale, axes: ndarray) -> tuple[ndarray, ndarray, ndarray]:
    """For every pixel the face that is nearest to the viewer, -1 for none; how light, and how far off it is there."""
    side = SIDE * FINER
    points = (surface.vertices - np.array(frame.centre)) @ axes / frame.reach
    points[:, :2] = (points[:, :2] * (1, -1) + 1) * side / 2
    nearest = np.full(side * side, -1, np.int64)
    fields = np.stack([_light(surface, axes), surface.at_vertices()], axis=1)
    faces, values, count = [], [], 0
    for chosen, weights in _samples(surface, points, axes):
        corners = surface.faces[chosen]
        x, y, depth = np.moveaxis(weights @ points[corners], 2, 0)
        pixel = np.clip(y, 0, side - 1).astype(np.int64) * side + np.clip(x, 0, side - 1).astype(np.int64)
        numbers = count + np.arange(pixel.size).reshape(pixel.shape)
        order = ((depth + 2) * (1 << 20)).astype(np.int64) << 40
        np.maximum.at(nearest, pixel.ravel(), (order | numbers).ravel())
        faces.append(np.repeat(chosen, len(weights)))
        values.append((weights @ fields[corners]).reshape(-1, 2))
        count += pixel.size
    winner = np.where(nearest < 0, count, nearest & ((1 << 40) - 1))
    face = np.concatenate([*faces, [-1]])[winner].astype(np.int64)
    light, distance = np.concatenate([*values, [[0.0, 0.0]]])[winner].T.reshape(2, side, side)
    return face.reshape(side, side), light, distance


def _samples(surface: Surface, points: ndarray, axes: ndarray) -> Iterator[tuple[ndarray, ndarray]]:
    """Faces turned to the viewer, by how many points they need, and the weights of their corners at each point."""
    towards = np.flatnonzero(_normals(surface) @ axes[:, 2] > 0)
    corners = points[surface.faces[towards], :2]
    sides = np.linalg.norm(corners - np.roll(corners, -1, axis=1), axis=2)
    needed = np.maximum(np.stack([np.maximum(sides[:, 0], sides[:, 2]), np.maximum(sides[:, 1], sides[:, 3])]), 0.5)
    steps = 2 ** np.ceil(np.log2(needed * DENSITY)).astype(int).clip(0, 10)
    for first, second in np.unique(steps, axis=1).T.tolist():
        chosen = towards[(steps[0] == first) & (steps[1] == second)]
        s, t = ((np.arange(count) + 0.5) / count for count in (first, second))
        s, t = (grid.ravel() for grid in np.meshgrid(s, t))
        yield chosen, np.stack([(1 - s) * (1 - t), s * (1 - t), s * t, (1 - s) * t], axis=1)


def _normals(surface: Surface) -> ndarray:
    """(m, 3) outwards, as long as twice the area of the face."""
    corners = surface.vertices[surface.faces]
    return np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])


def _light(surface: Surface, axes: ndarray) -> ndarray:
    """How light each vertex is, 0.3 to 1: the lamp is near the viewer, to the upper right."""
    normals = np.repeat(_normals(surface), 4, axis=0)
    corner = surface.faces.ravel()
    sums = [np.bincount(corner, normals[:, axis], len(surface.vertices)) for axis in range(3)]
    summed = np.stack(sums, axis=1)
    lamp = axes @ np.array([0.35, 0.45, 0.82])
    length = np.maximum(np.linalg.norm(summed, axis=1), 1e-9)
    lit: ndarray = 0.3 + 0.7 * np.clip(summed @ lamp / length, 0, 1)
    return lit
