"""What holds for every distance map, whoever wrote it. A new file in maps/ is tested here without an edit.

Every contract is a function of a map and a spatial shape that raises AssertionError; at the end, broken maps must
fail them.
"""

import pickle
import re
from dataclasses import dataclass, fields
from itertools import permutations
from typing import ClassVar, Literal, get_args, get_type_hints

import numpy as np
import pytest
import torch
from pydantic import TypeAdapter
from typing_extensions import override

import edgewise.maps
from edgewise.maps import DistanceMap
from edgewise.maps.hausdorff import Hausdorff
from edgewise.maps.rectify import Rectification
from edgewise.maps.region_wise import Rectified
from edgewise.maps.regions import Regions
from edgewise.truth import Truth

CLASSES = 4
SPACES = {"2d": (9, 8), "3d": (7, 6, 5), "thin": (1, 8, 7)}
SPACING = (4.0, 1.0, 0.5)


def images(space):
    """Random labels, touching blobs with depth, one voxel, and images that one class fills. Class 3 is often absent."""
    noise = np.random.default_rng(0).integers(0, CLASSES, space).astype(np.uint8)
    blobs = np.zeros(space, np.uint8)
    blobs[tuple(slice(size // 4, size // 4 + max(1, size // 2)) for size in space)] = 2
    blobs[..., : space[-1] // 2] = np.where(blobs[..., : space[-1] // 2] == 2, 1, 0)
    blobs[..., -1] = 2
    voxel = np.zeros(space, np.uint8)
    voxel[tuple(size // 2 for size in space)] = 1
    return [noise, blobs, voxel, np.zeros(space, np.uint8), np.full(space, 3, np.uint8)]


def built(each, labels, channels="fewest", classes=CLASSES):
    return each(labels, classes=classes, spacing=SPACING[: labels.ndim], channels=channels)


def alike(each, actual, expected):
    """Equal but for rounding, (C, *space); names, such as numbers of components, but for the choice of the names."""
    if each.values == "measures":
        np.testing.assert_allclose(actual, expected, rtol=1e-5, atol=1e-6)
        return
    for ours, theirs in zip(actual, expected, strict=True):
        pairs = set(zip(ours.ravel().tolist(), theirs.ravel().tolist(), strict=True))
        assert len(pairs) == len({one for one, _ in pairs}) == len({other for _, other in pairs})
        assert all((one == 0) == (other == 0) for one, other in pairs)


def is_finite_float32_of_its_shape(each, space):
    for labels in images(space):
        field = built(each, labels)
        assert field.dtype == np.float32
        assert field.shape == (space if each.channels == "own" else (CLASSES, *space))
        assert np.isfinite(field).all()


def expands_to_one_channel_a_class(each, space):
    for labels in images(space):
        field, full = built(each, labels), built(each, labels, "all")
        assert full.dtype == np.float32
        assert full.shape == (CLASSES, *space)
        own = labels == np.arange(CLASSES).reshape(-1, *(1,) * labels.ndim)
        if each.channels == "all":
            np.testing.assert_array_equal(full, field)
        elif each.elsewhere == "own":
            np.testing.assert_array_equal(full, np.broadcast_to(field, full.shape))
        else:
            np.testing.assert_array_equal(full, np.where(own, field, np.float32(each.elsewhere)))


def stays_in_its_range(each, space):
    low, high = each.range
    for labels in images(space):
        foreground = built(each, labels, "all")[1:]
        assert low <= foreground.min()
        assert foreground.max() <= high


def holds_one_value_for_a_class_that_fills_the_image(each, space):
    for labels in images(space)[-2:]:
        for channel in built(each, labels, "all"):
            assert np.unique(channel).size == 1


def holds_one_value_for_an_absent_class_unless_it_weighs_voxels(each, space):
    for labels in images(space):
        for number, channel in enumerate(built(each, labels, "all")):
            if number not in labels and each.elsewhere != "own":
                assert np.unique(channel).size == 1


def is_not_changed_by_one_more_absent_class(each, space):
    for labels in images(space):
        alike(each, built(each, labels, "all", CLASSES + 1)[:CLASSES], built(each, labels, "all"))


def is_built_image_by_image_and_alike_from_tensors(each, space):
    batch = np.stack(images(space))
    together = each(batch, classes=CLASSES, spacing=SPACING[: len(space)])
    for labels, field in zip(batch, together, strict=True):
        np.testing.assert_array_equal(field, built(each, labels))
    tensor = each(torch.from_numpy(batch), classes=CLASSES, spacing=SPACING[: len(space)])
    np.testing.assert_array_equal(tensor.numpy(), together)


def is_what_a_truth_carries(each, space):
    batch = torch.from_numpy(np.stack(images(space)))
    spacing = SPACING[: len(space)]
    truth = Truth.of(batch.long(), classes=CLASSES, spacing=spacing, needs=(Rectified(), each, Rectified()))
    torch.testing.assert_close(truth.maps[each], each(batch, classes=CLASSES, spacing=spacing), rtol=0, atol=0)


def leaves_labels_and_shared_geometry_as_they_were(each, space):
    labels = torch.from_numpy(np.stack(images(space)))
    used, fresh = (Regions(labels=labels.clone(), classes=CLASSES, spacing=SPACING[: len(space)]) for _ in range(2))
    first, again = each.of(used).clone(), each.of(used)
    torch.testing.assert_close(first, again, rtol=0, atol=0)
    torch.testing.assert_close(used.labels, labels, rtol=0, atol=0)
    for name in ("inside", "to_boundary", "masks", "bounded", "foreground"):
        torch.testing.assert_close(getattr(used, name), getattr(fresh, name), rtol=0, atol=0)


def is_the_mirrored_map_of_a_mirrored_image(each, space):
    for labels in images(space):
        for axis in range(-len(space), 0):
            alike(each, built(each, np.flip(labels, axis), "all"), np.flip(built(each, labels, "all"), axis))


def does_not_depend_on_the_order_of_the_axes(each, space):
    for labels in images(space):
        full = built(each, labels, "all")
        for order in permutations(range(len(space))):
            spacing = tuple(SPACING[axis] for axis in order)
            turned = each(labels.transpose(order), classes=CLASSES, spacing=spacing, channels="all")
            alike(each, turned, full.transpose(0, *(axis + 1 for axis in order)))


def has_its_channels_swapped_when_foreground_classes_are(each, space):
    swap = np.array([0, 3, 1, 2])
    for labels in images(space):
        alike(each, built(each, swap[labels], "all")[swap], built(each, labels, "all"))


def does_not_depend_on_type_byte_order_and_memory_layout(each, space):
    labels = images(space)[0]
    expected = built(each, labels)
    others = [labels.astype(dtype) for dtype in (">i2", "<u2", ">u4", "i1", "u8")]
    others += [np.asfortranarray(labels), np.repeat(labels, 2, axis=1)[:, ::2], labels[::-1].copy()[::-1]]
    others[0].flags.writeable = False
    for other in others:
        np.testing.assert_array_equal(built(each, other), expected)
    for dtype in (torch.int8, torch.int16, torch.int32, torch.int64):
        tensor = torch.from_numpy(labels).to(dtype)
        np.testing.assert_array_equal(built(each, tensor), expected)
        np.testing.assert_array_equal(built(each, tensor.mT.contiguous().mT), expected)


def takes_a_soft_mask_as_a_hard_one(each, space):
    soft = np.random.default_rng(1).random(space)
    expected = built(each, (soft >= 0.5).astype(np.uint8), classes=2)
    for mask in (soft, soft >= 0.5, soft.astype(">f4"), (soft >= 0.5).astype(np.float16)):
        np.testing.assert_array_equal(built(each, mask, classes=2), expected)
    for tensor in (torch.from_numpy(soft).requires_grad_(), torch.from_numpy(soft >= 0.5)):
        np.testing.assert_array_equal(built(each, tensor, classes=2), expected)


def does_not_change_its_input(each, space):
    for labels in images(space):
        for given in (labels.copy(), torch.from_numpy(labels.copy())):
            built(each, given, "all")
            np.testing.assert_array_equal(given, labels)


def makes_an_empty_batch_of_an_empty_batch(each, space):
    nothing = np.zeros((0, *space), np.uint8)
    spacing = SPACING[: len(space)]
    assert each(nothing, classes=CLASSES, spacing=spacing, channels="all").shape == (0, CLASSES, *space)


def is_a_key_that_survives_the_way_to_a_worker_process(each, space):  # noqa: ARG001
    assert {each: 1}.get(pickle.loads(pickle.dumps(each))) == 1


def names_a_source_and_its_formula(each, space):  # noqa: ARG001
    assert re.search(r"doi:10\.\d{4,}/\S+|arXiv:\d{4}\.\d{4,}", type(each).source)
    assert "$" in (type(each).__doc__ or "")


CONTRACTS = [
    is_finite_float32_of_its_shape,
    expands_to_one_channel_a_class,
    stays_in_its_range,
    holds_one_value_for_a_class_that_fills_the_image,
    holds_one_value_for_an_absent_class_unless_it_weighs_voxels,
    is_not_changed_by_one_more_absent_class,
    is_built_image_by_image_and_alike_from_tensors,
    is_what_a_truth_carries,
    leaves_labels_and_shared_geometry_as_they_were,
    is_the_mirrored_map_of_a_mirrored_image,
    does_not_depend_on_the_order_of_the_axes,
    has_its_channels_swapped_when_foreground_classes_are,
    does_not_depend_on_type_byte_order_and_memory_layout,
    takes_a_soft_mask_as_a_hard_one,
    does_not_change_its_input,
    makes_an_empty_batch_of_an_empty_batch,
    is_a_key_that_survives_the_way_to_a_worker_process,
    names_a_source_and_its_formula,
]


def variants(cls):
    """The map as it comes, and once with each other value of every field that is a choice."""
    yield cls.kind, cls()
    hints = get_type_hints(cls)
    for each in fields(cls):
        for option in get_args(hints[each.name]) if isinstance(each.default, str) else ():
            if option != each.default:
                yield f"{cls.kind}-{each.name}={option}", cls(**{each.name: option})


EVERY = dict(pair for cls in edgewise.maps.MAPS.values() for pair in variants(cls))
EVERY["hausdorff-alpha=0.5"] = Hausdorff(alpha=0.5)
EVERY["rectification-map=rectified"] = Rectification(map=Rectified(per="component"), value=2.5)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("each", EVERY.values(), ids=EVERY)
def test_every_map(each, space, contract):
    contract(each, space)


@pytest.mark.parametrize(("kind", "cls"), edgewise.maps.MAPS.items(), ids=edgewise.maps.MAPS)
def test_the_package_has_the_map_by_its_kind_and_the_class_by_its_name(kind, cls):
    assert getattr(edgewise.maps, kind) == cls()
    assert getattr(edgewise.maps, cls.__name__) is cls


@pytest.mark.parametrize("each", EVERY.values(), ids=EVERY)
def test_a_file_chooses_the_map_by_kind(each):
    adapter = TypeAdapter(DistanceMap)
    assert adapter.validate_python(adapter.dump_python(each)) == each


# Mutants: each map below is broken in one way, and the named contract must notice.


@dataclass(frozen=True, kw_only=True)
class Mutant(DistanceMap):
    """Minus the inside distance, elsewhere 1, until a mutation changes it; not $correct$."""

    kind: Literal["mutant"] = "mutant"
    elsewhere: ClassVar = 1.0
    source: ClassVar[str] = "nobody, arXiv:0000.00000"

    @override
    def of(self, regions):
        return -regions.inside


class Double(Mutant):
    def of(self, regions):
        return super().of(regions).double()


class ForgetsTheOthers(Mutant):
    def expanded(self, field, labels, classes):  # noqa: ARG002
        return field[:, None].expand(-1, classes, *field.shape[1:])


class Unranged(Mutant):
    range: ClassVar = (-0.5, 1.0)


class Ramp(Mutant):
    def of(self, regions):
        filled = (regions.labels == regions.labels[:, :1, ..., :1]).flatten(1).all(1)
        ramp = torch.arange(regions.labels[0].numel()).reshape(regions.labels.shape[1:])
        return super().of(regions) + filled.reshape(-1, *(1,) * ramp.ndim) * ramp


@dataclass(frozen=True, kw_only=True)
class Stale(Mutant):
    """The published defect: an absent class has the distances of another."""

    channels: ClassVar = "all"

    def of(self, regions):
        absent = ~regions.bounded
        shape = (*absent.shape, *(1,) * (regions.labels.ndim - 1))
        return regions.to_boundary + absent.reshape(shape) * regions.to_boundary.amax(1, keepdim=True)


class CountsClasses(Mutant):
    def of(self, regions):
        return super().of(regions) / regions.classes


class CrossesImages(Mutant):
    def of(self, regions):
        return super().of(regions) / regions.inside.sum()


class Noisy(Mutant):
    def of(self, regions):
        return super().of(regions) + torch.rand(())


class InPlace(Mutant):
    def of(self, regions):
        return regions.inside.neg_()


class Lopsided(Mutant):
    def of(self, regions):
        return super().of(regions) + torch.arange(regions.labels.shape[-1])


class CutsInThrees(Mutant):
    values: ClassVar = "names"

    def of(self, regions):
        return (regions.labels > 0) * (1.0 + torch.arange(regions.labels.shape[-1]) // 3)


class MisreadsSpacing(Mutant):
    def of(self, regions):
        return super().of(regions) * regions.spacing[0]


class FavoursClassOne(Mutant):
    def of(self, regions):
        return super().of(regions) * (1 + (regions.labels == 1))


class OnlyOneType(Mutant):
    def __call__(self, labels, **settings):
        return super().__call__(labels, **settings) * (1 + (labels.dtype in {torch.int16, np.dtype(">i2")}))


class RoundsDown(Mutant):
    def __call__(self, labels, **settings):
        soft = isinstance(labels, np.ndarray) and labels.dtype.kind == "f"
        return super().__call__(np.floor(labels) if soft else labels, **settings)


class Overwrites(Mutant):
    def __call__(self, labels, **settings):
        field = super().__call__(labels, **settings)
        labels[..., 0] = 3
        return field


class NeedsAnImage(Mutant):
    def __call__(self, labels, **settings):
        assert labels.size, "no image"
        return super().__call__(labels, **settings)


class NoKey(Mutant):
    __hash__ = object.__hash__


class Anonymous(Mutant):
    source: ClassVar[str] = "somebody"


MUTANTS = {
    Double: is_finite_float32_of_its_shape,
    ForgetsTheOthers: expands_to_one_channel_a_class,
    Unranged: stays_in_its_range,
    Ramp: holds_one_value_for_a_class_that_fills_the_image,
    Stale: holds_one_value_for_an_absent_class_unless_it_weighs_voxels,
    CountsClasses: is_not_changed_by_one_more_absent_class,
    CrossesImages: is_built_image_by_image_and_alike_from_tensors,
    Noisy: is_what_a_truth_carries,
    InPlace: leaves_labels_and_shared_geometry_as_they_were,
    Lopsided: is_the_mirrored_map_of_a_mirrored_image,
    CutsInThrees: is_the_mirrored_map_of_a_mirrored_image,
    MisreadsSpacing: does_not_depend_on_the_order_of_the_axes,
    FavoursClassOne: has_its_channels_swapped_when_foreground_classes_are,
    OnlyOneType: does_not_depend_on_type_byte_order_and_memory_layout,
    RoundsDown: takes_a_soft_mask_as_a_hard_one,
    Overwrites: does_not_change_its_input,
    NeedsAnImage: makes_an_empty_batch_of_an_empty_batch,
    NoKey: is_a_key_that_survives_the_way_to_a_worker_process,
    Anonymous: names_a_source_and_its_formula,
}


@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.__name__)
def test_a_broken_map_fails_its_contract(mutant, space):
    with pytest.raises(AssertionError):
        MUTANTS[mutant](mutant(), space)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
@pytest.mark.parametrize("space", SPACES.values(), ids=SPACES)
def test_the_map_that_the_mutants_are_made_of_passes(space, contract):
    contract(Mutant(), space)
    assert contract in MUTANTS.values()
