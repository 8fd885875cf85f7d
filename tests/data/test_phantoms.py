import json
import time
from dataclasses import replace

import nibabel
import numpy as np
import pytest
from scipy.ndimage import binary_dilation, label

from edgewise.data.phantoms import CLASSES, draw, render, write_dataset
from edgewise.errors import OutputError, ShapeError, SpacingError

SMALL = (32, 32, 16)
SPACING = (9.0, 9.0, 12.5)


def phantom(seed, tumours=range(1, 6), shape=SMALL, spacing=SPACING):
    return render(draw(np.random.default_rng(seed), tumours), shape, spacing)


def test_equal_seeds_give_equal_plans_and_equal_voxels():
    plans = [draw(np.random.default_rng(3)) for _ in range(2)]
    assert plans[0] == plans[1]
    first, second = (render(plan, SMALL, SPACING) for plan in plans)
    np.testing.assert_array_equal(first.image, second.image)
    np.testing.assert_array_equal(first.labels, second.labels)
    assert not np.array_equal(first.image, phantom(4).image)


def test_a_phantom_has_the_declared_arrays():
    case = phantom(0)
    assert case.image.shape == (1, *SMALL)
    assert case.image.dtype == np.float32
    assert case.labels.shape == SMALL
    assert case.labels.dtype == np.uint8
    assert case.spacing == SPACING
    assert case.grid.shape == SMALL
    np.testing.assert_allclose(np.linalg.norm(case.affine[:3, :3], axis=0), SPACING)
    centre = case.affine @ [*((np.array(SMALL) - 1) / 2), 1]
    np.testing.assert_allclose(centre[:3], 0, atol=1e-9)


@pytest.mark.parametrize("seed", range(25))
def test_tumours_take_up_between_a_hundredth_and_one_percent(seed):
    case = phantom(seed)
    assert set(np.unique(case.labels)) == {0, 1, 2}
    assert 1e-4 <= (case.labels == 2).mean() <= 1e-2
    assert 0.04 <= (case.labels > 0).mean() <= 0.12


def test_tumours_keep_their_share_of_the_volume_on_a_finer_grid():
    coarse = phantom(1, shape=(48, 48, 24))
    fine = phantom(1, shape=(96, 96, 48))
    assert (coarse.labels == 2).mean() == pytest.approx((fine.labels == 2).mean(), rel=0.2)
    assert (coarse.labels > 0).mean() == pytest.approx((fine.labels > 0).mean(), rel=0.03)


def test_tumours_lie_within_the_liver():
    for seed in range(12):
        labels = phantom(seed, shape=(64, 64, 32)).labels
        tumour = labels == 2
        rim = binary_dilation(tumour) & ~tumour
        assert (labels[rim] == 1).mean() > 0.7
        _, pieces = label(labels > 0)
        assert pieces == 1


def test_the_number_of_tumours_is_what_was_asked_for():
    assert not (phantom(5, tumours=(0,)).labels == 2).any()
    for count in (1, 3, 5):
        plan = draw(np.random.default_rng(5), (count,))
        assert sum(blob.label == 2 for blob in plan.blobs) == count
    drawn = {sum(blob.label == 2 for blob in draw(np.random.default_rng(seed)).blobs) for seed in range(60)}
    assert drawn == set(range(6))


def test_tissues_have_plausible_intensities():
    case = phantom(2, tumours=(1,), shape=(96, 96, 40), spacing=(3.0, 3.0, 5.0))
    image = case.image[0]
    assert image.min() >= -1024
    assert image.max() < 600
    assert 100 < np.median(image[case.labels == 1]) < 122
    assert 55 < np.median(image[case.labels == 2]) < 80
    assert np.median(image[:4, :4]) == pytest.approx(-1000, abs=10)
    np.testing.assert_array_equal(image, np.rint(image))


def test_thick_slices_mix_tissues_at_the_boundary():
    plan = replace(draw(np.random.default_rng(6), (1,)), noise=0.0)
    thick, thin = (render(plan, (64, 64, depth), (4.0, 4.0, 256 / depth)) for depth in (8, 64))
    mixed = [
        np.mean((case.image[0][case.labels > 0] < 95) & (case.image[0][case.labels > 0] > 75)) for case in (thick, thin)
    ]
    assert mixed[0] > mixed[1]


def test_noise_is_slightly_correlated_between_neighbours():
    plan = draw(np.random.default_rng(7), (0,))
    noise = render(plan, SMALL, SPACING).image[0] - render(replace(plan, noise=0.0), SMALL, SPACING).image[0]
    inside = noise[8:24, 8:24]
    assert inside.std() == pytest.approx(plan.noise, rel=0.15)
    correlation = np.corrcoef(inside[1:].ravel(), inside[:-1].ravel())[0, 1]
    assert 0.2 < correlation < 0.8


def test_the_dataset_is_in_nnunets_raw_layout(tmp_path):
    write_dataset(tmp_path, cases=17, seed=1, shape=SMALL, spacing=SPACING)
    described = json.loads((tmp_path / "dataset.json").read_text())
    assert described["labels"] == {"background": 0, "liver": 1, "tumour": 2}
    assert tuple(described["labels"]) == CLASSES
    assert described["channel_names"] == {"0": "CT"}
    assert described["numTraining"] == 17
    images = sorted(path.name for path in (tmp_path / "imagesTr").iterdir())
    assert images == [f"phantom_{number:03d}_0000.nii.gz" for number in range(1, 18)]
    spacings, free = set(), []
    for name in images:
        image = nibabel.load(tmp_path / "imagesTr" / name)
        mask = nibabel.load(tmp_path / "labelsTr" / name.replace("_0000", ""))
        assert image.get_data_dtype() == np.int16
        assert image.shape == mask.shape == SMALL
        assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
        np.testing.assert_array_equal(image.affine, mask.affine)
        np.testing.assert_allclose(image.header.get_zooms(), SPACING, rtol=0.11)
        spacings.add(tuple(image.header.get_zooms()))
        if not (np.asarray(mask.dataobj) == 2).any():
            free.append(name)
    assert len(spacings) == 17
    assert free == ["phantom_002_0000.nii.gz", "phantom_017_0000.nii.gz"]


def test_a_longer_dataset_starts_with_the_shorter_one_byte_for_byte(tmp_path):
    for cases in (2, 3):
        write_dataset(tmp_path / str(cases), cases=cases, seed=5, shape=SMALL, spacing=SPACING)
    for path in sorted((tmp_path / "2").rglob("*.nii.gz")):
        assert path.read_bytes() == (tmp_path / "3" / path.relative_to(tmp_path / "2")).read_bytes()


def test_small_phantoms_are_quick():
    started = time.process_time()
    phantom(0)
    assert time.process_time() - started < 0.2


@pytest.mark.parametrize("shape", [(32, 0, 16), (-1, 8, 8)])
def test_an_empty_shape_is_refused(shape):
    with pytest.raises(ShapeError, match="three positive sizes"):
        render(draw(np.random.default_rng(0)), shape, SPACING)


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (1.0, 0.0, 1.0), (1.0, 1.0, float("nan"))])
def test_a_spacing_that_is_no_spacing_is_refused(spacing):
    with pytest.raises(SpacingError, match="three positive sizes in mm"):
        render(draw(np.random.default_rng(0)), SMALL, spacing)


def test_a_folder_that_cannot_be_written_is_refused(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OutputError):
        write_dataset(tmp_path / "file", cases=1, shape=SMALL)
