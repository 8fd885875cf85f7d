"""The boundary loss against its definition with SciPy's distances, and what its offset does to thin structures."""

import pytest
import torch
from scipy.ndimage import distance_transform_edt

from edgewise.losses.boundary import Boundary
from edgewise.maps.boundary import Boundary as BoundaryMap


def signed(labels, classes, spacing, less):
    """phi of every class by SciPy, (B, C, *space)."""
    phi = torch.zeros(len(labels), classes, *labels.shape[1:], dtype=torch.float64)
    for image, fields in zip(labels, phi, strict=True):
        for each, field in enumerate(fields):
            mask = (image == each).numpy()
            if mask.any() and not mask.all():
                inside = distance_transform_edt(mask, sampling=spacing) - less
                outside = distance_transform_edt(~mask, sampling=spacing)
                field[...] = torch.from_numpy(outside * ~mask - inside * mask)
    return phi


@pytest.mark.parametrize("background", [True, False])
@pytest.mark.parametrize(("offset", "less"), [("none", 0.0), ("one_voxel", 0.5)])
@pytest.mark.parametrize("space", [(9, 8), (5, 7, 6)], ids=["2d", "3d"])
def test_value_and_gradient_agree_with_the_definition(background, offset, less, space):
    spacing = (2.0, 0.5, 1.5)[: len(space)]
    labels = torch.zeros(2, *space, dtype=torch.long)
    labels[0, 1:4, 2:6] = 1
    labels[0, 4:, :2] = 2
    logits = torch.randn(2, 3, *space, dtype=torch.float64, requires_grad=True)
    loss = Boundary(background=background, map=BoundaryMap(offset=offset))
    ours = loss(logits, labels, spacing=spacing)
    phi, p = signed(labels, 3, spacing, less), logits.softmax(1)
    theirs = (p * phi)[:, 0 if background else 1 :].mean()
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-7)
    (a,), (b,) = torch.autograd.grad(ours, logits), torch.autograd.grad(theirs, logits)
    torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-9)


@pytest.mark.parametrize(("offset", "rewarded"), [("none", True), ("one_voxel", False)])
def test_the_authors_offset_takes_the_reward_from_structures_two_voxels_thick(offset, rewarded):
    labels = torch.zeros(1, 8, 8, dtype=torch.long)
    labels[:, 3:5] = 1
    found = 40.0 * torch.nn.functional.one_hot(labels, 2).movedim(-1, 1)
    missed = 40.0 * torch.nn.functional.one_hot(0 * labels, 2).movedim(-1, 1)
    loss = Boundary(map=BoundaryMap(offset=offset))
    assert bool(loss(found, labels) < loss(missed, labels) - 1e-6) is rewarded
