"""Files to arrays and back, against independent readers."""

import itertools
import pickle
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgewise.data.case import CaseFiles
from edgewise.data.images import read_case, write_labels
from edgewise.data.volumes import ImageError, read_volume, suffix_of
from edgewise.errors import DataError, LabelError, OutputError, ShapeError

ORIENTATIONS = [
    (axes, signs) for axes in itertools.permutations(range(3)) for signs in itertools.product((1, -1), repeat=3)
]
SHAPE = (5, 4, 3)


def affine_of(axes, signs, spacing=(0.7, 1.25, 3.0)):
    """Stored axis i runs along world axis axes[i], in direction signs[i]; a little oblique."""
    linear = np.zeros((3, 3))
    for i, (axis, sign) in enumerate(zip(axes, signs, strict=True)):
        linear[axis, i] = sign * spacing[i]
    angle = 0.1
    turn = np.array([[np.cos(angle), -np.sin(angle), 0], [np.sin(angle), np.cos(angle), 0], [0, 0, 1]])
    affine = np.eye(4)
    affine[:3, :3] = turn @ linear
    affine[:3, 3] = (-20.5, 13.0, 7.25)
    return affine


def save(path, array, affine=None, **header):
    image = nib.Nifti1Image(array, np.eye(4) if affine is None else affine)
    for key, value in header.items():
        image.header[key] = value
    nib.save(image, path)
    return path


def numbered(dtype=np.int16, shape=SHAPE):
    return np.arange(np.prod(shape)).reshape(shape).astype(dtype)


@pytest.mark.parametrize(("axes", "signs"), ORIENTATIONS)
def test_every_orientation_becomes_canonical_and_labels_return_to_the_stored_grid(tmp_path, axes, signs):
    affine = affine_of(axes, signs)
    array = numbered(np.uint8)
    path = save(tmp_path / "a.nii", array, affine)
    case = read_case(CaseFiles(id="a", images=(path,), label=path))

    independent = nib.as_closest_canonical(nib.load(path))
    np.testing.assert_array_equal(case.image[0], np.asarray(independent.dataobj))
    np.testing.assert_array_equal(case.labels, case.image[0])
    np.testing.assert_allclose(case.affine, independent.affine, atol=1e-5)
    np.testing.assert_allclose(case.spacing, independent.header.get_zooms(), rtol=1e-6)
    assert nib.aff2axcodes(case.affine) == ("R", "A", "S")

    for suffix in (".nii", ".nrrd"):
        write_labels(tmp_path / f"out{suffix}", case.labels, case.grid)
        back = read_volume(tmp_path / f"out{suffix}")
        np.testing.assert_array_equal(back.array[..., 0], array)
        np.testing.assert_allclose(back.affine, nib.load(path).affine, atol=1e-5)


@settings(max_examples=40)
@given(
    orientation=st.sampled_from(ORIENTATIONS),
    labels=arrays.arrays(np.uint8, arrays.array_shapes(min_dims=3, max_dims=3, max_side=5)),
)
def test_reading_what_was_written_gives_the_same_labels(tmp_path_factory, orientation, labels):
    folder = tmp_path_factory.mktemp("round")
    path = save(folder / "a.nii", labels, affine_of(*orientation))
    case = read_case(CaseFiles(id="a", images=(path,), label=path))
    write_labels(folder / "b.nii", case.labels, case.grid)
    again = read_case(CaseFiles(id="a", images=(path,), label=folder / "b.nii"))
    np.testing.assert_array_equal(again.labels, case.labels)
    np.testing.assert_array_equal(np.asarray(nib.load(folder / "b.nii").dataobj), labels)


