"""How well a two-stage network locates the objects of the validation cases: its files in the run folder."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy import ndarray

from edgewise.data.images import write_labels
from edgewise.data.resample import resample
from edgewise.data.transform import restore_field
from edgewise.detection.boxes import Box, Object, contained, objects
from edgewise.files import output_folder, write_text
from edgewise.inference.prediction import Heat, Region
from edgewise.inference.two_stage import TwoStage
from edgewise.metrics.located_table import LocatedRow, located_summary, located_to_csv, matched
from edgewise.run.folder import RunFolder
from edgewise.run.trained import Look, Trained, ending
from edgewise.types import Field, Labels


@dataclass(frozen=True, kw_only=True, eq=False)
class _Scene:
    """A volume, or one slice of it as a volume of one slice.

    Attributes:
        look: the case.
        index: of the slice; -1 is the whole volume.
        labels: (*space) of this part.
        regions: that lie in this part, in voxels of the whole volume.
    """

    look: Look
    index: int
    labels: Labels
    regions: Sequence[Region]

    @property
    def slice(self) -> int:
        """Of the image, turned to RAS+; -1 for a volume."""
        undo, count = self.look.prepared.undo, self.look.prepared.image.shape[1]
        if self.index < 0:
            return -1
        return undo.box[undo.axes[0]][0] + int((self.index + 0.5) * undo.cropped[0] / count)

    @property
    def start(self) -> ndarray:
        """Where this part begins, for both corners of a box."""
        return np.array([max(self.index, 0), 0, 0] * 2, float)


class Located:
    """Sees the predictions of a run's validation cases and writes how well their objects were located.

    Args:
        trained: the run's network; of one that does not locate nothing is written.
        folder: of the run.
    """

    def __init__(self, trained: Trained, folder: RunFolder) -> None:
        self._network, self._classes, self._folder = trained.network, trained.classes, folder
        self._flat = trained.plan.dimensions == 2
        self._rows: list[LocatedRow] = []

    @property
    def wanted(self) -> bool:
        """Whether the run has a network that locates."""
        return isinstance(self._network, TwoStage)

    def see(self, look: Look) -> None:
        """Take note of a predicted case: measure it, and write its heatmap."""
        heat = look.prediction.heat
        if heat is None:
            return
        for scene in self._scenes(look):
            self._rows += self._measured(scene)
        space = look.prepared.image.shape[1:]
        percent = np.rint(100 * restore_field(_on_volume(heat, space), look.prepared.undo)).clip(0, 100)
        target = output_folder(self._folder.heat) / f"{look.case.id}{ending(look.files)}"
        write_labels(target, percent.astype(np.uint8), look.case.grid)

    def write(self) -> Mapping[str, Any]:
        """Write the table; return its summary, or nothing where nothing was to be located."""
        if not self.wanted:
            return {}
        write_text(self._folder.located, located_to_csv(self._rows))
        places = [(row, f" slice {row.slice}" if row.slice >= 0 else "") for row in self._rows if row.missed]
        return located_summary(self._rows) | {"missed_in": [f"{row.case}{place} ({row.kind})" for row, place in places]}

    def _scenes(self, look: Look) -> Iterator[_Scene]:
        """Where objects are sought: the volume, or one slice after the other."""
        labels, regions = look.prepared.labels, look.prediction.regions
        if labels is None:
            return
        if not self._flat:
            yield _Scene(look=look, index=-1, labels=labels, regions=regions)
            return
        for index in range(len(labels)):
            here = [each for each in regions if round(each.box[0] + 0.5) == index]
            yield _Scene(look=look, index=index, labels=labels[index : index + 1], regions=here)

    def _measured(self, scene: _Scene) -> Iterator[LocatedRow]:
        """The objects of a scene with the regions found for them, then the regions without an object."""
        network, classes = self._network, self._classes
        assert isinstance(network, TwoStage)
        names = ("foreground",) if network.grouping == "foreground" else classes[1:]
        real = objects(scene.labels, len(classes), network.grouping)
        found = [Object(box=_moved(each.box, -scene.start), kind=each.kind) for each in scene.regions]
        rois = [(each.kind, _moved(each.roi, -scene.start)) for each in scene.regions]
        pairs = {a: (b, share) for a, b, share in matched(real, found)}
        for number, each in enumerate(real):
            row = LocatedRow(
                case=scene.look.case.id,
                kind=names[each.kind],
                slice=scene.slice,
                score=float("nan"),
                iou=0.0,
                contained=_contained(_mask(scene.labels, each, network), each.kind, rois),
                object=_canonical(_moved(each.box, scene.start), scene.look),
            )
            if number in pairs:
                region, share = scene.regions[pairs[number][0]], pairs[number][1]
                row = replace(row, iou=share, **_found(region, scene.look))
            yield row
        taken = {b for b, _ in pairs.values()}
        for region in (each for number, each in enumerate(scene.regions) if number not in taken):
            yield LocatedRow(
                case=scene.look.case.id,
                kind=names[region.kind],
                slice=scene.slice,
                iou=0.0,
                contained=float("nan"),
                **_found(region, scene.look),
            )


def _found(region: Region, look: Look) -> dict[str, Any]:
    return {
        "score": region.score,
        "box": _canonical(region.box, look),
        "roi": _canonical(region.roi, look),
    }


def _mask(labels: Labels, each: Object, network: TwoStage) -> ndarray:
    """The voxels of an object: those of its class within its box."""
    mask: ndarray = labels != 0 if network.grouping == "foreground" else labels == each.kind + 1
    inside = np.zeros(mask.shape, bool)
    sides = zip(each.box[: mask.ndim], each.box[mask.ndim :], strict=True)
    inside[tuple(slice(round(a + 0.5), round(b + 0.5)) for a, b in sides)] = True
    return mask & inside


def _contained(mask: ndarray, kind: int, rois: Sequence[tuple[int, Box]]) -> float:
    """The share of an object in the regions of its kind: those of others are not segmented for it."""
    own = [roi for other, roi in rois if other == kind]
    return contained(mask, np.array(own).reshape(-1, 2 * mask.ndim))


def _moved(box: Box, by: ndarray) -> Box:
    return tuple(float(side) for side in np.array(box) + by)


def _canonical(box: Box, look: Look) -> Box:
    return look.prepared.undo.canonical(box, look.prepared.image.shape[1:])


def _on_volume(heat: Heat, space: tuple[int, ...]) -> Field:
    """A heatmap on the grid of the prepared volume."""
    size = [n * step for n, step in zip(heat.values.shape, heat.step, strict=True)]
    whole: ndarray = resample(heat.values[None].astype(np.float32), size, "linear")[0]
    return whole[tuple(slice(n) for n in space)]
