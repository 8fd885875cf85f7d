"""The two ways to locate: keypoints and boxes of an L-Net, or the boxes of a coarse segmentation."""

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, avg_pool3d, pad
from typing_extensions import override

from edgewise.detection.boxes import Grouping, clipped, objects
from edgewise.detection.heatmap import STRIDE, box_of, boxes_at_cells, peaks
from edgewise.inference.roi import Shape, fitting, padded
from edgewise.inference.two_stage import Candidate, Locator


@final
class Keypoints(Locator):
    """Boxes at the keypoints of an L-Net's heatmap.

    Args:
        network: images (N, K, *space) -> heat logits (N, O, *cells) and distances (N, O, 2d, *cells).
        shrink: how much smaller than the image what it sees is, by axis.
        threshold: probability above which a cell belongs to a keypoint.
        most: regions of an image, the surest.
    """

    def __init__(self, network: nn.Module, shrink: Shape, *, threshold: float, most: int) -> None:
        super().__init__()
        self.network, self.shrink, self.threshold, self.most = network, shrink, threshold, most

    @property
    @override
    def step(self) -> tuple[int, ...]:
        return tuple(STRIDE * s for s in self.shrink)

    def answers(self, image: Tensor) -> tuple[Tensor, Tensor]:
        """Heat logits (N, O, *cells), and the boxes the cells speak of, (N, O, *cells, 2d), in pixels of its input."""
        heat, distances = self.network(shrunk(image, self.shrink))
        return heat, boxes_at_cells(distances)

    def boxes_in(self, boxes: Tensor, space: Shape) -> Tensor:
        """The boxes of `answers` in voxels of an image of the given shape, without what lies outside it.

        There is nothing to segment there, and a loss of what is segmented, small where there is nothing, could draw
        boxes out of images without end.
        """
        return clipped(enlarged(boxes.float(), self.shrink), space)

    @override
    def find(self, image: Tensor) -> tuple[list[list[Candidate]], Tensor]:
        logits, boxes = self.answers(image)
        heat = logits.float().sigmoid()
        boxes = self.boxes_in(boxes, tuple(image.shape[2:]))
        found = [
            [Candidate(box=box_of(there, peak), kind=peak.kind, score=peak.score) for peak in self._peaks(one)]
            for one, there in zip(heat, boxes, strict=True)
        ]
        return found, heat.amax(dim=1)

    def _peaks(self, heat: Tensor) -> Any:
        return peaks(heat, self.threshold, self.most)


@final
class CoarseMask(Locator):
    """The boxes of a coarse segmentation.

    Args:
        network: images -> logits (N, C, *space) or a list of them.
        shrink: how much smaller than the image what it sees is, by axis.
        grouping: what an object is.
        most: regions of an image, the largest.
        multiple: what the sides of its input must be multiples of.
    """

    def __init__(self, network: nn.Module, shrink: Shape, *, grouping: Grouping, most: int, multiple: Shape) -> None:
        super().__init__()
        self.network, self.shrink, self.grouping = network, shrink, grouping
        self.most, self.multiple = most, multiple

    @property
    @override
    def step(self) -> tuple[int, ...]:
        return self.shrink

    @override
    def find(self, image: Tensor) -> tuple[list[list[Candidate]], Tensor]:
        small = shrunk(image, self.shrink)
        sides = tuple(small.shape[2:])
        logits = self.network(padded(small, fitting(sides, self.multiple)))
        inside = (slice(None), slice(None), *(slice(n) for n in sides))
        p = logits.float().softmax(dim=1)[inside]
        maps = p.argmax(dim=1).to(torch.uint8).cpu().numpy()
        return [self._candidates(labels, p.shape[1]) for labels in maps], 1 - p[:, 0]

    def _candidates(self, labels: Any, classes: int) -> list[Candidate]:
        found = objects(labels, classes, self.grouping)
        boxes = enlarged(torch.tensor([each.box for each in found]).reshape(len(found), 2 * labels.ndim), self.shrink)
        volumes = (boxes[:, labels.ndim :] - boxes[:, : labels.ndim]).prod(dim=1)
        order = volumes.argsort(descending=True, stable=True)[: self.most].tolist()
        return [Candidate(box=tuple(boxes[i].tolist()), kind=found[i].kind, score=1.0) for i in order]


def shrunk(image: Tensor, factor: Shape) -> Tensor:
    """Means of blocks of voxels; the border goes on where the last block is not full.

    Args:
        image: (N, K, *space).
        factor: voxels of a block along each axis.
    """
    if max(factor) == 1:
        return image
    missing = [-n % f for n, f in zip(image.shape[2:], factor, strict=True)]
    if any(missing):
        image = pad(image, [each for n in reversed(missing) for each in (0, n)], mode="replicate")
    return (avg_pool3d if len(factor) == 3 else avg_pool2d)(image, factor)


def enlarged(boxes: Tensor, factor: Shape) -> Tensor:
    """Boxes (..., 2d) in pixels of a shrunk image, in voxels of the image itself."""
    scale = torch.tensor([*factor, *factor], dtype=boxes.dtype, device=boxes.device)
    return (boxes + 0.5) * scale - 0.5
