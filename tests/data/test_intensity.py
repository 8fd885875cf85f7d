"""Intensity normalisation: known scales, no NaN, and order kept."""

from dataclasses import asdict

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from edgewise.data.intensity import ClipZScore, PercentileZScore, Window
from edgewise.errors import ExperimentError

KINDS = [
    Window(lower=-160.0, upper=240.0),
    ClipZScore(lower=-50.0, upper=200.0, mean=80.0, std=30.0),
    PercentileZScore(),
]
finite = st.floats(-1e6, 1e6, width=32)
channels = hnp.arrays(np.float32, hnp.array_shapes(min_dims=2, max_dims=3, max_side=8), elements=finite)


@pytest.mark.parametrize("intensity", KINDS, ids=lambda kind: kind.kind)
class TestEveryKind:
    @given(channel=channels)
    def test_the_result_is_finite_float32_and_keeps_the_order_of_voxels(self, intensity, channel):
        before = channel.copy()
        result = intensity.apply(channel)
        assert result.dtype == np.float32
        assert result.shape == channel.shape
        assert result.flags.c_contiguous
        assert np.isfinite(result).all()
        assert (np.diff(result.ravel()[np.argsort(channel.ravel(), kind="stable")]) >= 0).all()
        np.testing.assert_array_equal(channel, before)

    @pytest.mark.parametrize("value", [0.0, 0.1, -1024.0, 7e5])
    def test_an_image_of_one_value_becomes_zeros(self, intensity, value):
        result = intensity.apply(np.full((4, 5, 6), value, np.float32))
        np.testing.assert_array_equal(result, np.zeros((4, 5, 6)))

    def test_a_transposed_channel_gives_the_transposed_result(self, intensity):
        channel = np.random.default_rng(0).normal(50, 80, (4, 5, 6)).astype(np.float32)
        np.testing.assert_array_equal(intensity.apply(channel.T), intensity.apply(channel).T)

    def test_it_is_rebuilt_from_its_own_fields(self, intensity):
        assert type(intensity)(**asdict(intensity)) == intensity
        assert asdict(intensity)["kind"] == intensity.kind


def test_a_window_maps_its_bounds_to_zero_and_one_and_clips_beyond():
    hu = np.array([[-1024, -160, 40, 240, 3000]], np.float32)
    np.testing.assert_allclose(Window(lower=-160.0, upper=240.0).apply(hu), [[0, 0, 0.5, 1, 1]], atol=1e-6)


def test_a_window_of_width_200_about_40_is_minus_60_to_140():
    hu = np.array([[-1024, -60, 40, 90, 140, 3000]], np.float32)
    np.testing.assert_allclose(Window(lower=-60.0, upper=140.0).apply(hu), [[0, 0, 0.5, 0.75, 1, 1]], atol=1e-6)


def test_a_dataset_z_score_clips_then_standardises():
    hu = np.array([[-1024, 80, 110, 3000]], np.float32)
    result = ClipZScore(lower=-50.0, upper=200.0, mean=80.0, std=30.0).apply(hu)
    np.testing.assert_allclose(result, [[-130 / 30, 0, 1, 4]], atol=1e-6)


def test_a_percentile_z_score_has_zero_mean_and_unit_deviation_of_the_clipped_image():
    channel = np.random.default_rng(0).normal(300, 40, (30, 31, 32)).astype(np.float32)
    channel[0, 0, 0] = 1e6
    result = PercentileZScore().apply(channel)
    assert abs(float(result.mean(dtype=np.float64))) < 1e-4
    assert abs(float(result.std(dtype=np.float64)) - 1) < 1e-4
    clipped = np.clip(channel.astype(np.float64), *np.percentile(channel, (0.5, 99.5)))
    np.testing.assert_allclose(result, (clipped - clipped.mean()) / clipped.std(), atol=1e-4)


def test_masked_images_are_normalised_by_what_is_not_zero():
    rng = np.random.default_rng(0)
    channel = np.zeros((20, 20, 20), np.float32)
    channel[5:15, :, :] = rng.normal(500, 50, (10, 20, 20))
    result = PercentileZScore().apply(channel)
    inside = result[5:15]
    assert abs(float(inside.mean())) < 1e-3
    assert abs(float(inside.std()) - 1) < 1e-3
    assert (result[:5] == inside.min()).all()


@pytest.mark.parametrize("background", [0, 3])
def test_a_rare_bright_structure_in_a_flat_image_does_not_vanish(background):
    channel = np.full((20, 20, 20), background, np.float32)
    channel[0, 0, :5] = 9
    result = PercentileZScore().apply(channel)
    assert result.max() > result.min()


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Window(lower=5.0, upper=5.0),
        lambda: ClipZScore(lower=0.0, upper=1.0, mean=0.0, std=0.0),
        lambda: ClipZScore(lower=2.0, upper=1.0, mean=0.0, std=1.0),
        lambda: PercentileZScore(lower=-1.0),
        lambda: PercentileZScore(upper=float("nan")),
    ],
)
def test_settings_without_sense_are_refused(wrong):
    with pytest.raises(ExperimentError):
        wrong()