def test_a_written_mask_keeps_the_geometry_fields_of_the_header_and_is_unscaled(tmp_path):
    image = nib.Nifti1Image(numbered(np.float32), affine_of((1, 0, 2), (1, -1, 1)))
    image.set_qform(image.affine, 1)
    image.set_sform(image.affine, 4)
    image.header.set_xyzt_units("mm", "sec")
    image.header["cal_max"] = 400
    nib.save(image, tmp_path / "a.nii.gz")
    case = read_case(CaseFiles(id="a", images=(tmp_path / "a.nii.gz",)))
    write_labels(tmp_path / "b.nii.gz", np.ones(case.image.shape[1:], np.uint8), case.grid)
    old, new = nib.load(tmp_path / "a.nii.gz").header, nib.load(tmp_path / "b.nii.gz").header
    for key in ("qform_code", "sform_code", "xyzt_units", "pixdim", "dim", "srow_x", "srow_y", "srow_z"):
        np.testing.assert_array_equal(new[key], old[key], err_msg=key)
    for key in ("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"):
        assert new[key] == old[key]
    raw = np.frombuffer(nib.load(tmp_path / "b.nii.gz").header.binaryblock, np.uint8)
    assert raw.size == 348
    assert new.get_data_dtype() == np.uint8
    assert nib.load(tmp_path / "b.nii.gz").dataobj.slope == 1
    assert nib.load(tmp_path / "b.nii.gz").dataobj.inter == 0
    assert new["cal_max"] == 0


@pytest.mark.parametrize("order", ["<", ">"])
def test_both_byte_orders_read_alike(tmp_path, order):
    header = nib.Nifti1Header(endianness=order)
    header.set_data_dtype(np.int16)
    nib.save(nib.Nifti1Image(numbered(), np.eye(4), header), tmp_path / "a.nii.gz")
    path = tmp_path / "a.nii.gz"
    case = read_case(CaseFiles(id="a", images=(path,), label=path))
    assert case.image.dtype == np.dtype("=f4")
    assert case.image.dtype.isnative
    np.testing.assert_array_equal(case.image[0], numbered())
    write_labels(tmp_path / "b.nii.gz", case.labels, case.grid)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "b.nii.gz").dataobj), numbered())


def test_intensity_scaling_is_applied_to_images_and_tolerated_in_masks(tmp_path):
    image = nib.Nifti1Image(numbered(), np.eye(4))
    image.header.set_slope_inter(0.5, -10)
    nib.save(image, tmp_path / "a.nii")
    scaled = nib.Nifti1Image((numbered() % 3).astype(np.float32) * np.float32(1.0000001), np.eye(4))
    nib.save(scaled, tmp_path / "l.nii")
    case = read_case(CaseFiles(id="a", images=(tmp_path / "a.nii",), label=tmp_path / "l.nii"))
    np.testing.assert_allclose(case.image[0], nib.load(tmp_path / "a.nii").get_fdata(), atol=0.26)
    np.testing.assert_array_equal(case.labels, numbered() % 3)


def test_units_other_than_millimetres_are_converted(tmp_path):
    image = nib.Nifti1Image(numbered(), np.diag([500.0, 500.0, 2000.0, 1.0]))
    image.header.set_xyzt_units("micron")
    nib.save(image, tmp_path / "a.nii")
    assert read_case(CaseFiles(id="a", images=(tmp_path / "a.nii",))).spacing == pytest.approx((0.5, 0.5, 2.0))


def test_channels_in_the_last_axis_equal_channels_in_files(tmp_path):
    two = numbered(np.float32, (*SHAPE, 2))
    together = save(tmp_path / "both.nii.gz", two, affine_of((2, 0, 1), (1, -1, 1)))
    apart = tuple(save(tmp_path / f"c{i}.nii.gz", two[..., i], affine_of((2, 0, 1), (1, -1, 1))) for i in range(2))
    one = read_case(CaseFiles(id="a", images=(together,)))
    other = read_case(CaseFiles(id="a", images=apart))
    np.testing.assert_array_equal(one.image, other.image)
    assert one.image.shape[0] == 2
    write_labels(tmp_path / "out.nii.gz", one.image[0].astype(np.uint8), one.grid)
    assert nib.load(tmp_path / "out.nii.gz").shape == SHAPE


