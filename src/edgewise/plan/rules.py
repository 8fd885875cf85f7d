"""The rules that derive a plan."""

from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from edgewise.data.fingerprint import Fingerprint
from edgewise.errors import ExperimentError
from edgewise.plan import images
from edgewise.plan.records import Machine, Plan, PlanSettings

Strides: TypeAlias = tuple[tuple[int, ...], ...]
Triple: TypeAlias = tuple[float, float, float]

ANISOTROPIC = 3.0
"""Slices thicker than this many in-plane voxels are treated apart (Isensee et al. 2021)."""
THIN_STACK = 32
"""A thick-slice volume with fewer slices than this is segmented slice by slice: 3D could halve it twice at most."""
FIRST_WIDTH = 32
"""Channels of the first level on a GPU."""
CPU_WIDTH = 16
"""Channels of the first level on a CPU, whose convolutions work on blocks of 16."""
SHALLOWEST = 4
"""No level is smaller than this along an axis."""


def make(
    fingerprint: Fingerprint,
    channels: tuple[str, ...],
    settings: PlanSettings,
    machine: Machine,
    classes: tuple[str, ...] = (),
) -> Plan:
    """Derive every decision from the dataset's fingerprint, the settings and the machine.

    Args:
        fingerprint: of the dataset.
        channels: names of its channels.
        settings: what the experiment decides.
        machine: what trains.
        classes: names of its classes, by label value; needed where the settings name a class.

    Raises:
        ExperimentError: a setting contradicts the data or another setting.
    """
    return _Planner(fingerprint, channels, settings, machine).plan(classes)


