"""Components of a mask: against SciPy's, up to their numbers."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import ndimage

from edgewise.components import numbered

MASKS = arrays(bool, st.tuples(*(st.integers(1, 12),) * 2)) | arrays(bool, st.tuples(*(st.integers(1, 6),) * 3))
CONNECTIVITIES = pytest.mark.parametrize("connectivity", ["faces", "edges", "corners"])


def agrees(mask, connectivity):
    """Whether both number the same voxels, and the same voxels alike."""
    rank = {"faces": 1, "edges": 2, "corners": mask.ndim}[connectivity]
    found, count = numbered(mask, connectivity)
    expected, number = ndimage.label(mask, ndimage.generate_binary_structure(mask.ndim, rank))
    pairs = set(zip(found.ravel().tolist(), expected.ravel().tolist(), strict=True)) | {(0, 0)}
    return count == number and len(pairs) == number + 1 == len({a for a, _ in pairs}) == len({b for _, b in pairs})


@CONNECTIVITIES
@given(mask=MASKS)
def test_they_are_those_of_scipy(mask, connectivity):
    assert agrees(mask, connectivity)


@CONNECTIVITIES
@pytest.mark.parametrize("shape", [(1, 5), (7, 2), (8, 11), (4, 3), (1, 1, 3), (2, 3, 4)], ids=str)
def test_one_voxel_is_one_component_wherever_it_lies(shape, connectivity):
    """cc3d 4.1.1 finds more in some of these images."""
    for place in product(*map(range, shape)):
        mask = np.zeros(shape, bool)
        mask[place] = True
        assert agrees(mask, connectivity), place


@CONNECTIVITIES
def test_they_are_those_of_scipy_in_images_of_many_sizes(connectivity):
    rng = np.random.default_rng(0)
    for _ in range(200):
        mask = rng.random(rng.integers(1, 60, 2)) < rng.random() ** 3
        assert agrees(mask, connectivity)
