"""Sliding-window prediction that keeps only one slab of windows in float32, whatever the size of the volume."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import chain, combinations, product
from typing import ClassVar, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from edgewise.errors import ExperimentError
from edgewise.training.arithmetic import Arithmetic

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Inference:
    """How a trained network is applied.

    Attributes:
        overlap: share of a window that neighbouring windows share.
        mirror: average the predictions of the mirror images of a window, along the axes that training mirrored (each
            doubles the time).
        windows: windows in a batch.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    overlap: float = 0.5
    mirror: bool = False
    windows: int = 2

    def __post_init__(self) -> None:
        if not 0 <= self.overlap < 1:
            raise ExperimentError(f"overlap is {self.overlap}, but must be at least 0 and below 1.")
        if self.windows < 1:
            raise ExperimentError(f"windows is {self.windows}, but must be at least 1.")


@dataclass(frozen=True, kw_only=True)
class Window:
    """What a network was trained for.

    Attributes:
        patch: size along the network's axes; two axes are slices along the volume's first axis.
        classes: output channels.
        arithmetic: precision, memory format, threads.
        device: where to compute.
        mirrored: network axes along which training mirrored its patches; only these may be mirrored in prediction.
    """

    patch: tuple[int, ...]
    classes: int
    arithmetic: Arithmetic
    device: torch.device
    mirrored: tuple[int, ...] = ()


def probabilities(
    network: nn.Module, image: NDArray[np.float32], window: Window, settings: Inference
) -> NDArray[np.float16]:
    """Class probabilities of a volume: Gaussian-weighted mean over windows, and over mirror images if asked.

    Windows go along the first axis in order; as soon as no later window reaches a slice, it is finished and kept as
    float16. So the float32 sums take C × patch depth slices, not C volumes.

    Args:
        network: logits of a batch of windows, in evaluation mode.
        image: (K, *volume) float32; may be a memory map.
        window: what the network was trained for.
        settings: overlap, mirroring, batch.

    Returns:
        (C, *volume) float16 in [0, 1]. Images smaller than a window are padded with 0, the mean of a normalised image.
    """
    shape = image.shape[1:]
    patch = (1,) * (len(shape) - len(window.patch)) + window.patch
    weight = gaussian(patch)
    result = np.empty((window.classes, *shape), np.float16)
    planes = [starts(n, p, settings.overlap) for n, p in zip(shape, patch, strict=True)]
    tiles = len(planes[1]) * len(planes[2])
    # Slices of a 2D network are independent, so several share a batch; 3D windows of one depth share a slab.
    group = max(1, -(-settings.windows // tiles)) if patch[0] == 1 else 1
    runs = chunks(planes[0], group)
    plane = tuple(max(n, p) for n, p in zip(shape[1:], patch[1:], strict=True))
    slab = np.zeros((window.classes, patch[0] + group - 1, *plane), np.float32)
    total = np.zeros(slab.shape[1:], np.float32)
    with torch.inference_mode(), window.arithmetic.applied():
        for i, depth in enumerate(runs):
            first = depth[0]
            places = list(product(depth, planes[1], planes[2]))
            for chunk in chunks(places, settings.windows):
                cuts = np.stack([_window(image, place, patch) for place in chunk])
                for place, p in zip(chunk, _softmax(network, cuts, window, settings), strict=True):
                    box = tuple(slice(a, a + n) for a, n in zip((place[0] - first, *place[1:]), patch, strict=True))
                    slab[(slice(None), *box)] += p * weight
                    total[box] += weight
            following = runs[i + 1][0] if i + 1 < len(runs) else shape[0]
            done = following - first
            ready = slab[:, :done, : shape[1], : shape[2]] / total[:done, : shape[1], : shape[2]]
            result[:, first:following] = ready[:, : shape[0] - first]
            _shift(slab, done, axis=1)
            _shift(total, done, axis=0)
    return result


def _shift(array: NDArray[np.float32], done: int, axis: int) -> None:
    """Move what is unfinished to the front and clear the rest."""
    view = np.moveaxis(array, axis, 0)
    keep = max(len(view) - done, 0)
    if keep:
        view[:keep] = view[done:].copy()
    view[keep:] = 0


def _window(image: NDArray[np.float32], place: tuple[int, ...], patch: tuple[int, ...]) -> NDArray[np.float32]:
    box = tuple(slice(a, a + n) for a, n in zip(place, patch, strict=True))
    cut = np.asarray(image[(slice(None), *box)], np.float32)
    missing = [(0, 0), *((0, n - have) for n, have in zip(patch, cut.shape[1:], strict=True))]
    return np.pad(cut, missing) if any(m for _, m in missing) else cut


def _softmax(network: nn.Module, cuts: NDArray[np.float32], window: Window, settings: Inference) -> NDArray[np.float32]:
    """(N, K, *patch) -> (N, C, *patch) probabilities, the mean over mirror images."""
    image = torch.from_numpy(cuts).to(window.device)
    flat = len(window.patch) < image.ndim - 2
    mean = averaged(network, image.squeeze(2) if flat else image, window, settings)
    result: NDArray[np.float32] = (mean.unsqueeze(2) if flat else mean).cpu().numpy()
    return result


def averaged(network: nn.Module, image: Tensor, window: Window, settings: Inference) -> Tensor:
    """Class probabilities of images, the mean over their mirror images if asked.

    Args:
        network: in evaluation mode.
        image: (N, K, *space) on the window's device.
        window: arithmetic, and which axes training mirrored.
        settings: whether to mirror.

    Returns:
        (N, C, *space) float32.
    """
    total: Tensor | None = None
    flips = list(mirrors(window.mirrored)) if settings.mirror else [()]
    for axes in flips:
        mirrored = window.arithmetic.arrange(image.flip(axes) if axes else image)
        with window.arithmetic.autocast(window.device):
            logits = network(mirrored)
        p = logits.float().softmax(1)
        p = p.flip(axes) if axes else p
        total = p if total is None else total + p
    assert total is not None
    return total / len(flips)


def mirrors(axes: tuple[int, ...]) -> Iterator[tuple[int, ...]]:
    """All sets of the given spatial axes, as axes of a (N, C, *space) array, the empty set first."""
    return chain.from_iterable(combinations([a + 2 for a in axes], n) for n in range(len(axes) + 1))


def starts(size: int, window: int, overlap: float) -> list[int]:
    """Evenly spread first positions of windows that cover `size` and share at least `overlap` of a window.

    Example:
        >>> starts(10, 4, 0.5)
        [0, 2, 4, 6]
        >>> starts(3, 4, 0.5)
        [0]
    """
    if size <= window:
        return [0]
    step = max(1, round(window * (1 - overlap)))
    count = -(-(size - window) // step) + 1
    return [round(i * (size - window) / (count - 1)) for i in range(count)]


def chunks(row: Sequence[T], size: int) -> list[Sequence[T]]:
    """`row` in pieces of `size`; the last may be shorter."""
    return [row[i : i + size] for i in range(0, len(row), size)]


def gaussian(patch: tuple[int, ...]) -> NDArray[np.float32]:
    """Weights of a window: a Gaussian of an eighth of its size about its centre, at most 1 and never 0."""
    weight = np.ones((), np.float64)
    for n in patch:
        x = (np.arange(n) - (n - 1) / 2) / (n / 8)
        weight = np.multiply.outer(weight, np.exp(-0.5 * x**2))
    result: NDArray[np.float32] = np.maximum(weight, 1e-3).astype(np.float32)
    return result
