"""Sign flips and the two-level bootstrap: patients are resampled, and within each method its seeds.

All functions work on many vectors of differences at once, so that their calibration can be shown by simulation.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float
from numpy import ndarray
from scipy import special

RESAMPLES = 10_000
SEED = 0
LEVEL = 0.95
COUNTABLE = 13
"""Up to this many groups all sign flips are counted: 8,192."""
BLOCK = 200_000
"""Random numbers held at a time, so that memory does not grow with the number of cases."""

Vector = Float[ndarray, " n"]
Each = Float[ndarray, " k"]
Vectors = Float[ndarray, "k n"]
Draws = Float[ndarray, "k resamples"]
Side = Float[ndarray, "*k _seeds n"]


@dataclass(frozen=True, kw_only=True)
class SeedEffects:
    r"""What the seeds of the methods add to the uncertainty of a mean (or of a difference of means).

    With seeds $s$ and groups $g$ crossed, $x_{sg}$ is a mean, an effect of the group, an effect of the seed and a
    rest. The rest is in the spread of the group means already, so only the part of the seed means' variance that the
    rest does not explain counts: $v = \max(0, \sum_m \hat\sigma^2_m / S_m)$ by the analysis of variance, as for
    readers in studies of several readers and cases. Without this correction a nested bootstrap counts the rest twice
    and its intervals are far too wide when two methods are alike.

    Attributes:
        effects: for each method the (k, seeds) effects that are resampled, scaled to that variance.
        counts: how many of them are drawn: the number of seeds of the method.
        variance: (k,) the sum of the variances of the methods' seed means.
        freedom: (k,) degrees of freedom of `variance` (Satterthwaite).

    Source: Davison & Hinkley 1997, Bootstrap Methods, §3.8 (shrunken resampling); Hillis 2007, doi:10.1002/sim.2532
    (readers and cases); Satterthwaite 1946, doi:10.2307/3002019.
    """

    effects: tuple[Float[ndarray, "k _seeds"], ...]
    counts: tuple[int, ...]
    variance: Each
    freedom: Each

    @property
    def present(self) -> bool:
        """Whether any method has several seeds."""
        return bool(self.effects)


def seed_effects(sides: Sequence[Side]) -> SeedEffects:
    """Estimate what seeds add; a method with one seed borrows the effects of the other one.

    Args:
        sides: for each method (seeds, groups), or (k, seeds, groups) for many comparisons at once.
    """
    tables = [side if side.ndim == 3 else side[None] for side in sides]
    known = [_spread(table) for table in tables if table.shape[1] > 1]
    if not known:
        none = np.zeros(len(tables[0]))
        return SeedEffects(effects=(), counts=(), variance=none, freedom=none + np.inf)
    each = [_spread(table) if table.shape[1] > 1 else known[0] for table in tables]
    counts = tuple(table.shape[1] for table in tables)
    raw = np.array([between / n for (_, between, _), n in zip(each, counts, strict=True)])
    rest = np.array([within / n for (_, _, within), n in zip(each, counts, strict=True)])
    total = raw.sum(axis=0)
    kept = np.maximum(total - rest.sum(axis=0), 0.0)
    share = np.sqrt(np.divide(kept, total, out=np.zeros_like(total), where=total > 0))
    seeds = [effects.shape[1] for effects, _, _ in each]
    # Of the spread around a mean of S seeds 1/S is lost: it is given back, so that the resampled variance is right.
    effects = tuple(e * (share * np.sqrt(s / (s - 1)))[:, None] for (e, _, _), s in zip(each, seeds, strict=True))
    squares = (raw**2 / (np.array(seeds)[:, None] - 1)).sum(axis=0)
    borrowed = len(known) < len(tables)
    freedom = np.divide(total**2, squares, out=np.full_like(total, np.inf), where=squares > 0)
    freedom = np.minimum(freedom, seeds[0] - 1) if borrowed else freedom
    return SeedEffects(effects=effects, counts=counts, variance=kept, freedom=freedom)


def trust_in_skewness(vectors: Vectors) -> Each:
    r"""How far the skewness of each vector exceeds its own standard error: $1 - \sum d^6 / (\sum d^3)^2$, at least 0.

    Differences of two methods on the same cases are nearly symmetric with heavy tails, and then the skewness of a
    sample is noise from one or two cases, by which BCa moves its interval to the wrong side.

    Args:
        vectors: (k, n) of n groups each.

    Returns:
        0 where one case makes all the skewness, near 1 where many do.
    """
    deviations = vectors - vectors.mean(axis=1, keepdims=True)
    largest = np.abs(deviations).max(axis=1, keepdims=True)
    cubes = np.divide(deviations, largest, out=np.zeros_like(deviations), where=largest > 0) ** 3
    whole = cubes.sum(axis=1) ** 2
    noise = np.divide((cubes**2).sum(axis=1), whole, out=np.ones_like(whole), where=whole > 0)
    return np.asarray(np.maximum(0.0, 1.0 - noise))


def interval(vector: Vector, noise: SeedEffects, trust: float) -> tuple[float, float]:
    """95 % confidence interval of the mean of one vector: see `intervals`."""
    low, high = intervals(vector[None], noise, np.array([trust]))
    return float(low[0]), float(high[0])


def intervals(vectors: Vectors, noise: SeedEffects, trust: Each) -> tuple[Each, Each]:
    """95 % BCa bootstrap intervals of the means of many vectors.

    The resampled deviations are stretched by sqrt(n / (n - 1)), and the tails are those of Student's t with the
    degrees of freedom of the whole variance: plain BCa intervals are too narrow for few groups.

    Args:
        vectors: (k, n) of n groups each.
        noise: of the seeds, for the same k vectors.
        trust: (k,) how far the two corrections for skewness count: 1 is BCa, 0 the percentiles.

    Returns:
        Lower and upper ends; both the mean where a vector has no spread and its seeds have none.

    Source: Efron 1987, doi:10.1080/01621459.1987.10478410; Hesterberg 2015, doi:10.1080/00031305.2015.1089789.
    """
    n = vectors.shape[1]
    centre = vectors.mean(axis=1)
    spread = np.ptp(vectors, axis=1) + np.sqrt(noise.variance)
    flat = spread <= 1e-12 * np.abs(vectors).max(axis=1)
    scale = np.where(flat, 1.0, spread)  # of order one: tiny numbers would underflow in squares and cubes
    deviations = (vectors - centre[:, None]) / scale[:, None]
    seeds = (np.sqrt(noise.variance) / scale) ** 2
    squares = (deviations**2).sum(axis=1)
    of_groups = squares / (n * max(n - 1, 1))
    total = of_groups + seeds
    draws = resampled_means(deviations) * np.sqrt(n / max(n - 1, 1))
    draws += _seed_draws(noise) / scale[:, None]
    third = (deviations**3).sum(axis=1) / n**3  # third cumulant of the mean; that of the seeds is taken as 0
    skewness = np.divide(third, total**1.5, out=np.zeros_like(total), where=total > 0)
    freedom = _freedom(of_groups, np.full_like(of_groups, max(n - 1, 1)), seeds, noise.freedom)
    tails = np.asarray(special.stdtrit(freedom, (1 + LEVEL) / 2))  # of Student's t, where 1.96 would be the normal's
    low, high = bca(draws, skewness / 6, trust, tails)
    return np.where(flat, centre, centre + scale * low), np.where(flat, centre, centre + scale * high)


def bca(draws: Draws, acceleration: Each, trust: Each, tails: Each) -> tuple[Each, Each]:
    """Ends of bias-corrected and accelerated intervals of statistics whose observed value is 0.

    Args:
        draws: (k, resamples) bootstrap values of the statistic, less the observed one.
        acceleration: (k,) a sixth of the skewness of the statistic.
        trust: (k,) by which bias correction and acceleration are multiplied.
        tails: (k,) normal quantile of the upper end, 1.96 for a plain 95 % interval.

    Returns:
        Lower and upper ends.
    """
    below = ((draws < 0).mean(axis=1) + (draws <= 0).mean(axis=1)) / 2  # ties count half
    edge = 0.5 / draws.shape[1]
    bias = trust * special.ndtri(np.clip(below, edge, 1 - edge))
    ordered = np.sort(draws, axis=1)
    ends = []
    for z in (-tails, tails):
        shifted = bias + z
        share = special.ndtr(bias + shifted / np.maximum(1 - trust * acceleration * shifted, 1e-3))
        ends.append(_quantiles(ordered, share))
    return ends[0], ends[1]


def p_value(differences: Vector, noise: SeedEffects) -> float:
    """P-value of one vector: see `p_values`."""
    return float(p_values(differences[None], noise)[0])


def p_values(differences: Vectors, noise: SeedEffects) -> Each:
    """Two-sided p-values of the means of many vectors under sign flips, with seed noise where there is any.

    Under the null the sign of every difference is a coin's, and seeds shift all differences together: the flips' means
    are shifted by resampled seed effects. These are known from few seeds, so the sums are divided by the root of a
    chi-square over its degrees of freedom (Satterthwaite's, of flips and seeds together), as Student's t is.

    Args:
        differences: (k, n) of n groups each.
        noise: of the seeds, for the same k vectors.

    Returns:
        (k,) in (0, 1]; exact for up to 13 groups without seed noise, else (count + 1) / (10,000 + 1).

    Source: Phipson & Smyth 2010, doi:10.2202/1544-6115.1585.
    """
    k, n = differences.shape
    if n < 2:
        return np.ones(k)
    # Sums in another order differ in the last digits: what is equal on paper has to count as reached.
    reach = np.abs(differences.mean(axis=1)) - 1e-12 * np.abs(differences).mean(axis=1)
    if countable(n) and not noise.present:
        return np.asarray((np.abs(differences @ _every_sign(n).T / n) >= reach[:, None]).mean(axis=1))
    rng = np.random.default_rng(SEED)
    flips = [differences @ (1.0 - 2.0 * rng.integers(0, 2, (size, n), dtype=np.int8)).T / n for size in _blocks(n)]
    values = np.concatenate(flips, axis=1)
    if noise.present:
        of_flips = (differences**2).sum(axis=1) / n**2
        freedom = _freedom(of_flips, np.full(k, np.inf), noise.variance, noise.freedom)
        values = (values + _seed_draws(noise)) / _student(freedom)
    return np.asarray(((np.abs(values) >= reach[:, None]).sum(axis=1) + 1) / (RESAMPLES + 1))


def countable(groups: int) -> bool:
    """Whether all sign flips of so many groups are counted."""
    return groups <= COUNTABLE


def resampled_means(vectors: Vectors) -> Draws:
    """Means of bootstrap samples of n groups, the same samples for every vector."""
    n = vectors.shape[1]
    return np.concatenate([vectors @ (counts.T / n) for counts in group_counts(n)], axis=1)


def group_counts(groups: int) -> Iterator[Float[ndarray, "block groups"]]:
    """How often each group is in each of 10,000 bootstrap samples, block by block."""
    rng = np.random.default_rng(SEED)
    for size in _blocks(groups):
        chosen = rng.integers(0, groups, (size, groups)) + groups * np.arange(size)[:, None]
        yield np.bincount(chosen.ravel(), minlength=size * groups).reshape(size, groups).astype(np.float64)


def shifts(noise: SeedEffects, stream: int) -> tuple[Draws, ...]:
    """For each method the shifts of its mean by resampled seeds; without seeds nothing.

    Args:
        noise: of the methods.
        stream: number of a stream of random numbers: methods in different streams move independently.
    """
    rng = np.random.default_rng([SEED, 1 + stream])
    found = []
    for effects, count in zip(noise.effects, noise.counts, strict=True):
        seeds = effects.shape[1]
        chosen = rng.integers(0, seeds, (RESAMPLES, count)) + seeds * np.arange(RESAMPLES)[:, None]
        counts = np.bincount(chosen.ravel(), minlength=RESAMPLES * seeds).reshape(RESAMPLES, seeds)
        found.append(effects @ counts.T / count)
    return tuple(found)


def _seed_draws(noise: SeedEffects) -> Draws:
    """Shifts of the statistic, first method minus second."""
    moved = shifts(noise, 0)
    if not moved:
        return np.zeros((len(noise.variance), 1))
    return moved[0] - moved[1] if len(moved) > 1 else moved[0]


def _student(freedom: Each) -> Draws:
    """Roots of a chi-square over its degrees of freedom, by which a normal draw is divided to make Student's t."""
    draws = [np.random.default_rng([SEED, 0]).chisquare(each, RESAMPLES) / each for each in freedom]
    return np.asarray(np.sqrt(draws))


def _spread(table: Float[ndarray, "k seeds n"]) -> tuple[Float[ndarray, "k seeds"], Each, Each]:
    """Effects of the seeds, variance between their means, and how much of it the rest explains."""
    _, seeds, n = table.shape
    means = table.mean(axis=2)
    effects = means - means.mean(axis=1, keepdims=True)
    between = (effects**2).sum(axis=1) / (seeds - 1)
    rest = table - table.mean(axis=1, keepdims=True) - effects[:, :, None]
    within = (rest**2).sum(axis=(1, 2)) / ((seeds - 1) * max(n - 1, 1)) / n
    return effects, between, within


def _freedom(one: Each, freedom_one: Each, other: Each, freedom_other: Each) -> Each:
    """Degrees of freedom of the sum of two variances (Satterthwaite), at most a million."""
    weights = one**2 / freedom_one + other**2 / freedom_other
    whole = np.divide((one + other) ** 2, weights, out=np.full_like(weights, np.inf), where=weights > 0)
    return np.asarray(np.minimum(whole, 1e6))


def _quantiles(ordered: Draws, share: Each) -> Each:
    """The quantile of each row at its own place, with linear interpolation."""
    place = np.clip(share, 0.0, 1.0) * (ordered.shape[1] - 1)
    low = np.floor(place).astype(np.intp)
    high = np.minimum(low + 1, ordered.shape[1] - 1)
    rows = np.arange(len(ordered))
    return np.asarray(ordered[rows, low] + (place - low) * (ordered[rows, high] - ordered[rows, low]))


def _every_sign(n: int) -> Float[ndarray, "flips n"]:
    return 1.0 - 2.0 * ((np.arange(1 << n)[:, None] >> np.arange(n)) & 1)


def _blocks(n: int) -> Iterator[int]:
    size = max(1, BLOCK // n)
    for start in range(0, RESAMPLES, size):
        yield min(size, RESAMPLES - start)
