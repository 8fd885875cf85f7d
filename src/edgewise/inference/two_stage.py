"""Locate, then segment: prediction by a network that looks at whole images, and one that looks at regions of them."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
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
        found, _ = self.locate.find(image)
        patch = tuple(image.shape[2:])
        canvas, _ = self.fill(image, found, patch, 1, lambda cut: self.segment(cut).float().softmax(1))
        return canvas.float().clamp(min=1e-4).log()

    def fill(
        self, image: Tensor, found: Sequence[Sequence[Candidate]], patch: Shape, batch: int, run: Run
    ) -> tuple[Tensor, list[list[Box]]]:
        """Segment the regions of images.

        Args:
            image: (N, K, *space).
            found: the boxes of each.
            patch: size of a training patch.
            batch: regions in a batch.
            run: segments.

        Returns:
            Class probabilities (N, C, *space) float16, background where no region lies; the regions of each image.
        """
        space = tuple(image.shape[2:])
        canvas = torch.zeros(len(image), self.classes, *space, dtype=torch.float16, device=image.device)
        canvas[:, 0] = 1
        rois = [[self.transfer.roi(each.box, space) for each in row] for row in found]
        todo = [
            (n, each.kind, roi)
            for n, (row, places) in enumerate(zip(found, rois, strict=True))
            for each, roi in zip(row, places, strict=True)
        ]
        for part in chunks(todo, batch):
            cuts = [self.transfer.cut(image[n : n + 1], roi, patch, self.multiple) for n, _, roi in part]
            alike = all(cut.shape == cuts[0].shape for cut in cuts)
            answers = torch.split(run(torch.cat(cuts)), 1) if alike else [run(cut) for cut in cuts]
            for (n, kind, roi), p in zip(part, answers, strict=True):
                pasted(canvas[n], *self.transfer.place(self._asked(p[0], kind), roi, space))
        return canvas, rois

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
    canvas = np.zeros((window.classes, *image.shape[1:]), np.float16)
    regions: list[Region] = []
    warmth = []

    def run(cut: Tensor) -> Tensor:
        return averaged(network.segment, cut, window, settings)

    with torch.inference_mode(), window.arithmetic.applied():
        for start in range(0, depth, settings.windows) if flat else (0,):
            stop = min(start + settings.windows, depth) if flat else depth
            part = torch.from_numpy(np.array(image[:, start:stop], np.float32)).to(window.device)
            seen = part.movedim(0, 1) if flat else part[None]
            with window.arithmetic.autocast(window.device):
                found, heat = network.locate.find(window.arithmetic.arrange(seen))
            filled, rois = network.fill(seen, found, window.patch, settings.windows, run)
            canvas[:, start:stop] = (filled.movedim(0, 1) if flat else filled[0]).cpu().numpy()
            warmth.append((heat if flat else heat[0]).half().cpu().numpy())
            for n, (row, places) in enumerate(zip(found, rois, strict=True)):
                regions += [_region(each, roi, start + n, flat) for each, roi in zip(row, places, strict=True)]
    step = (1, *network.locate.step) if flat else network.locate.step
    # Slices are stacked; a volume's heatmap is there at once.
    whole = Heat(values=np.concatenate(warmth), step=step)
    return Prediction(probabilities=canvas, regions=tuple(regions), heat=whole)


def _region(found: Candidate, roi: Box, index: int, flat: bool) -> Region:
    def volume(box: Box) -> Box:
        dims = len(box) // 2
        return (index - 0.5, *box[:dims], index + 0.5, *box[dims:]) if flat else box

    return Region(box=volume(found.box), roi=volume(roi), kind=found.kind, score=found.score)
