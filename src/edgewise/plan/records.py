"""What a plan holds, what an experiment may fix of it, and the machine it is made for."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, ClassVar, Literal, TypeAlias

from edgewise.data.bias_field import AnyBiasField
from edgewise.data.crop import AnyCrop, LabelRange
from edgewise.data.intensity import AnyIntensity
from edgewise.data.transform import Preparation
from edgewise.errors import ExperimentError
from edgewise.networks.base import Topology
from edgewise.training.arithmetic import Arithmetic
from edgewise.types import Spacing

Auto: TypeAlias = Literal["auto"]


@dataclass(frozen=True, kw_only=True)
class PlanSettings:
    """Decisions an experiment takes out of the plan's hands; `auto` leaves them to it.

    Attributes:
        dimensions: 2 (slices) or 3.
        spacing: target voxel size in mm along x, y, z of the canonical image.
        patch: patch size along the network's axes (slice axis first).
        batch: patches in a batch.
        widths: feature channels of each level.
        stem: down-sampling in the first level; 2 keeps the network off the full resolution, where a CPU spends most.
        intensity: intensity normalisation of each channel.
        bias_field: correct MR channels for the coil's smooth changes of brightness, or not.
        crop: cut away what surrounds the body, or keep the slices that hold chosen labels, or everything.
        memory_gb: memory that training may use.
        precision: arithmetic of training and inference.
        memory_format: order of axes in memory.
        threads: CPU threads of the training process.
        workers: processes that make patches.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    dimensions: Literal[2, 3] | Auto = "auto"
    spacing: tuple[float, float, float] | Auto = "auto"
    patch: tuple[int, ...] | Auto = "auto"
    batch: int | Auto = "auto"
    widths: tuple[int, ...] | Auto = "auto"
    stem: Literal[1, 2] | Auto = "auto"
    intensity: tuple[AnyIntensity, ...] | Auto = "auto"
    bias_field: AnyBiasField = "none"
    crop: AnyCrop = "body"
    memory_gb: float | Auto = "auto"
    precision: Literal["fp32", "bf16", "fp16"] | Auto = "auto"
    memory_format: Literal["contiguous", "channels_last"] | Auto = "auto"
    threads: int | Auto = "auto"
    workers: int | Auto = "auto"

    def __post_init__(self) -> None:
        for name, least in (("batch", 1), ("threads", 1), ("workers", 0), ("memory_gb", 1e-3)):
            value = getattr(self, name)
            if value != "auto" and value < least:
                raise ExperimentError(f"{name} is {value}, but must be at least {least:g}, or auto.")
        for name in ("spacing", "patch", "widths"):
            value = getattr(self, name)
            if value != "auto" and not all(entry > 0 for entry in value):
                raise ExperimentError(f"{name} is {list(value)}, but every entry must be positive.")


@dataclass(frozen=True, kw_only=True)
class Machine:
    """The part of the hardware that the plan depends on.

    Attributes:
        gpu: whether training runs on a GPU.
        cores: CPU cores this process may use.
        memory_gb: free memory of the device that trains.
    """

    gpu: bool
    cores: int
    memory_gb: float


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A complete plan; axes are in prepared order (slice axis first).

    Attributes:
        dimensions: 2 or 3.
        axes: canonical axis (x, y, z = 0, 1, 2) of each prepared axis.
        spacing: target spacing in mm, prepared order.
        patch: patch size along the network's axes.
        batch: patches in a batch.
        strides: down-sampling into each level.
        kernels: kernel of each level.
        widths: channels of each level.
        intensity: normalisation of each channel.
        bias_field: which channels are corrected, and how.
        crop: what is cut away.
        arithmetic: precision, memory format and threads; measured when a run starts.
        reasons: why, by decision.
    """

    dimensions: int
    axes: tuple[int, int, int]
    spacing: tuple[float, float, float]
    patch: tuple[int, ...]
    batch: int
    strides: tuple[tuple[int, ...], ...]
    kernels: tuple[tuple[int, ...], ...]
    widths: tuple[int, ...]
    intensity: tuple[AnyIntensity, ...]
    crop: AnyCrop
    bias_field: AnyBiasField = "none"
    arithmetic: Arithmetic = Arithmetic()
    reasons: Mapping[str, str]

    @property
    def patch_spacing(self) -> Spacing:
        """Spacing along the network's axes."""
        return self.spacing[-self.dimensions :]

    def preparation(self) -> Preparation:
        """How cases are prepared that are predicted or validate: from the image alone."""
        crop = self.crop.within if isinstance(self.crop, LabelRange) else self.crop
        return replace(self.training_preparation(), crop=crop)

    def training_preparation(self) -> Preparation:
        """How cases that train are prepared: their reference may decide, too."""
        return Preparation(
            axes=self.axes,
            spacing=self.spacing,
            intensity=self.intensity,
            bias_field=self.bias_field,
            crop=self.crop,
        )

    def topology(self, classes: int) -> Topology:
        """What the network is built for."""
        return Topology(
            channels=len(self.intensity),
            classes=classes,
            strides=self.strides,
            kernels=self.kernels,
            widths=self.widths,
        )

    def table(self) -> dict[str, dict[str, Any]]:
        """The content of `plan.yaml`: decision -> value and reason."""
        values = asdict(self)
        reasons = {**self.reasons, "arithmetic": values["arithmetic"].pop("reason")}
        return {
            f.name: {"value": _plain(values[f.name]), "reason": reasons.get(f.name, "set by the experiment")}
            for f in fields(self)
            if f.name != "reasons"
        }


def _plain(value: Any) -> Any:
    """Tuples as lists, so that YAML shows plain values."""
    if isinstance(value, tuple | list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value
