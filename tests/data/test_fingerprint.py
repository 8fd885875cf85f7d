"""The fingerprint against obvious definitions."""

import gzip
import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK

from edgewise.data.case import Case, CaseFiles, Grid
from edgewise.data.fingerprint import SAMPLE, Fingerprint, content_digest, observe, pool


def case(name, seed, shape=(6, 5, 4), channels=2, labels=None):
    rng = np.random.default_rng(seed)
    return Case(
        id=name,
        image=rng.normal(size=(channels, *shape)).astype(np.float32),
        labels=rng.integers(0, 3, shape).astype(np.uint8) if labels is None else labels,
        spacing=(1.0, 1.0 + seed, 3.0),
        affine=np.eye(4),
        grid=Grid(path=Path("a.nii"), shape=shape, affine=np.eye(4)),
    )


def test_small_datasets_are_described_exactly():
    cases = [case("b", 1), case("a", 2, (8, 5, 4)), case("c", 6)]
    found = pool([observe(one, 4, one.id) for one in cases])
    for channel, facts in enumerate(found.channels):
        inside = np.concatenate([one.image[channel][one.labels > 0] for one in cases]).astype(np.float64)
        assert facts.mean == pytest.approx(inside.mean())
        assert facts.std == pytest.approx(inside.std())
        assert facts.p005 == pytest.approx(np.percentile(inside, 0.5))
        assert facts.p995 == pytest.approx(np.percentile(inside, 99.5))
        assert (facts.minimum, facts.maximum) == (inside.min(), inside.max())
    assert [facts.id for facts in found.cases] == ["a", "b", "c"]
    assert found.cases[0].voxels == (*np.bincount(cases[1].labels.ravel(), minlength=3), 0)
    assert found.cases[0].shape == (8, 5, 4)
    assert found.median_spacing == (1.0, 3.0, 3.0)
    assert found.median_shape == (6, 5, 4)


def test_the_order_of_cases_does_not_matter_and_their_content_does():
    seen = [observe(case(name, seed), 3, name) for seed, name in enumerate("abc")]
    assert pool(seen) == pool(seen[::-1])
    assert pool(seen).digest != pool(seen[:2]).digest
    assert pool(seen).digest != pool([*seen[:2], observe(case("d", 2), 3, "c")]).digest
    assert pool(seen).digest != pool([*seen[:2], observe(case("c", 2), 3, "x")]).digest


def test_large_cases_are_sampled_within_bounds_and_repeatably():
    large = case("a", 0, (40, 40, 40), 1)
    one = observe(large, 3, "")
    assert one.sample.shape == (1, SAMPLE)
    np.testing.assert_array_equal(one.sample, observe(large, 3, "").sample)
    inside = large.image[0][large.labels > 0]
    assert np.isin(one.sample, inside).all()
    found = pool([one]).channels[0]
    assert found.mean == pytest.approx(inside.mean(), abs=0.05)
    assert (found.minimum, found.maximum) == (inside.min(), inside.max())


def test_cases_without_foreground_count_but_do_not_contribute_intensities():
    empty = case("e", 3, labels=np.zeros((6, 5, 4), np.uint8))
    full = case("f", 4)
    assert pool([observe(empty, 3, "")]).channels == ()
    both = pool([observe(empty, 3, ""), observe(full, 3, "")])
    assert both.channels == pool([observe(full, 3, "")]).channels
    assert both.cases[0].voxels == (120, 0, 0)


def test_a_dump_survives_json():
    found = pool([observe(case(name, seed), 3, name) for seed, name in enumerate("abc")])
    assert Fingerprint.load(json.loads(json.dumps(found.dump()))) == found


def test_the_digest_is_of_content_not_of_names_or_times(tmp_path):
    image = nib.Nifti1Image(np.arange(24, dtype=np.int16).reshape(2, 3, 4), np.eye(4)).to_bytes()
    for name in ("a.nii.gz", "b.nii.gz"):
        (tmp_path / name).write_bytes(gzip.compress(image, mtime=0))
    (tmp_path / "c.nii.gz").write_bytes(gzip.compress(image[:-1] + b"\1", mtime=0))
    a, b, c = (content_digest(CaseFiles(id="x", images=(tmp_path / f"{n}.nii.gz",))) for n in "abc")
    assert a == b != c
    assert a != content_digest(CaseFiles(id="x", images=(tmp_path / "a.nii.gz",), label=tmp_path / "b.nii.gz"))


def test_the_digest_of_a_header_file_covers_its_voxels(tmp_path):
    digests = []
    for value in (0, 1):
        SimpleITK.WriteImage(SimpleITK.Image([3, 3, 3], SimpleITK.sitkUInt8) + value, str(tmp_path / "a.mhd"))
        digests.append(content_digest(CaseFiles(id="a", images=(tmp_path / "a.mhd",))))
    assert digests[0] != digests[1]
