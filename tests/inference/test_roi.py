"""Regions of interest: out of the image and back, and how the gradient crosses."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torch.autograd import gradcheck

from edgewise.detection.boxes import grown
from edgewise.errors import ExperimentError
from edgewise.inference.roi import Crop, Recalibration, labels_in, pasted, placed, recalibrated

DIMS = st.sampled_from([2, 3])


def smooth(*shape, seed=0):
    """A random image without kinks finer than some voxels, in double precision."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.arange(n) for n in shape), indexing="ij")
    waves = [np.sin(sum(a * f for a, f in zip(axes, rng.uniform(0.1, 0.6, len(shape)), strict=True))) for _ in range(3)]
    return torch.from_numpy(np.sum(waves, axis=0))[None, None]


@pytest.mark.parametrize("dims", [2, 3])
def test_the_gradient_crosses_the_region_to_distances_and_position(dims):
    """What L-Net answers (distances to the sides) and where its keypoint is, through the affine map."""
    space = (11, 13, 9)[:dims]
    image = smooth(*space)
    position = torch.tensor([5.3, 6.2, 4.4][:dims], dtype=torch.float64, requires_grad=True)
    low = torch.tensor([2.21, 3.37, 1.93][:dims], dtype=torch.float64, requires_grad=True)
    high = torch.tensor([3.11, 2.73, 2.39][:dims], dtype=torch.float64, requires_grad=True)

    def region(at, before, behind):
        box = torch.cat((at - before, at + behind))[None]
        return recalibrated(image, grown(box, 1.13), (6, 5, 4)[:dims])

    assert gradcheck(region, (position, low, high), eps=1e-7, atol=1e-5)
    region(position, low, high).square().sum().backward()
    assert all(each.grad.abs().min() > 0 for each in (position, low, high))


@given(st.data(), DIMS)
def test_a_region_shows_every_place_where_it_is(data, dims):
    """An image of coordinates: each sample is the coordinate of its own place, in the middle of its share."""
    space, size = (12, 10, 9)[:dims], (7, 4, 5)[:dims]
    low = [data.draw(st.floats(0.0, n / 2 - 1)) for n in space]
    high = [data.draw(st.floats(n / 2, n - 1.0)) for n in space]
    grid = torch.stack(torch.meshgrid(*(torch.arange(float(n)) for n in space), indexing="ij"))[None]
    found = recalibrated(grid, torch.tensor([[*low, *high]]), size)[0]
    for axis, (a, b, n) in enumerate(zip(low, high, size, strict=True)):
        expected = a + (torch.arange(n) + 0.5) * (b - a) / n
        line = found[axis].movedim(axis, 0).reshape(n, -1)
        torch.testing.assert_close(line, expected[:, None].expand_as(line), atol=1e-4, rtol=0)


@given(DIMS, st.integers(0, 2**31))
def test_a_whole_image_is_its_own_region(dims, seed):
    space = (6, 7, 5)[:dims]
    image = smooth(*space, seed=seed).float()
    whole = (*(-0.5,) * dims, *(n - 0.5 for n in space))
    torch.testing.assert_close(recalibrated(image, torch.tensor([whole]), space), image)
    where, found = placed(image[0], whole, space)
    assert where == tuple(slice(0, n) for n in space)
    torch.testing.assert_close(found, image[0], atol=1e-5, rtol=1e-5)


def balls(space, rng):
    """A mask of a ball somewhere in the image, perhaps cut by its border."""
    centre = [rng.uniform(0, n - 1) for n in space]
    axes = np.meshgrid(*(np.arange(n) for n in space), indexing="ij")
    squared = sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True))
    mask = squared < rng.uniform(1, 6) ** 2
    mask[tuple(round(c) for c in centre)] = True
    return mask


def back_again(mask, transfer):
    """A mask after the way into the region around it and back."""
    places, dims = np.argwhere(mask), mask.ndim
    box = (*(float(n) for n in places.min(0) - 0.5), *(float(n) for n in places.max(0) + 0.5))
    roi = transfer.roi(box, mask.shape)
    labels = torch.from_numpy(mask.astype(np.int64))[None]
    seen = labels_in(labels, torch.tensor([roi]), transfer.size)[0].float()
    canvas = torch.zeros(2, *mask.shape)
    canvas[0] = 1
    pasted(canvas, *transfer.place(torch.stack((1 - seen, seen)), roi, mask.shape))
    lengths = [roi[dims + axis] - roi[axis] for axis in range(dims)]
    return canvas.argmax(0).numpy().astype(bool), max(lengths)


