"""Deformations agree with SimpleITK's B-splines, and never go farther than they say."""

import numpy as np
import pytest
import SimpleITK
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from edgewise.data.deformation import displace, distances, largest


def control_points(dims, points, seed=0, size=5.0):
    return (np.random.default_rng(seed).standard_normal((dims, *(points,) * dims)) * size).astype(np.float32)


def displacement(shifts, patch):
    field = torch.zeros((len(patch), *patch))
    displace(field, torch.from_numpy(shifts))
    return field.numpy()


def by_simpleitk(shifts, patch):
    dims = len(patch)
    transform = SimpleITK.BSplineTransform(dims, 3)
    transform.SetTransformDomainMeshSize([shifts.shape[-1] - 3] * dims)
    transform.SetTransformDomainOrigin([-0.5] * dims)
    transform.SetTransformDomainPhysicalDimensions([float(n) for n in patch[::-1]])
    transform.SetParameters(np.concatenate([axis.ravel() for axis in shifts[::-1]]).astype(float).tolist())
    field = SimpleITK.TransformToDisplacementField(transform, SimpleITK.sitkVectorFloat64, patch[::-1])
    return np.moveaxis(SimpleITK.GetArrayFromImage(field), -1, 0)[::-1]


@pytest.mark.parametrize("points", [4, 5, 7, 12])
@pytest.mark.parametrize("patch", [(40, 56, 40), (13, 20, 9), (1, 12, 5), (33, 17), (64, 64), (7, 1)], ids=str)
def test_displacements_are_those_of_simpleitk(patch, points):
    shifts = control_points(len(patch), points)
    ours, theirs = displacement(shifts, patch), by_simpleitk(shifts, patch)
    np.testing.assert_allclose(ours, theirs, atol=1e-6 * np.abs(shifts).max())


patches = st.one_of(st.tuples(*[st.integers(1, 20)] * 3), st.tuples(*[st.integers(1, 40)] * 2))


@settings(max_examples=60)
@given(patch=patches, points=st.integers(4, 9), seed=st.integers(0, 10**6), spike=st.booleans())
def test_no_displacement_exceeds_its_bound_which_is_no_worse_than_the_hull(patch, points, seed, spike):
    shifts = control_points(len(patch), points, seed)
    if spike:
        shifts[:, *np.random.default_rng(seed).integers(points, size=len(patch))] = 1e4
    bound = largest(shifts)
    assert bound.shape == (len(patch),)
    moved = np.abs(displacement(shifts, patch)).reshape(len(patch), -1).max(axis=1)
    hull = np.abs(shifts).reshape(len(patch), -1).max(axis=1)
    assert (moved <= bound * (1 + 1e-5)).all()
    assert (bound <= hull * (1 + 1e-5)).all()


@pytest.mark.parametrize("dims", [2, 3])
def test_the_bound_is_close_for_random_shifts(dims):
    patch = (48,) * dims
    shifts = control_points(dims, 7)
    moved = np.abs(displacement(shifts, patch)).reshape(dims, -1).max(axis=1)
    assert (largest(shifts) < 1.2 * moved).all()


@given(patch=patches, points=st.integers(4, 8))
@settings(max_examples=20)
def test_control_points_that_move_together_move_everything_as_they_do(patch, points):
    together = np.ones((len(patch), *(points,) * len(patch)), np.float32) * np.float32(3)
    np.testing.assert_allclose(displacement(together, patch), 3, rtol=1e-6)
    np.testing.assert_allclose(largest(together), 3, rtol=1e-6)


@given(patch=patches)
@settings(max_examples=20)
def test_control_points_on_a_line_stretch_evenly(patch):
    # Linear precision of B-splines: points shifted in proportion to their place give a linear field.
    points, dims = 6, len(patch)
    places = np.arange(points, dtype=np.float32) - (points - 1) / 2
    shifts = np.zeros((dims, *(points,) * dims), np.float32)
    for axis in range(dims):
        shifts[axis] = (places * distances(points, patch)[axis]).reshape([-1 if a == axis else 1 for a in range(dims)])
    centred = [np.arange(n) - (n - 1) / 2 for n in patch]
    np.testing.assert_allclose(displacement(shifts, patch), np.meshgrid(*centred, indexing="ij"), atol=1e-4)


def test_displacements_are_added_to_what_is_there():
    field, shifts = torch.full((2, 9, 8), 7.0), control_points(2, 5)
    displace(field, torch.from_numpy(shifts))
    np.testing.assert_allclose(field.numpy(), displacement(shifts, (9, 8)) + 7, atol=1e-5)


@pytest.mark.parametrize(("patch", "folds"), [((64, 64, 64), False), ((40, 56, 40), True)], ids=str)
def test_shifts_of_15_voxels_fold_small_patches_only(patch, folds):
    # As the module says: 5 points, 12 draws; none of 64³ and some of 40 x 56 x 40 fold.
    least = []
    for seed in range(12):
        field = displacement(control_points(3, 5, seed, 15.0), patch)
        jacobian = np.stack([np.stack(np.gradient(axis)) for axis in field]) + np.eye(3).reshape(3, 3, 1, 1, 1)
        least.append(np.linalg.det(np.moveaxis(jacobian, (0, 1), (-2, -1))).min())
    assert (min(least) <= 0) == folds
