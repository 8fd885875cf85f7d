"""Locate, then segment: prediction by a network that looks at whole images, and one that looks at regions of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from typing_extensions import override

from edgewise.detection.boxes import Box, Grouping
from edgewise.inference.prediction import Heat, Prediction, Region
from edgewise.inference.roi import AnyTransfer, Shape, pasted
from edgewise.inference.sliding import Inference, Window, averaged, chunks

Run: TypeAlias = Callable[[Tensor], Tensor]
"""(N, K, *size) -> class probabilities (N, C, *size)."""


@dataclass(frozen=True, kw_only=True)
class Candidate:
    """A box that a locator found in one image.

    Attributes:
        box: in voxels of the image, without margin.
        kind: number of the kind of object.
        score: its probability.
    """

    box: Box
    kind: int
    score: float


@dataclass(frozen=True, kw_only=True)
class Place:
    """A region of one image of a batch.

    Attributes:
        index: of the image.
        found: what was found there.
        roi: the region, in voxels.
    """

    index: int
    found: Candidate
    roi: Box


@dataclass(frozen=True, kw_only=True, eq=False)
class Answer:
    """What a segmentation network says of a region.

    Attributes:
        index: of the image.
        where: the voxels.
        probabilities: (C, *part) of the classes, float32.
    """

    index: int
    where: tuple[slice, ...]
    probabilities: Tensor


class Locator(ABC, nn.Module):
    """Finds boxes in whole images, of any size."""

    @property
    @abstractmethod
    def step(self) -> tuple[int, ...]:
        """Voxels from one cell of the heatmap to the next, along the image's axes."""

    @abstractmethod
    def find(self, image: Tensor) -> tuple[list[list[Candidate]], Tensor]:
        """Look at images (N, K, *space).

        Returns:
            The boxes in each, the surest first; and heatmaps (N, *cells) in [0, 1], how sure it is of any object there.
        """


class TwoStage(nn.Module):
    """A locator, a segmentation network, and how regions pass from one to the other and back.

    Args:
        locate: finds the regions.
        segment: images (N, K, *size) -> logits (N, C, *size).
        transfer: how regions are cut out and placed back.
        classes: C.
        grouping: what an object is, for the locator.
        multiple: what the sides of images must be multiples of, for `segment`.
    """

    def __init__(
        self,
        locate: Locator,
        segment: nn.Module,
        transfer: AnyTransfer,
        *,
        classes: int,
        grouping: Grouping,
        multiple: Shape,
    ) -> None:
        super().__init__()
        self.locate, self.segment, self.transfer = locate, segment, transfer
        self.classes, self.grouping, self.multiple = classes, grouping, multiple

    @override
    def forward(self, image: Tensor) -> Tensor:
        """Logarithms of the class probabilities (N, C, *space) of patches: logits, as of any other network."""
        patch = tuple(image.shape[2:])
        canvas = torch.zeros(len(image), self.classes, *patch, dtype=torch.float16, device=image.device)
        canvas[:, 0] = 1
        places = self.places(self.locate.find(image)[0], patch)
        for answer in self.answers(image, places, patch, 1, lambda cut: self.segment(cut).float().softmax(1)):
            pasted(canvas[answer.index], answer.where, answer.probabilities)
        return canvas.float().clamp(min=1e-4).log()

    def places(self, found: Sequence[Sequence[Candidate]], space: Shape) -> list[Place]:
        """The regions around the boxes that were found in each image."""
        return [
            Place(index=n, found=each, roi=self.transfer.roi(each.box, space))
            for n, row in enumerate(found)
            for each in row
        ]

    def answers(self, image: Tensor, places: Sequence[Place], patch: Shape, batch: int, run: Run) -> Iterator[Answer]:
        """Segment regions of images.

        Args:
            image: (N, K, *space).
            places: the regions.
            patch: size of a training patch.
            batch: regions in a batch.
            run: segments.
        """
        space = tuple(image.shape[2:])
        for part in chunks(places, batch):
            cuts = [
                self.transfer.cut(image[each.index : each.index + 1], each.roi, patch, self.multiple) for each in part
            ]
            alike = all(cut.shape == cuts[0].shape for cut in cuts)
            maps = torch.split(run(torch.cat(cuts)), 1) if alike else [run(cut) for cut in cuts]
            for each, p in zip(part, maps, strict=True):
                where, inside = self.transfer.place(self._asked(p[0], each.found.kind), each.roi, space)
                yield Answer(index=each.index, where=where, probabilities=inside)

    def _asked(self, p: Tensor, kind: int) -> Tensor:
        """Class probabilities (C, *size) of a region, where only the class of its object and the background can be."""
        if self.grouping == "foreground":
            return p
        own = torch.zeros_like(p)
        pair = torch.stack((p[0], p[kind + 1]))
        own[0], own[kind + 1] = pair / pair.sum(dim=0).clamp(min=1e-12)
        return own


def located(network: TwoStage, image: NDArray[np.float32], window: Window, settings: Inference) -> Prediction:
    """Class probabilities of a volume by a two-stage network.

    The locator sees the volume once, whole (in 2D slice by slice); the segmentation network sees the regions only. So
    the time grows with the volume of the regions, and little with that of the image.

    Args:
        network: in evaluation mode.
        image: (K, *volume) float32; may be a memory map.
        window: what the network was trained for.
        settings: regions in a batch, mirroring of the regions; there are no windows to overlap.
    """
    flat = len(window.patch) < image.ndim - 1
    depth = image.shape[1]
    # Not on the window's device: only the regions have to be brought back from there.
    canvas = torch.zeros(window.classes, *image.shape[1:], dtype=torch.float16)
    canvas[0] = 1
    regions: list[Region] = []
    warmth = []

    def run(cut: Tensor) -> Tensor:
        return averaged(network.segment, cut, window, settings)

    with torch.inference_mode(), window.arithmetic.applied():
        for start in range(0, depth, settings.windows) if flat else (0,):
            stop = min(start + settings.windows, depth) if flat else depth
            # Copied only where it is not to be written, as a memory map is, or not in order: torch wants both.
            part = torch.from_numpy(np.require(image[:, start:stop], np.float32, ["C", "W"])).to(window.device)
            seen, rows = (
                (part.movedim(0, 1), canvas[:, start:stop].movedim(1, 0)) if flat else (part[None], canvas[None])
            )
            with window.arithmetic.autocast(window.device):
                found, heat = network.locate.find(window.arithmetic.arrange(seen))
            places = network.places(found, tuple(seen.shape[2:]))
            for answer in network.answers(seen, places, window.patch, settings.windows, run):
                pasted(rows[answer.index], answer.where, answer.probabilities.cpu())
            warmth.append((heat if flat else heat[0]).half().cpu().numpy())
            regions += [_region(each, start, flat) for each in places]
    step = (1, *network.locate.step) if flat else network.locate.step
    # Slices are stacked; a volume's heatmap is there at once.
    whole = Heat(values=np.concatenate(warmth), step=step)
    return Prediction(probabilities=canvas.numpy(), regions=tuple(regions), heat=whole)


def _region(place: Place, start: int, flat: bool) -> Region:
    def volume(box: Box) -> Box:
        dims, index = len(box) // 2, start + place.index
        return (index - 0.5, *box[:dims], index + 0.5, *box[dims:]) if flat else box

    found = place.found
    return Region(box=volume(found.box), roi=volume(place.roi), kind=found.kind, score=found.score)
