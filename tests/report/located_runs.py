"""Runs of two-stage methods with made-up regions in phantoms."""

from functools import cache

import numpy as np

from edgewise.data.phantoms import CLASSES, draw, render
from edgewise.detection.boxes import objects
from edgewise.metrics.located_table import LocatedRow, located_to_csv
from edgewise.report.records import PanelCase, read_run

SHAPE, SPACING = (48, 48, 20), (6.0, 6.0, 10.0)


@cache
def load(case):
    """A phantom, with a prediction that is the reference, moved."""
    phantom = render(draw(np.random.default_rng(list(case.encode())), range(1, 4)), SHAPE, SPACING)
    prediction = np.roll(phantom.labels, (1, 1), (0, 1))
    return PanelCase(image=phantom.image[0], reference=phantom.labels, prediction=prediction, spacing=SPACING)


def row(case="a", kind="liver", *, index=3, iou=0.8, contained=1.0, size=4.0):
    """An object at the voxel (10, 20, 30) and what was found for it; an IoU of 0 is a miss."""
    box = tuple(float(centre + side * size / 2) for side in (-1, 1) for centre in (10, 20, 30))
    found = {"box": box, "roi": box, "score": 0.9} if iou else {"score": float("nan")}
    return LocatedRow(case=case, kind=kind, slice=index, iou=iou, contained=contained, object=box, **found)


def false_row(case="a", kind="liver", index=3, score=0.5):
    box = (1.5, 2.5, 29.5, 5.5, 8.5, 30.5)
    nothing = {"iou": 0.0, "contained": float("nan")}
    return LocatedRow(case=case, kind=kind, slice=index, score=score, box=box, roi=box, **nothing)


def rows_of(case, labels, dims):
    """The objects of a phantom, found with boxes that are off by a voxel or two, and now and then missed."""
    parts = (
        [(index, labels[:, :, index : index + 1]) for index in range(labels.shape[2])] if dims == 2 else [(-1, labels)]
    )
    for index, part in parts:
        move = np.array([0, 0, max(index, 0)] * 2, float)
        for number, each in enumerate(objects(part, len(CLASSES), "class")):
            box = np.array(each.box) + move
            facts = {"case": case, "kind": CLASSES[each.kind + 1], "slice": index, "object": tuple(box.tolist())}
            if (index + number) % 9 == 7:
                yield LocatedRow(score=float("nan"), iou=0.0, contained=0.0, **facts)
                continue
            off = number + index % 3
            found = box + np.array([off, 1, 0] * 2)
            roi = found + np.array([-3, -3, 0, 3, 3, 0])
            share = float(np.exp(-off / 4))
            places = {"box": tuple(found.tolist()), "roi": tuple(roi.tolist())}
            yield LocatedRow(score=0.9, iou=share, contained=min(1.0, share + 0.2), **facts, **places)


def heat_of(case):
    """Warm where the liver is."""
    return (load(case).reference > 0).astype(np.float32) * 0.7


def located_run(make_run, name="lsnet", dims=2):
    """A run of three cases with a table of localisation, and with phantoms for its pictures."""
    folder = make_run(name, cases=3).folder
    cases = [f"phantom_{number:03d}" for number in (1, 2, 3)]
    rows = [each for case in cases for each in rows_of(case, load(case).reference, dims)]
    (folder / "localisation.csv").write_text(located_to_csv(rows))
    with (folder / "plan.yaml").open("a") as plan:
        plan.write("axes: {value: [2, 1, 0], reason: the coarsest axis comes first}\n")
    return read_run(folder, load, heat_of)