@pytest.mark.parametrize("shape", [(5, 4), (5, 4, 1)])
def test_single_slices_are_volumes_of_one_slice_and_go_back_in_their_own_shape(tmp_path, shape):
    path = save(tmp_path / "a.nii.gz", numbered(np.uint8, shape))
    case = read_case(CaseFiles(id="a", images=(path,), label=path))
    assert case.image.shape == (1, 5, 4, 1)
    write_labels(tmp_path / "b.nii.gz", case.labels, case.grid)
    back = nib.load(tmp_path / "b.nii.gz")
    assert back.shape == shape
    np.testing.assert_array_equal(np.asarray(back.dataobj), numbered(np.uint8, shape))


@pytest.mark.parametrize("suffix", [".nrrd", ".mha", ".mhd"])
@pytest.mark.parametrize("shape", [(5, 4, 3), (5, 4)])
def test_itk_formats_agree_with_nifti_written_by_itk_and_keep_their_geometry(tmp_path, suffix, shape):
    image = SimpleITK.GetImageFromArray(numbered(np.int16, shape).T)
    image.SetSpacing((0.71, 1.3, 2.9)[: len(shape)])
    image.SetOrigin((-3.3, 12.1, 4.7)[: len(shape)])
    if len(shape) == 3:
        image.SetDirection(
            [float(v) for v in np.linalg.qr(np.array([[0.1, 1, 0.05], [-1, 0.1, 0], [0, 0.05, 1]]))[0].ravel()]
        )
    SimpleITK.WriteImage(image, str(tmp_path / f"a{suffix}"))
    SimpleITK.WriteImage(image, str(tmp_path / "a.nii.gz"))
    ours = read_case(CaseFiles(id="a", images=(tmp_path / f"a{suffix}",)))
    if len(shape) == 3:
        nifti = read_case(CaseFiles(id="a", images=(tmp_path / "a.nii.gz",)))
        np.testing.assert_array_equal(ours.image, nifti.image)
        np.testing.assert_allclose(ours.affine, nifti.affine, atol=1e-4)
    target = tmp_path / f"out{'.mha' if suffix == '.mhd' else suffix}"
    write_labels(target, ours.image[0].astype(np.uint8), ours.grid)
    back = SimpleITK.ReadImage(str(target))
    assert back.GetSize() == image.GetSize()
    assert back.GetPixelID() == SimpleITK.sitkUInt8
    stored = SimpleITK.ReadImage(str(tmp_path / f"a{suffix}"))
    # Exact, but for NRRD itself, which stores the product of direction and spacing.
    np.testing.assert_allclose(back.GetSpacing(), stored.GetSpacing(), rtol=1e-15)
    assert back.GetOrigin() == stored.GetOrigin()
    np.testing.assert_allclose(back.GetDirection(), stored.GetDirection(), rtol=0, atol=1e-15)
    np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(back), numbered(np.int16, shape).T)


def test_colour_channels_of_itk_files_are_channels(tmp_path):
    vector = SimpleITK.GetImageFromArray(np.moveaxis(numbered(np.int16, (2, *SHAPE)), 0, -1), isVector=True)
    SimpleITK.WriteImage(vector, str(tmp_path / "a.nrrd"))
    volume = read_volume(tmp_path / "a.nrrd")
    assert volume.array.shape == (3, 4, 5, 2)
    np.testing.assert_array_equal(volume.array[..., 1], numbered(np.int16, (2, *SHAPE))[1].T)


