"""The anatomy of an abdomen-like phantom, drawn at random as plain data.

Everything in a phantom is a `Blob`: an ellipsoid with a wavy surface, painted over the ones before it.
Lengths are fractions of half the field of view, so that a plan renders on any grid and tumours keep their
share of the volume.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator

LIVER, TUMOUR = 1, 2

Triple = tuple[float, float, float]


@dataclass(frozen=True, kw_only=True)
class Wave:
    """Bumps on a surface: `height * prod_i sin(pace_i * u_i + phase_i)`, u in units of the radii."""

    height: float
    pace: Triple
    phase: Triple


@dataclass(frozen=True, kw_only=True)
class Blob:
    """An ellipsoid with a wavy surface, filled with one intensity.

    Attributes:
        centre: along x (right), y (anterior), z (superior); the field of view is [-1, 1] along each.
        radii: along its own axes; make the last one large for a tube.
        hu: intensity in Hounsfield units.
        angle: turn about z, in radians.
        waves: bumps that are added to the radius, relative to it.
        label: what the truth says about its voxels; 0 leaves them as they are.
        within_liver: it is painted only where the truth already says liver.
    """

    centre: Triple
    radii: Triple
    hu: float
    angle: float = 0.0
    waves: tuple[Wave, ...] = ()
    label: int = 0
    within_liver: bool = False


@dataclass(frozen=True, kw_only=True)
class PhantomPlan:
    """A whole phantom as plain data.

    Attributes:
        blobs: in painting order.
        noise: standard deviation of the acquisition noise in HU.
        seed: of the noise.
    """

    blobs: tuple[Blob, ...]
    noise: float
    seed: int


def draw(rng: Generator, tumours: Sequence[int] = range(6)) -> PhantomPlan:
    """Draw the anatomy of one phantom.

    Args:
        rng: the source of all its randomness.
        tumours: the numbers of tumours to choose from, equally likely.

    Returns:
        A plan whose tumours, if any, take up 0.01 % to 1 % of the field of view.
    """
    lobes = _lobes(rng)
    count = int(rng.choice(tumours))
    blobs = (*_trunk(rng), *_organs(rng), *lobes, *_in_liver(rng, lobes), *_tumours(rng, lobes, count))
    return PhantomPlan(blobs=blobs, noise=float(rng.uniform(9, 16)), seed=int(rng.integers(2**31)))


def _near(rng: Generator, values: Triple, by: float) -> Triple:
    x, y, z = (np.asarray(values) + rng.uniform(-by, by, 3)).tolist()
    return x, y, z


def _scaled(rng: Generator, values: Triple, by: float = 0.12) -> Triple:
    x, y, z = (np.asarray(values) * rng.uniform(1 - by, 1 + by, 3)).tolist()
    return x, y, z


def _waves(rng: Generator, height: float, pace: float, count: int = 3) -> tuple[Wave, ...]:
    return tuple(
        Wave(
            height=float(rng.uniform(0.5, 1) * height),
            pace=_scaled(rng, (pace, pace, pace), 0.5),
            phase=_near(rng, (0.0, 0.0, 0.0), math.pi),
        )
        for _ in range(count)
    )


def _trunk(rng: Generator) -> list[Blob]:
    width, depth = rng.uniform(0.86, 0.95), rng.uniform(0.66, 0.78)
    fat = rng.uniform(0.05, 0.11)
    shape = _waves(rng, 0.02, 2.0)
    rings = ((0.0, -100.0), (fat, 55.0), (fat + 0.07, -90.0))
    trunk = [
        Blob(centre=(0.0, 0.0, 0.0), radii=(width - inset, depth - inset, 9.0), hu=hu, waves=shape)
        for inset, hu in rings
    ]
    inner, back = fat + 0.05, -depth + fat + 0.2
    for angle in np.linspace(0, 2 * math.pi, 14, endpoint=False) + rng.uniform(0, 0.4):
        x, y = (width - inner) * math.cos(angle), (depth - inner) * math.sin(angle)
        tilt = math.atan2(depth * math.cos(angle), -width * math.sin(angle))
        height = rng.uniform(-1, 1)
        trunk.append(Blob(centre=(x, y, height), radii=(0.085, 0.028, 0.28), hu=330.0, angle=tilt))
    muscles = [Blob(centre=(x, back, 0.0), radii=(0.2, 0.13, 9.0), hu=58.0) for x in (-0.2, 0.2)]
    spine = [
        Blob(centre=(0.0, back + 0.06, 0.0), radii=(0.14, 0.12, 9.0), hu=float(rng.uniform(180, 260))),
        Blob(centre=(0.0, back + 0.06, 0.0), radii=(0.11, 0.09, 9.0), hu=150.0),
        Blob(centre=(0.0, back - 0.09, 0.0), radii=(0.1, 0.06, 9.0), hu=300.0),
        Blob(centre=(0.0, back - 0.08, 0.0), radii=(0.05, 0.04, 9.0), hu=25.0),
    ]
    return [*trunk, *muscles, *spine]


def _organs(rng: Generator) -> list[Blob]:
    """Distractors; the gut and the spleen come close to the intensities of tumour and liver."""
    loops = [
        Blob(
            centre=(rng.uniform(-0.5, 0.3), rng.uniform(-0.1, 0.42), rng.uniform(-1.1, -0.35)),
            radii=_scaled(rng, (0.15, 0.12, 0.18), 0.3),
            hu=float(rng.uniform(20, 75)),
            waves=_waves(rng, 0.15, 3.0),
        )
        for _ in range(9)
    ]
    stomach = _near(rng, (-0.36, 0.26, 0.4), 0.06)
    bubble = (stomach[0], stomach[1] + 0.1, stomach[2])
    return [
        *loops,
        Blob(
            centre=stomach,
            radii=(0.24, 0.22, 0.42),
            hu=float(rng.uniform(15, 60)),
            waves=_waves(rng, 0.12, 2.0),
        ),
        Blob(centre=bubble, radii=_scaled(rng, (0.13, 0.07, 0.2), 0.3), hu=-880.0),
        Blob(
            centre=_near(rng, (-0.6, -0.16, 0.4), 0.05),
            radii=_scaled(rng, (0.16, 0.26, 0.42)),
            hu=float(rng.uniform(112, 132)),
            waves=_waves(rng, 0.1, 2.0),
        ),
        Blob(centre=_near(rng, (-0.38, -0.32, -0.35), 0.05), radii=_scaled(rng, (0.14, 0.13, 0.45)), hu=165.0),
        Blob(centre=_near(rng, (0.36, -0.34, -0.5), 0.05), radii=_scaled(rng, (0.14, 0.13, 0.42)), hu=165.0),
        Blob(centre=_near(rng, (-0.1, -0.2, 0.0), 0.02), radii=_scaled(rng, (0.075, 0.075, 9.0)), hu=170.0),
        Blob(centre=_near(rng, (0.12, -0.16, 0.0), 0.02), radii=_scaled(rng, (0.08, 0.06, 9.0)), hu=140.0),
    ]


def _lobes(rng: Generator) -> list[Blob]:
    """The right and the left lobe of the liver: the right one takes most of the volume."""
    hu, shape = float(rng.uniform(104, 118)), _waves(rng, 0.1, 2.2)
    right = Blob(
        centre=_near(rng, (0.42, 0.0, 0.22), 0.03),
        radii=_scaled(rng, (0.37, 0.42, 0.68), 0.08),
        hu=hu,
        angle=float(rng.uniform(-0.25, 0.1)),
        waves=shape,
        label=LIVER,
    )
    left = Blob(
        centre=_near(rng, (0.05, 0.3, 0.4), 0.04),
        radii=_scaled(rng, (0.36, 0.2, 0.36)),
        hu=hu,
        angle=float(rng.uniform(-0.3, 0.1)),
        waves=shape,
        label=LIVER,
    )
    return [right, left]


def _in_liver(rng: Generator, lobes: Sequence[Blob]) -> list[Blob]:
    """Enhanced vessels in the liver, and the gall bladder below it."""
    hu = float(rng.uniform(145, 170))
    x, y, z = lobes[0].centre
    vessels = [
        Blob(
            centre=_near(rng, (x - 0.08, y + 0.05, z), 0.16),
            radii=_scaled(rng, (0.2, 0.025, 0.05), 0.3),
            hu=hu,
            angle=float(rng.uniform(-math.pi, math.pi)),
            label=LIVER,
            within_liver=True,
        )
        for _ in range(5)
    ]
    bladder = Blob(centre=(x - 0.18, y + 0.28, z - 0.5), radii=_scaled(rng, (0.08, 0.1, 0.2)), hu=12.0)
    return [bladder, *vessels]


def _tumours(rng: Generator, lobes: Sequence[Blob], count: int) -> list[Blob]:
    if not count:
        return []
    total = math.exp(rng.uniform(math.log(4e-4), math.log(6e-3)))
    share = rng.uniform(0.4, 1, count)
    radii = np.cbrt(8 * total * share / share.sum() * 3 / (4 * math.pi))
    hu = float(rng.uniform(60, 70))
    return [_tumour(rng, lobes[int(rng.random() < 0.2)], float(radius), hu) for radius in radii]


def _tumour(rng: Generator, lobe: Blob, radius: float, hu: float) -> Blob:
    """A tumour somewhere in the inner part of a lobe, as far out as its size lets it lie within."""
    stretch = rng.uniform(0.8, 1.25, 3)
    stretch /= np.cbrt(stretch.prod())
    direction = rng.normal(size=3)
    reach = max(0.0, 0.8 - radius / min(lobe.radii)) * np.cbrt(rng.random())
    u = direction / np.linalg.norm(direction) * reach * np.asarray(lobe.radii)
    cos, sin = math.cos(lobe.angle), math.sin(lobe.angle)
    offset = np.array([cos * u[0] - sin * u[1], sin * u[0] + cos * u[1], u[2]])
    x, y, z = (np.asarray(lobe.centre) + offset).tolist()
    a, b, c = (radius * stretch).tolist()
    return Blob(
        centre=(x, y, z),
        radii=(a, b, c),
        hu=hu + float(rng.uniform(-3, 3)),
        angle=float(rng.uniform(-math.pi, math.pi)),
        waves=_waves(rng, 0.12, 2.5),
        label=TUMOUR,
        within_liver=True,
    )