@given(DIMS, st.integers(0, 2**31), st.floats(0.0, 20.0))
@settings(max_examples=80)
def test_a_mask_comes_back_from_its_region(dims, seed, margin):
    """Regions at the border of the image, larger than it, and around a single voxel are among them."""
    rng = np.random.default_rng(seed)
    mask = balls(tuple(int(n) for n in rng.integers(1, 22, dims)), rng)
    back, length = back_again(mask, Recalibration(margin=margin, size=(40,) * dims))
    if 2 * length < 40:
        assert np.array_equal(back, mask)  # every sample that a voxel's centre lies between is the voxel's own
        return
    # Fewer samples: what differs lies at the surface.
    full = ndimage.generate_binary_structure(dims, dims)
    assert back[ndimage.binary_erosion(mask, full)].all()
    assert not back[~ndimage.binary_dilation(mask, full)].any()


@given(DIMS, st.integers(0, 2**31))
@settings(max_examples=50)
def test_a_larger_mask_comes_back_with_a_dice_above_0_9_at_the_scale_of_the_image(dims, seed):
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.arange(26),) * dims, indexing="ij")
    centre, radius = rng.uniform(8, 17, dims), rng.uniform(6, 9)
    mask = sum((a - c) ** 2 for a, c in zip(axes, centre, strict=True)) < radius**2
    back, length = back_again(mask, Recalibration(margin=4.0, size=(26,) * dims))
    assert length < 27
    assert 2 * (back & mask).sum() / (back.sum() + mask.sum()) > 0.9


@given(DIMS, st.integers(0, 2**31), st.integers(0, 6))
@settings(max_examples=100)
def test_a_crop_comes_back_voxel_for_voxel(dims, seed, border):
    rng = np.random.default_rng(seed)
    space = tuple(int(n) for n in rng.integers(1, 15, dims))
    edges = [sorted(rng.uniform(-3, n + 3, 2)) for n in space]
    box = (*(float(a) for a, _ in edges), *(float(b) for _, b in edges))
    crop, image = Crop(border=border), torch.rand(1, 2, *space)
    roi = crop.roi(box, space)
    assert all(-0.5 <= a < b <= n - 0.5 for a, b, n in zip(roi[:dims], roi[dims:], space, strict=True))
    cut = crop.cut(image, roi, space, (4,) * dims)
    assert all(n % 4 == 0 for n in cut.shape[2:])
    where, found = crop.place(cut[0], roi, space)
    assert torch.equal(found, image[(0, slice(None), *where)])
    inside = [(max(a - border, -0.5), min(b + border, n - 0.5)) for (a, b), n in zip(edges, space, strict=True)]
    for (a, b), s in zip(inside, where, strict=True):
        if a < b:  # the box meets the image: the crop holds it, to half a voxel
            assert s.start - 0.5 <= a + 0.5
            assert s.stop - 0.5 >= b - 0.5


def test_where_regions_overlap_the_surest_of_an_object_decides():
    canvas = torch.zeros(3, 1, 4)
    canvas[0] = 1
    pasted(canvas, (slice(0, 1), slice(0, 3)), torch.tensor([[[0.9] * 3], [[0.1] * 3], [[0.0] * 3]]))
    pasted(canvas, (slice(0, 1), slice(1, 4)), torch.tensor([[[0.2] * 3], [[0.7] * 3], [[0.1] * 3]]))
    assert canvas.argmax(0).tolist() == [[0, 1, 1, 1]]
    torch.testing.assert_close(canvas.sum(0), torch.ones(1, 4))
    before = canvas.clone()
    pasted(canvas, (slice(0, 1), slice(1, 4)), torch.tensor([[[1.0] * 3], [[0.0] * 3], [[0.0] * 3]]))
    torch.testing.assert_close(canvas, before)


@pytest.mark.parametrize("roi", [(30.0, 30.0, 40.0, 40.0), (-9.0, -9.0, -3.0, -3.0), (4.2, 4.2, 4.2, 4.2)])
def test_a_region_outside_the_image_or_without_extent_is_pasted_nowhere(roi):
    where, found = placed(torch.ones(2, 5, 5), roi, (8, 8))
    assert found.shape[1:] == tuple(s.stop - s.start for s in where)
    assert not found.numel()


def test_outside_the_image_a_region_is_0_and_background():
    image, labels = torch.ones(1, 1, 4, 4), torch.ones(1, 4, 4, dtype=torch.long)
    roi = torch.tensor([[-4.5, -0.5, 3.5, 3.5]])
    seen = recalibrated(image, roi, (8, 4))
    assert not seen[0, 0, :3].any()
    assert (seen[0, 0, 5:] == 1).all()
    assert labels_in(labels, roi, (8, 4))[0].tolist() == [[0] * 4] * 4 + [[1] * 4] * 4


@pytest.mark.parametrize("wrong", [{"margin": -1.0}, {"margin": float("inf")}, {"size": (8, 0)}])
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(ExperimentError, match="must be"):
        Recalibration(**wrong)
    with pytest.raises(ExperimentError, match="must be at least 0"):
        Crop(border=-2)