def test_a_mask_in_another_axis_order_is_turned_onto_its_image(tmp_path):
    image = save(tmp_path / "a.nii", numbered(np.uint8), affine_of((0, 1, 2), (1, 1, 1)))
    ornt = nib.orientations.axcodes2ornt(("P", "S", "L"))
    turned = nib.load(image).as_reoriented(ornt)
    nib.save(turned, tmp_path / "l.nii")
    case = read_case(CaseFiles(id="a", images=(image,), label=tmp_path / "l.nii"))
    np.testing.assert_array_equal(case.labels, case.image[0])


def bad_files(folder: Path) -> dict[str, tuple[CaseFiles, str]]:
    """Each defect with the files that have it and words its message must hold."""
    good = save(folder / "good.nii.gz", numbered(np.uint8) % 3)
    half = numbered(np.float32)
    half[1, 2, 0] = 1.5
    nan = numbered(np.float32)
    nan[4, 3, 2] = np.nan
    shifted = np.eye(4)
    shifted[0, 3] = 0.02
    flat = save(folder / "flat.nii.gz", numbered())
    image = nib.load(flat)
    image.header["srow_z"] = 0
    raw = bytearray(image.header.binaryblock)
    (folder / "flat.nii").write_bytes(bytes(raw) + bytes(4) + numbered().tobytes("F"))
    cut = folder / "cut.nii.gz"
    cut.write_bytes(good.read_bytes()[:-30])
    (folder / "text.nii.gz").write_text("not an image")
    (folder / "text.nrrd").write_text("not an image")
    (folder / "empty.nii").touch()

    def pair(label, image=good):
        return CaseFiles(id="a", images=(image,), label=label)

    return {
        "missing": (pair(folder / "no.nii.gz"), "no.nii.gz: there is no such file"),
        "truncated": (pair(good, cut), "cut.nii.gz: cannot be read"),
        "text": (pair(good, folder / "text.nii.gz"), "text.nii.gz: cannot be read"),
        "text nrrd": (pair(good, folder / "text.nrrd"), "text.nrrd: cannot be read"),
        "empty": (pair(good, folder / "empty.nii"), "empty.nii: cannot be read"),
        "singular": (pair(good, folder / "flat.nii"), "flat.nii: has voxel sizes (1.0, 1.0, 0.0) mm"),
        "five axes": (
            pair(good, save(folder / "5.nii", np.zeros((2, 2, 2, 2, 2)))),
            "5.nii: has 4 dimensions",
        ),
        "complex": (pair(good, save(folder / "c.nii", np.zeros((2, 2, 2), np.complex64))), "complex64"),
        "half label": (pair(save(folder / "h.nii", half)), r"h.nii: holds label 1.5 at voxel (1, 2, 0)"),
        "nan label": (pair(save(folder / "n.nii", nan)), "n.nii: holds label nan at voxel (4, 3, 2)"),
        "negative": (
            pair(save(folder / "m.nii", numbered() - 1)),
            "m.nii: holds label -1 at voxel (0, 0, 0)",
        ),
        "large": (pair(save(folder / "l.nii", numbered() + 200)), "holds label 256"),
        "channels": (pair(save(folder / "k.nii", np.zeros((*SHAPE, 2), np.uint8))), "mask with 2 channels"),
        "nan": (
            pair(good, save(folder / "i.nii", nan)),
            "i.nii: holds 1 NaN or infinite voxels, the first at",
        ),
        "shape": (pair(save(folder / "s.nii", numbered()[:-1])), "s.nii: has shape (4, 4, 3)"),
        "shift": (pair(save(folder / "t.nii", numbered(np.uint8), shifted)), "corner 0.02 mm"),
    }


@pytest.mark.parametrize("defect", [
    "missing", "truncated", "text", "text nrrd", "empty", "singular", "five axes", "complex", "half label",
    "nan label", "negative", "large", "channels", "nan", "shape", "shift",
])  # fmt: skip
def test_a_bad_file_is_refused_with_its_name_its_problem_and_a_mend(tmp_path, defect, capfd):
    files, words = bad_files(tmp_path)[defect]
    with pytest.raises(DataError) as caught:
        read_case(files)
    assert words in str(caught.value)
    assert isinstance(caught.value, ImageError)
    assert caught.value.mend
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    capfd.readouterr()