class _Planner:
    """One planning; `reasons` fills as decisions are made."""

    def __init__(
        self, fingerprint: Fingerprint, channels: tuple[str, ...], settings: PlanSettings, machine: Machine
    ) -> None:
        self.fingerprint, self.channels, self.settings, self.machine = fingerprint, channels, settings, machine
        self.reasons: dict[str, str] = {}

    def plan(self, classes: tuple[str, ...]) -> Plan:
        intensity, self.reasons["intensity"] = images.intensity(self.settings, self.fingerprint, self.channels)
        bias_field, self.reasons["bias_field"] = images.bias_field(self.settings, self.channels)
        crop, self.reasons["crop"] = images.crop(self.settings, classes)
        canonical, axes = self.spacing()
        shape = self.median_shape(canonical, axes)
        spacing = (canonical[axes[0]], canonical[axes[1]], canonical[axes[2]])
        dimensions = self.dimensions(spacing, shape)
        size = self.size(shape[-dimensions:])
        strides = self.strides(size, spacing[-dimensions:])
        patch = self.patch(size, strides)
        widths = self.widths(len(strides), dimensions)
        return Plan(
            dimensions=dimensions,
            axes=axes,
            spacing=spacing,
            patch=patch,
            batch=self.batch(patch, strides, widths),
            strides=strides,
            kernels=self.kernels(strides, spacing[-dimensions:]),
            widths=widths,
            intensity=intensity,
            bias_field=bias_field,
            crop=crop,
            reasons=self.reasons,
        )

    def spacing(self) -> tuple[Triple, tuple[int, int, int]]:
        """Target spacing in canonical order, and the order of axes with the coarsest first."""
        table = np.array([case.spacing for case in self.fingerprint.cases])
        median = np.median(table, axis=0)
        coarsest, *others = sorted(range(3), key=lambda a: (-round(median[a], 2), -a))
        second, third = sorted(others, reverse=True)
        axes = (coarsest, second, third)
        self.reasons["axes"] = f"the coarsest axis ({'xyz'[coarsest]}, {median[coarsest]:.3g} mm) comes first"
        if self.settings.spacing != "auto":
            return self.settings.spacing, axes
        target = median.copy()
        self.reasons["spacing"] = "median spacing of the dataset"
        if median.max() / median.min() > ANISOTROPIC:
            target[coarsest] = max(np.percentile(table[:, coarsest], 10), median[others].max())
            self.reasons["spacing"] += (
                f"; along {'xyz'[coarsest]} the 10th percentile, because the median is more than {ANISOTROPIC:g} "
                "times the in-plane spacing"
            )
        x, y, z = (float(round(s, 4)) for s in target)
        return (x, y, z), axes

    def median_shape(self, spacing: Triple, axes: tuple[int, ...]) -> tuple[int, ...]:
        """Median shape at the target spacing, in prepared order."""
        shapes = [
            [n * s / t for n, s, t in zip(case.shape, case.spacing, spacing, strict=True)]
            for case in self.fingerprint.cases
        ]
        median = np.median(np.array(shapes), axis=0)
        return tuple(max(1, round(median[a])) for a in axes)

    def dimensions(self, spacing: Triple, shape: tuple[int, ...]) -> int:
        if self.settings.dimensions != "auto":
            return self.settings.dimensions
        ratio = spacing[0] / min(spacing)
        facts = f"slices are {ratio:.3g} times as thick as an in-plane voxel, and a median volume has {shape[0]}"
        if shape[0] < 2 * SHALLOWEST or (ratio > ANISOTROPIC and shape[0] < THIN_STACK):
            limits = f"from {ANISOTROPIC:g} times and below {THIN_STACK} slices"
            self.reasons["dimensions"] = f"2D: {facts}, too few to look across ({limits})"
            return 2
        self.reasons["dimensions"] = f"3D: {facts}"
        return 3

    def size(self, shape: tuple[int, ...]) -> NDArray[np.float64]:
        """The patch wished for, before it is fitted to the strides."""
        size = np.array(shape, float)
        self.reasons["patch"] = f"median shape at the target spacing ({' × '.join(map(str, shape))})"
        limit = self.voxel_limit(len(shape))
        if self.settings.patch != "auto":
            if len(self.settings.patch) != len(shape):
                raise ExperimentError(
                    f"plan.patch has {len(self.settings.patch)} entries, but the network is {len(shape)}D. "
                    "Give one entry for each axis, or set plan.dimensions."
                )
            return np.array(self.settings.patch, float)
        if prod(size) > limit:
            # Shrink the longest axis first, so that short axes stay whole.
            while prod(size) > limit:
                size[int(np.argmax(size))] *= 0.95
            self.reasons["patch"] += f", shrunk to {limit:,} voxels, which a training step affords on this machine"
        return size

    def voxel_limit(self, dimensions: int) -> int:
        """What a step affords in time, and in memory for a batch of two."""
        if self.machine.gpu:
            time = 128**3 if dimensions == 3 else 512**2
        else:
            time = 64 * 96 * 96 if dimensions == 3 else 256**2
        stem = self.stem()
        first = (
            (FIRST_WIDTH if self.machine.gpu else CPU_WIDTH)
            if self.settings.widths == "auto"
            else self.settings.widths[0]
        )
        one = activation_bytes((1,) * dimensions, ((stem,) * dimensions,), (first,)) * 4 / 3
        least: int = (2 * SHALLOWEST) ** dimensions
        return max(min(time, int(1e9 * self.memory() / 2 / one)), least)

    def memory(self) -> float:
        return self.machine.memory_gb if self.settings.memory_gb == "auto" else self.settings.memory_gb

    def strides(self, size: NDArray[np.float64], spacing: tuple[float, ...]) -> Strides:
        """Halve the fine axes first, so that voxels become isotropic on the way down (Isensee et al. 2021)."""
        stem = self.stem()
        deepest = 5 if self.machine.gpu else 4
        if self.settings.widths != "auto":  # as many levels as there are widths, on every machine
            deepest = len(self.settings.widths) - 1
        ones = (1,) * len(size)
        rows = [] if stem > 1 else [ones]
        now, grain = size.copy(), np.array(spacing)
        while len(rows) <= deepest:
            # Rounded, as the patch is: a plan that is given its own patch decides alike.
            deep = np.round(now) >= 2 * SHALLOWEST
            can = deep & (grain < 2 * grain[deep].min(initial=np.inf))
            if not can.any():
                break
            row = tuple(2 if c else 1 for c in can)
            rows.append(row)
            now, grain = np.ceil(now / row), grain * row
        return tuple(rows or [ones])

    def stem(self) -> int:
        self.reasons["strides"] = f"the finer axes are halved first, while at least {SHALLOWEST} voxels remain"
        if self.settings.stem != "auto":
            return self.settings.stem
        if self.machine.gpu:
            return 1
        self.reasons["strides"] += "; already in the first level: full-resolution features cost a CPU most of its time"
        return 2

    def patch(self, size: NDArray[np.float64], strides: Strides) -> tuple[int, ...]:
        """The size, rounded up to what the strides divide."""
        multiple = np.prod(np.array(strides), axis=0)
        patch = tuple(int(-(-round(n) // m) * m) for n, m in zip(size, multiple, strict=True))
        if self.settings.patch == "auto":
            self.reasons["patch"] += f", rounded up to multiples of {' × '.join(map(str, multiple.tolist()))}"
            return patch
        if patch != self.settings.patch:
            raise ExperimentError(
                f"plan.patch {list(self.settings.patch)} is not divisible by the strides {multiple.tolist()}. "
                f"Use {list(patch)}, or leave it to the plan (auto)."
            )
        self.reasons.pop("patch")
        return patch

    def widths(self, levels: int, dimensions: int) -> tuple[int, ...]:
        if self.settings.widths != "auto":
            if len(self.settings.widths) != levels:
                raise ExperimentError(
                    f"plan.widths has {len(self.settings.widths)} entries, but the plan has {levels} levels: "
                    "give one width for each level, or leave it to the plan (auto)."
                )
            return self.settings.widths
        if self.machine.gpu:
            most = 320 if dimensions == 3 else 512
            self.reasons["widths"] = f"doubled each level from {FIRST_WIDTH}, at most {most}"
            return tuple(min(FIRST_WIDTH * 2**i, most) for i in range(levels))
        self.reasons["widths"] = (
            f"{CPU_WIDTH}, then doubled each level from {2 * FIRST_WIDTH}: the finest level takes most of a CPU's time"
        )
        return (CPU_WIDTH, *(min(FIRST_WIDTH * 2**i, 256) for i in range(1, levels)))

    def kernels(self, strides: Strides, spacing: tuple[float, ...]) -> tuple[tuple[int, ...], ...]:
        self.reasons["kernels"] = "3 along every axis, 1 along axes still more than twice as coarse as the finest"
        grains = np.cumprod(np.array(strides), axis=0) * np.array(spacing)
        return tuple(tuple(3 if g <= 2 * grain.min() else 1 for g in grain) for grain in grains)

    def batch(self, patch: tuple[int, ...], strides: Strides, widths: tuple[int, ...]) -> int:
        if self.settings.batch != "auto":
            return self.settings.batch
        memory = self.memory()
        one = activation_bytes(patch, strides, widths) / 1e9
        flat = len(patch) == 2
        most = (64 if flat else 8) if self.machine.gpu else (8 if flat else 2)
        self.reasons["batch"] = f"about {one:.2g} GB of activations a patch, {memory:.3g} GB to use, at most {most}"
        return int(np.clip(memory / one, 1, most))


def activation_bytes(patch: tuple[int, ...], strides: Strides, widths: tuple[int, ...]) -> float:
    """Rough peak of float32 activations and their gradients for one patch, in bytes.

    Fourteen kept arrays a level is what a residual level of encoder and decoder was measured to keep.
    """
    voxels, total = float(prod(patch)), 0.0
    for stride, width in zip(strides, widths, strict=True):
        voxels /= prod(stride)
        total += 14 * 4 * voxels * width
    return total
