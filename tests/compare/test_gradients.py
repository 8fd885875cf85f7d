"""Gradients of losses with respect to logits: closed forms, signs, and what is held fixed."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import edgewise
from edgewise.compare.gradients import PATTERNS, alone, field, negative, pattern, slice_gradient, tallies
from edgewise.compare.simplex import SURE, Scene, cells, corners, heart, placed
from edgewise.errors import DataError
from edgewise.losses import LOSSES, CrossEntropy, Dice, Focal, RegionWise
from edgewise.maps import MAPS
from edgewise.maps.rectify import Rectification

BOUNDARY, RECTIFIED = RegionWise(map=MAPS["boundary"]()), RegionWise()
LABELS = heart()


def scene(values="built", true=2, others="reference"):
    return Scene(labels=LABELS, voxel=placed(LABELS, true, "deep"), others=others, values=values)


def drawn(count, seed=0):
    """Probabilities drawn uniformly from the simplex."""
    return np.random.default_rng(seed).dirichlet((1, 1, 1), count).T


def region_wise(p, z):
    """The gradient of the mean over three classes of p z, as the paper has it."""
    return p * (np.array(z)[:, None] - (p.T @ np.array(z))) / 3


class TestTheSimplex:
    def test_its_triangles_have_equal_areas_that_add_up_to_the_whole(self):
        flat = corners(7)[..., :2]
        sides = flat[:, 1:] - flat[:, :1]
        areas = np.abs(np.linalg.det(sides)) / 2
        np.testing.assert_allclose(areas, 0.5 / 49)

    def test_its_middles_are_probabilities_none_of_which_is_zero(self):
        p = cells(9)
        assert p.shape == (3, 81)
        assert p.min() > 0
        np.testing.assert_allclose(p.sum(0), 1)
        np.testing.assert_allclose(p.mean(1), 1 / 3)

    @pytest.mark.parametrize("true", [0, 1, 2])
    def test_a_voxel_lies_in_its_class_deep_or_at_its_edge(self, true):
        deep, edge = placed(LABELS, true, "deep"), placed(LABELS, true, "edge")
        assert LABELS[deep] == LABELS[edge] == true
        near = LABELS[edge[0] - 1 : edge[0] + 2, edge[1] - 1 : edge[1] + 2]
        assert (near != true).any()
        assert deep != edge

    def test_a_class_that_no_voxel_has_and_a_voxel_outside_are_refused(self):
        with pytest.raises(DataError, match="no voxel has class 7"):
            placed(LABELS, 7, "deep")
        with pytest.raises(DataError, match="does not lie in an image of shape"):
            Scene(labels=LABELS, voxel=(28, 0))


class TestClosedForms:
    def test_region_wise_is_p_times_map_less_its_mean(self):
        p, z = drawn(20), (10.0, 20.0, -3.0)
        np.testing.assert_allclose(field(BOUNDARY, scene(z), p).gradient, region_wise(p, z), rtol=1e-6)

    def test_the_boundary_map_of_the_labels_is_in_the_closed_form_divided_by_the_voxels(self):
        p, found = drawn(20), field(BOUNDARY, scene(), drawn(20))
        np.testing.assert_allclose(found.gradient, region_wise(p, found.values) / LABELS.size, rtol=1e-6)
        outside, ring, own = found.values
        assert own < 0 < ring < outside

    def test_cross_entropy_is_p_less_the_reference(self):
        p = drawn(20)
        hot = np.array([0, 0, 1])[:, None]
        np.testing.assert_allclose(field(CrossEntropy(), scene(), p).gradient * LABELS.size, p - hot, rtol=1e-6)

    def test_focal_is_cross_entropy_times_its_own_factor(self):
        p, gamma = drawn(20), 2.0
        own, hot = p[2], np.array([0, 0, 1])[:, None]
        factor = (1 - own) ** gamma - gamma * own * (1 - own) ** (gamma - 1) * np.log(own)
        found = field(Focal(gamma=gamma), scene(), p).gradient * LABELS.size
        np.testing.assert_allclose(found, (p - hot) * factor, rtol=1e-6)

    def test_dice_is_region_wise_with_a_map_that_the_other_voxels_make(self):
        p = drawn(20)
        rest = np.full((3, *LABELS.shape), (1 - SURE) / 2)
        np.put_along_axis(rest, LABELS[None], SURE, axis=0)
        others = LABELS[None] == np.arange(3)[:, None, None]
        voxel = placed(LABELS, 2, "deep")
        predicted = rest.sum((1, 2)) - rest[:, *voxel]
        both = (rest * others).sum((1, 2)) - (rest * others)[:, *voxel]
        true, eps, hot = others.sum((1, 2)), Dice().eps, np.array([0, 0, 1])
        for point, found in zip(p.T, field(Dice(), scene(), p).gradient.T, strict=True):
            top, bottom = 2 * (both + hot * point) + eps, predicted + point + true + eps
            z = -(2 * hot * bottom - top) / bottom**2
            np.testing.assert_allclose(found, region_wise(point[:, None], z)[:, 0], rtol=1e-6)

    @pytest.mark.parametrize("loss", [BOUNDARY, RECTIFIED, CrossEntropy(), Focal()], ids=lambda loss: loss.kind)
    def test_where_voxels_are_summed_the_others_do_not_matter(self, loss):
        p = drawn(5)
        first, *rest = (field(loss, scene(others=others), p).gradient for others in ("reference", "same", "even"))
        for other in rest:
            np.testing.assert_allclose(other, first, rtol=1e-9)

    def test_for_dice_the_others_matter(self):
        p = drawn(5)
        reference, same = (field(Dice(), scene(others=others), p).gradient for others in ("reference", "same"))
        assert not np.allclose(reference, same, rtol=0.1)

    def test_a_whole_slice_gives_what_the_definition_gives(self):
        rng = np.random.default_rng(0)
        logits = torch.from_numpy(rng.standard_normal((3, *LABELS.shape)))
        found = slice_gradient(CrossEntropy(), logits, LABELS, (1.0, 1.0))
        hot = LABELS[None] == np.arange(3)[:, None, None]
        np.testing.assert_allclose(found, (logits.softmax(0).numpy() - hot) / LABELS.size, rtol=1e-6)


class TestSigns:
    @pytest.mark.parametrize(("z", "share"), [((10.0, 20.0, -3.0), 0.43), ((3.0, 30.0, -5.0), 0.77)])
    def test_the_signed_distance_pushes_a_wrong_class_up_as_often_as_the_spec_says(self, z, share):
        grid = field(BOUNDARY, scene(z), cells(30))
        sampled = negative(region_wise(drawn(40_000), z)).sum(0)
        assert (sampled > 1).mean() == pytest.approx(share, abs=0.01)
        assert grid.several == pytest.approx((sampled > 1).mean(), abs=0.01)

    def test_shares_of_the_triangles_are_those_of_points_drawn_uniformly(self):
        grid, sampled = (field(Dice(), scene(), p) for p in (cells(12), drawn(400)))
        assert grid.several == pytest.approx(sampled.several, abs=0.06)
        assert grid.right == pytest.approx(sampled.right, abs=0.06)

    @pytest.mark.parametrize("kind", ["region_wise", "cross_entropy", "focal", "rectified_cross_entropy", "sum"])
    def test_losses_without_a_wrong_sign_have_none_anywhere(self, kind):
        loss = LOSSES[kind]() if kind != "sum" else RegionWise(map=Rectification())
        for true in range(3):
            found = field(loss, scene(true=true), cells(6))
            assert (found.several, found.right) == (0.0, 1.0)

    @settings(max_examples=40)
    @given(st.tuples(*(st.floats(0.001, 1),) * 3), st.floats(-1, -0.01), st.sampled_from([0, 1, 2]))
    def test_a_rectified_map_moves_the_true_class_alone_whatever_is_predicted(self, raw, depth, true):
        p = np.array(raw)[:, None] / sum(raw)
        z = tuple(depth if k == true else 1.0 for k in range(3))
        assert field(RECTIFIED, scene(z, true=true), p).right == 1.0

    def test_dice_pushes_a_wrong_class_up_where_hardly_anything_is_predicted_right(self):
        # Its map is 1 / size off the true class: unequal, as the signed distance is.
        found = field(Dice(), scene(), cells(12))
        assert 0.05 < found.several < 0.25
        assert found.p[2, found.negative.sum(0) > 1].max() < 0.2

    @pytest.mark.parametrize("kind", LOSSES)
    def test_every_loss_has_a_finite_gradient_that_adds_up_to_nothing(self, kind):
        found = field(LOSSES[kind](), scene(), cells(3))
        assert np.isfinite(found.gradient).all()
        np.testing.assert_allclose(found.gradient.sum(0), 0, atol=1e-9 + 1e-6 * np.abs(found.gradient).max())


class TestCounting:
    GRADIENT = np.array(
        [[0.0, -1.0, 1.0, -1.0, -1.0, 1e-20], [0.0, 0.5, -2.0, -1.0, -1.0, -1e-20], [0, 0.5, 1, 2, -1, 0]]
    )

    def test_negative_is_what_is_below_nothing_by_more_than_rounding(self):
        np.testing.assert_array_equal(negative(self.GRADIENT).sum(0), [0, 1, 1, 2, 3, 0])
        assert not negative(np.array([[1.0], [-1e-16]])).any()
        assert negative(np.array([[1.0], [-1e-6]])).any()

    def test_patterns_tell_right_from_wrong(self):
        labels = np.zeros(6, int)
        found = negative(self.GRADIENT)
        assert [PATTERNS[n] for n in pattern(found, labels)] == [
            "no component",
            "the true class alone",
            "one wrong class alone",
            "two components",
            "three or more",
            "no component",
        ]
        np.testing.assert_array_equal(alone(found, labels), [False, True, False, False, False, False])

    def test_tallies_add_images_up_in_all_and_by_true_class(self):
        found, labels = negative(self.GRADIENT), np.array([0, 0, 1, 1, 2, 2])
        everything, *classes = tallies([(found, labels), (found, labels)], 3)
        assert everything.counts == (4, 4, 2, 2)
        assert everything.right == 4
        assert [tally.counts for tally in classes] == [(2, 2, 0, 0), (0, 2, 2, 0), (2, 0, 0, 2)]
        assert sum(everything.shares) == pytest.approx(1)
        assert classes[0].share_right == 0.5

    def test_a_class_without_pixels_has_no_shares(self):
        found, labels = negative(self.GRADIENT), np.zeros(6, int)
        assert np.isnan([*tallies([(found, labels)], 3)[3].shares, tallies([(found, labels)], 3)[3].share_right]).all()


class TestRefusals:
    def test_the_edge_of_the_simplex_has_no_logits(self):
        with pytest.raises(DataError, match="not positive"):
            field(Dice(), scene(), np.eye(3))

    def test_values_must_fit_the_classes_and_the_map(self):
        with pytest.raises(DataError, match="2 map values are given for 3 classes"):
            field(BOUNDARY, scene((1.0, 2.0)), cells(2))
        with pytest.raises(DataError, match=r"such as 1,1,-3"):
            field(RECTIFIED, scene((10.0, 20.0, -3.0)), cells(2))

    def test_values_for_several_maps_are_refused_with_their_kinds(self):
        two = LOSSES["sum"]().__class__(
            terms=tuple(type(LOSSES["sum"]().terms[0])(loss=each) for each in (BOUNDARY, RECTIFIED))
        )
        with pytest.raises(DataError, match=r"reads 2 maps \(boundary, rectified\)"):
            field(two, scene((1.0, 1.0, -1.0)), cells(2))


def test_it_needs_no_matplotlib():
    source = Path(edgewise.__file__).parents[1]
    code = "import sys; sys.modules['matplotlib'] = None; import edgewise.compare.gradients"
    subprocess.run([sys.executable, "-c", code], check=True, env={"PYTHONPATH": str(source)})