def test_grids_may_differ_by_less_than_a_hundredth_of_a_millimetre(tmp_path):
    near = np.eye(4)
    near[0, 3] = 0.009
    image = save(tmp_path / "a.nii", numbered())
    label = save(tmp_path / "l.nii", numbered(np.uint8), near)
    assert read_case(CaseFiles(id="a", images=(image,), label=label)).labels is not None


@pytest.mark.parametrize(("excess", "fits"), [(0.0021, True), (0.0024, False)])
def test_grids_are_compared_at_the_outer_corners(tmp_path, excess, fits):
    # The far corner of five voxels is at 4.5, so it moves by 4.5 times the excess of the voxel size.
    image = save(tmp_path / "a.nii", numbered())
    label = save(tmp_path / "l.nii", numbered(np.uint8), np.diag([1 + excess, 1, 1, 1]))
    files = CaseFiles(id="a", images=(image,), label=label)
    if fits:
        assert read_case(files).labels is not None
    else:
        with pytest.raises(ImageError, match=r"a corner 0\.0108 mm"):
            read_case(files)


@pytest.mark.parametrize("suffix", [".nii", ".nii.gz", ".nrrd", ".mha"])
@pytest.mark.parametrize("seed", range(3))
def test_a_truncated_file_is_refused_or_holds_every_voxel(tmp_path, suffix, seed, capfd):
    rng = np.random.default_rng(seed)
    array = rng.integers(0, 99, (9, 8, 7)).astype(np.int16)
    path = tmp_path / f"a{suffix}"
    SimpleITK.WriteImage(SimpleITK.GetImageFromArray(array), str(path))
    whole = path.read_bytes()
    for cut in rng.integers(0, len(whole), 25):
        path.write_bytes(whole[:cut])
        try:
            read = read_volume(path).array[..., 0]
        except ImageError:
            continue
        np.testing.assert_array_equal(read, array.T)
    capfd.readouterr()


def test_labels_that_do_not_fit_are_not_written(tmp_path):
    path = save(tmp_path / "a.nii", numbered())
    grid = read_case(CaseFiles(id="a", images=(path,))).grid
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(ShapeError, match="do not fit the grid"):
        write_labels(tmp_path / "b.nii", np.zeros((5, 4, 4), np.uint8), grid)
    with pytest.raises(LabelError, match="256"):
        write_labels(tmp_path / "b.nii", np.full(SHAPE, 256), grid)
    with pytest.raises(OutputError, match="choose a name"):
        write_labels(tmp_path / "b.mhd", np.zeros(SHAPE, np.uint8), grid)
    with pytest.raises(OutputError, match="cannot write"):
        write_labels(tmp_path / "folder.nii", np.zeros(SHAPE, np.uint8), grid)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.nii", "folder.nii"]


def test_a_mask_can_be_written_when_its_image_is_gone(tmp_path):
    path = save(tmp_path / "a.nii", numbered(np.uint8), affine_of((2, 1, 0), (-1, 1, 1)))
    case = read_case(CaseFiles(id="a", images=(path,), label=path))
    stored = nib.load(path).affine
    path.unlink()
    write_labels(tmp_path / "b.nii", case.labels, case.grid)
    np.testing.assert_allclose(nib.load(tmp_path / "b.nii").affine, stored, atol=1e-5)
    np.testing.assert_array_equal(np.asarray(nib.load(tmp_path / "b.nii").dataobj), numbered(np.uint8))


def test_suffixes_keep_their_case_and_double_suffixes_count_as_one():
    assert suffix_of(Path("a.b.NII.gz")) == ".NII.gz"
    assert suffix_of(Path("a.mha")) == ".mha"
    assert suffix_of(Path("a.png")) == ""
