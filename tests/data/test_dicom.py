"""DICOM series are read as pydicom reads them, and what is wrong with one is told by file."""

import shutil
from dataclasses import replace

import nibabel as nib
import numpy as np
import pydicom
import pytest
import SimpleITK
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.encaps import encapsulate
from pydicom.uid import HTJ2KLossless, ImplicitVRLittleEndian, RLELossless, generate_uid
from scipy.spatial.transform import Rotation

from dicom_files import HALF, Scan, as_pydicom_reads, write
from edgewise.data.case import CaseFiles
from edgewise.data.checks import inspect
from edgewise.data.dicom_slices import holds_slices, series_below
from edgewise.data.fingerprint import content_digest
from edgewise.data.folders import find_images
from edgewise.data.images import read_case, write_labels
from edgewise.data.layouts import detect, scan
from edgewise.data.volumes import ImageError, files_of, read_volume
from edgewise.errors import DataError


def pixels(shape=(7, 6, 5), seed=0):
    return np.random.default_rng(seed).integers(-1000, 3000, shape).astype(np.int16)


def series(**changes):
    return Scan(stored=pixels(), **changes)


def refusal(folder):
    with pytest.raises(ImageError) as caught:
        read_volume(folder)
    return caught.value


def require_as_pydicom(folder, affine, array):
    """Every pixel that pydicom finds lies on the voxel of the array that has its value, and none is left over."""
    places, values = as_pydicom_reads(folder)
    index = (np.c_[places, np.ones(len(places))] @ np.linalg.inv(affine).T)[:, :3]
    whole = np.rint(index).astype(int)
    np.testing.assert_allclose(index, whole, atol=1e-3)
    assert len({tuple(row) for row in whole}) == array.size
    np.testing.assert_allclose(array[tuple(whole.T)], values, rtol=1e-6, atol=1e-4)


class TestGeometryAndValues:
    @settings(max_examples=25)
    @given(data=st.data())
    def test_every_pixel_lies_where_pydicom_says_whatever_the_pose(self, data, tmp_path_factory):
        angles = data.draw(st.lists(st.floats(-180, 180), min_size=3, max_size=3))
        turned = Rotation.from_euler("xyz", angles, degrees=True).as_matrix()
        shape = tuple(data.draw(st.lists(st.integers(1, 6), min_size=3, max_size=3)))
        size = st.floats(0.3, 4).map(lambda value: round(value, 4))
        one = Scan(
            stored=pixels(shape),
            size=(data.draw(size), data.draw(size)),
            distance=data.draw(size),
            directions=(tuple(turned[:, 0]), tuple(turned[:, 1])),
            slopes=tuple(data.draw(st.sampled_from([1.0, 2.0, 0.5, 0.123])) for _ in range(shape[2])),
            intercept=data.draw(st.sampled_from([0.0, -1024.0, 0.25])),
        )
        folder = write(tmp_path_factory.mktemp("series"), one, seed=data.draw(st.integers(0, 99)))
        stored = read_volume(folder)
        require_as_pydicom(folder, stored.affine, stored.array[..., 0])
        case = read_case(CaseFiles(id="a", images=(folder,)))
        require_as_pydicom(folder, case.affine, case.image[0])

    def test_the_stored_grid_is_x_along_rows_y_along_columns_z_along_the_normal(self, tmp_path):
        one = series()
        volume = read_volume(write(tmp_path, one))
        assert volume.shape == (7, 6, 5)
        np.testing.assert_allclose(volume.affine, one.affine, atol=1e-6)
        np.testing.assert_array_equal(volume.array[..., 0], one.stored - 1024)
        case = read_case(CaseFiles(id="a", images=(tmp_path,)))
        assert case.spacing == pytest.approx((0.7, 0.9, 2.5))

    def test_the_slope_of_each_slice_counts_although_the_first_one_has_integers(self, tmp_path):
        one = series(slopes=(1.0, 0.5, 0.25, 2.0, 1.0))
        volume = read_volume(write(tmp_path, one))
        assert volume.array.dtype == np.float32
        np.testing.assert_array_equal(volume.array[..., 0], one.stored * np.array(one.slopes) - 1024)

    @pytest.mark.parametrize("names", ["IM{:05d}", "{}", "1.2.840.{}", "slice {}.IMA", "{:03d}.DCM"])
    def test_files_may_have_any_names(self, tmp_path, names):
        one = series()
        volume = read_volume(write(tmp_path / "a", one, names=names.format))
        np.testing.assert_array_equal(volume.array[..., 0], one.stored - 1024)

    def test_the_usual_companions_of_a_series_are_left_alone(self, tmp_path):
        one = series()
        write(tmp_path, one)
        for name in ("LICENSE", "metadata.csv", "DICOMDIR", ".DS_Store", "notes.txt"):
            (tmp_path / name).write_text("not a slice")
        np.testing.assert_array_equal(read_volume(tmp_path).array[..., 0], one.stored - 1024)
        assert len(files_of(tmp_path)) == 5

    def test_a_series_two_folders_below_is_found(self, tmp_path):
        one = series()
        write(tmp_path / "PANCREAS_0001/study 1/1.2.3", one)
        np.testing.assert_array_equal(read_volume(tmp_path / "PANCREAS_0001").array[..., 0], one.stored - 1024)

    def test_a_single_slice_is_as_thick_as_it_tells(self, tmp_path):
        one = Scan(stored=pixels((7, 6, 1)), distance=4.0)
        volume = read_volume(write(tmp_path, one))
        assert volume.shape == (7, 6, 1)
        np.testing.assert_allclose(volume.affine, one.affine, atol=1e-6)

    def test_a_single_slice_without_a_position_is_read_all_the_same(self, tmp_path):
        def strip(_, one):
            del one.ImagePositionPatient, one.ImageOrientationPatient, one.SliceThickness

        volume = read_volume(write(tmp_path, Scan(stored=pixels((7, 6, 1))), change=strip))
        np.testing.assert_allclose(np.abs(np.diag(volume.affine)), [0.7, 0.9, 1, 1])

    @pytest.mark.parametrize("syntax", [RLELossless, ImplicitVRLittleEndian])
    def test_other_transfer_syntaxes_are_read(self, tmp_path, syntax):
        def change(_, one):
            if syntax == RLELossless:
                one.compress(RLELossless)
            else:
                one.file_meta.TransferSyntaxUID = syntax

        one = Scan(stored=pixels((64, 48, 3)))
        np.testing.assert_array_equal(read_volume(write(tmp_path, one, change=change)).array[..., 0], one.stored - 1024)

    def test_positions_rounded_to_a_tenth_of_a_millimetre_are_even_enough(self, tmp_path):
        def rounded(z, one):
            one.ImagePositionPatient = [*one.ImagePositionPatient[:2], round(z * 0.75, 1)]

        volume = read_volume(write(tmp_path, Scan(stored=pixels((4, 4, 9))), change=rounded))
        np.testing.assert_allclose(volume.affine[2, 2], 0.75)


class TestMasks:
    def test_a_mask_goes_back_onto_the_grid_of_a_turned_series(self, tmp_path):
        turned = Rotation.from_euler("xyz", (20, -35, 50), degrees=True).as_matrix()
        one = series(directions=(tuple(turned[:, 0]), tuple(turned[:, 1])))
        case = read_case(CaseFiles(id="a", images=(write(tmp_path / "a", one),)))
        labels = (case.image[0] > 500).astype(np.uint8)
        write_labels(tmp_path / "a.nii.gz", labels, case.grid)
        mask = nib.load(tmp_path / "a.nii.gz")
        np.testing.assert_allclose(mask.affine, one.affine, atol=1e-5)
        np.testing.assert_array_equal(np.asanyarray(mask.dataobj), one.stored - 1024 > 500)
        again = read_case(CaseFiles(id="a", images=(tmp_path / "a",), label=tmp_path / "a.nii.gz"))
        np.testing.assert_array_equal(again.labels, labels)

    def test_simpleitk_puts_the_mask_where_it_puts_the_series(self, tmp_path):
        write(tmp_path / "a", series())
        case = read_case(CaseFiles(id="a", images=(tmp_path / "a",)))
        write_labels(tmp_path / "a.nii.gz", (case.image[0] > 0).astype(np.uint8), case.grid)
        names = SimpleITK.ImageSeriesReader.GetGDCMSeriesFileNames(str(tmp_path / "a"))
        image, mask = SimpleITK.ReadImage(names), SimpleITK.ReadImage(str(tmp_path / "a.nii.gz"))
        np.testing.assert_allclose(mask.GetOrigin(), image.GetOrigin(), atol=1e-4)
        np.testing.assert_allclose(mask.GetSpacing(), image.GetSpacing(), atol=1e-4)
        np.testing.assert_allclose(mask.GetDirection(), image.GetDirection(), atol=1e-5)
        arrays = [SimpleITK.GetArrayFromImage(each) for each in (image, mask)]
        np.testing.assert_array_equal(arrays[0] > 0, arrays[1] > 0)


def named(folder, number):
    return folder / f"1-{number:03d}.dcm"


class TestBadSeries:
    def test_a_missing_slice_is_told_with_its_neighbours(self, tmp_path):
        write(tmp_path, Scan(stored=pixels((4, 4, 9))))
        order = sorted(tmp_path.iterdir(), key=lambda path: pydicom.dcmread(path).ImagePositionPatient[2])
        order[4].unlink()
        error = refusal(tmp_path)
        assert error.file == tmp_path
        assert f"{order[3].name} and {order[5].name} are 5 mm apart: 1 seems to be missing" in error.problem
        assert "2.5 mm apart in a line" in error.problem

    @pytest.mark.parametrize("lost", [1, 2, 14, 28])
    def test_a_missing_slice_is_noticed_wherever_it_is_missing(self, tmp_path, lost):
        write(tmp_path, Scan(stored=pixels((2, 2, 30))))
        order = sorted(tmp_path.iterdir(), key=lambda path: pydicom.dcmread(path).ImagePositionPatient[2])
        order[lost].unlink()
        assert "1 seems to be missing" in refusal(tmp_path).problem

    def test_uneven_slices_are_told(self, tmp_path):
        def moved(z, one):
            one.ImagePositionPatient = [*one.ImagePositionPatient[:2], (0, 2.5, 5, 8.5, 11)[z]]

        error = refusal(write(tmp_path, series(), change=moved))
        assert "do not lie evenly" in error.problem
        assert "are 3.5 mm apart" in error.problem
        assert "missing" not in error.problem

    def test_a_slice_beside_the_line_of_the_others_is_told(self, tmp_path):
        def moved(z, one):
            if z == 2:
                one.ImagePositionPatient = [0, *one.ImagePositionPatient[1:]]

        assert "do not lie evenly, 2.5 mm apart in a line" in refusal(write(tmp_path, series(), change=moved)).problem

    def test_a_tilted_gantry_is_told_with_its_angle(self, tmp_path):
        def sheared(z, one):
            x, y, height = one.ImagePositionPatient
            one.ImagePositionPatient = [x, float(y) + z * 2.5 * np.tan(np.radians(12)), height]

        error = refusal(write(tmp_path, series(), change=sheared))
        assert "sheared by 12.0°" in error.problem
        assert "dcm2niix" in error.mend

    def test_two_series_in_one_folder_are_told_with_their_uids(self, tmp_path):
        one, other = series(), series(corner=(0.0, 0.0, 100.0))
        write(tmp_path, one)
        write(tmp_path, other, names="b{}.dcm".format)
        error = refusal(tmp_path)
        assert error.file == tmp_path
        assert "holds 2 DICOM series" in error.problem
        for each in (one, other):
            assert f"{each.uid} (5 files)" in error.problem

    def test_two_folders_with_slices_are_told_by_name(self, tmp_path):
        write(tmp_path / "study/arterial", series())
        write(tmp_path / "study/venous", series())
        error = refusal(tmp_path)
        assert "in 2 folders (study/arterial, study/venous)" in error.problem

    def test_a_folder_without_slices_is_told(self, tmp_path):
        (tmp_path / "study").mkdir()
        assert refusal(tmp_path).problem == "holds no DICOM slices"

    def test_a_slice_of_another_size_is_told(self, tmp_path):
        one = series()
        write(tmp_path, one)
        write(tmp_path, replace(one, stored=pixels((5, 6, 1))), names=lambda _: "z.dcm")
        error = refusal(tmp_path)
        assert error.file == tmp_path / "z.dcm"
        assert error.problem == "has 5 × 6 pixels, 1-001.dcm of the same series has 7 × 6"

    def test_a_slice_with_pixels_of_another_size_is_told(self, tmp_path):
        one = series()
        write(tmp_path, one)
        write(tmp_path, replace(one, stored=pixels((7, 6, 1)), size=(0.7, 1.1)), names=lambda _: "z.dcm")
        assert "has pixels of 0.7 × 1.1 mm, 1-001.dcm of the same series 0.7 × 0.9 mm" in str(refusal(tmp_path))

    def test_a_slice_in_another_direction_is_told(self, tmp_path):
        one = series()
        write(tmp_path, one)
        scout = replace(one, stored=pixels((7, 6, 1)), directions=(HALF[0], (0.0, 0.0, -1.0)))
        write(tmp_path, scout, names=lambda _: "z.dcm")
        error = refusal(tmp_path)
        assert error.file == tmp_path / "z.dcm"
        assert "in another direction than 1-001.dcm" in error.problem

    def test_two_slices_at_one_position_are_told(self, tmp_path):
        write(tmp_path, series())
        shutil.copy(named(tmp_path, 3), tmp_path / "copy.dcm")
        error = refusal(tmp_path)
        assert {error.file.name, error.problem.split()[6]} == {"copy.dcm", "1-003.dcm"}
        assert "at the same position" in error.problem

    def test_slices_without_positions_are_told(self, tmp_path):
        def strip(z, one):
            if z == 2:
                del one.ImagePositionPatient

        assert "does not tell where its slice lies" in refusal(write(tmp_path, series(), change=strip)).problem

    def test_directions_that_are_none_are_told(self, tmp_path):
        def skew(_, one):
            one.ImageOrientationPatient = [1, 0, 0, 1, 1, 0]

        assert "no two unit vectors at a right angle" in refusal(write(tmp_path, series(), change=skew)).problem

    @pytest.mark.parametrize("size", [None, [0, 1], [-1, 1]])
    def test_pixels_without_a_size_are_told(self, tmp_path, size):
        def strip(_, one):
            if size is None:
                del one.PixelSpacing
            else:
                one.PixelSpacing = size

        assert "does not tell the size of its pixels" in refusal(write(tmp_path, series(), change=strip)).problem

    @pytest.mark.parametrize("content", [b"", b"hello", b"\0" * 500])
    def test_a_file_that_is_no_dicom_is_told(self, tmp_path, content):
        write(tmp_path, series())
        (tmp_path / "thumbs.db").write_bytes(content)
        error = refusal(tmp_path)
        assert error.file == tmp_path / "thumbs.db"
        assert "is no DICOM file" in error.problem

    @pytest.mark.parametrize("kept", [0.3, 0.9, 0.999])
    def test_a_truncated_file_is_told(self, tmp_path, kept):
        write(tmp_path, Scan(stored=pixels((32, 32, 3))))
        content = named(tmp_path, 2).read_bytes()
        named(tmp_path, 2).write_bytes(content[: int(kept * len(content))])
        error = refusal(tmp_path)
        assert error.file == named(tmp_path, 2)
        assert "damaged or truncated" in error.mend

    def test_compressed_pixels_that_cannot_be_read_are_told_with_the_syntax(self, tmp_path, capfd):
        def compress(_, one):
            one.file_meta.TransferSyntaxUID = HTJ2KLossless
            one.PixelData = encapsulate([b"\xff\x4f\xff\x51" + b"\0" * 60])
            one["PixelData"].is_undefined_length = True

        error = refusal(write(tmp_path, series(), change=compress))
        capfd.readouterr()  # what GDCM says
        assert f"compressed by {HTJ2KLossless}" in error.problem
        assert "Decompress" in error.mend

    def test_colour_is_told(self, tmp_path):
        def colour(_, one):
            one.SamplesPerPixel, one.PhotometricInterpretation, one.PlanarConfiguration = 3, "RGB", 0
            one.BitsAllocated, one.BitsStored, one.HighBit, one.PixelRepresentation = 8, 8, 7, 0
            del one.RescaleSlope, one.RescaleIntercept
            one.PixelData = bytes(7 * 6 * 3)

        assert "holds colour (3 numbers a pixel)" in refusal(write(tmp_path, series(), change=colour)).problem

    def test_many_frames_in_one_file_are_told(self, tmp_path):
        def frames(_, one):
            one.NumberOfFrames, one.PixelData = 3, one.PixelData * 3

        scan = Scan(stored=pixels((7, 6, 1)))
        assert "holds 3 frames in one file" in refusal(write(tmp_path, scan, change=frames)).problem

    def test_a_report_among_the_slices_is_told(self, tmp_path):
        def strip(z, one):
            if z == 1:
                del one.PixelData

        assert "If it is a report or contours" in refusal(write(tmp_path, series(), change=strip)).mend


class TestFindingSeries:
    def test_a_folder_of_slices_is_one_image_called_like_the_folder(self, tmp_path):
        write(tmp_path / "p1", series())
        (found,) = find_images([tmp_path / "p1"], 1)
        assert (found.id, found.images) == ("p1", (tmp_path / "p1",))

    def test_the_current_folder_gives_its_name_too(self, tmp_path, monkeypatch):
        monkeypatch.chdir(write(tmp_path / "p1", series()))
        (found,) = find_images([type(tmp_path)()], 1)
        assert found.id == "p1"

    def test_series_and_files_in_a_folder_are_all_found(self, tmp_path):
        write(tmp_path / "b/study/1.2.3", series())
        write(tmp_path / "c", series(), names="IM{}".format)
        (tmp_path / "d").mkdir()
        (tmp_path / "a.nii.gz").touch()
        assert [case.id for case in find_images([tmp_path], 1)] == ["a", "b", "c"]

    def test_channels_may_be_series(self, tmp_path):
        for channel in (0, 1):
            write(tmp_path / f"p1_{channel:04d}", series())
        (found,) = find_images([tmp_path], 2)
        assert (found.id, len(found.images)) == ("p1", 2)

    def test_a_single_slice_file_leads_to_its_folder(self, tmp_path):
        write(tmp_path, series(), names="IM{}".format)
        with pytest.raises(DataError, match=r"is a slice of a DICOM series\. Pass the folder"):
            find_images([tmp_path / "IM1"], 1)

    def test_slices_beside_another_image_are_refused(self, tmp_path):
        write(tmp_path, series())
        (tmp_path / "mask.nii.gz").touch()
        with pytest.raises(DataError, match=r"holds DICOM slices and images of another format, such as mask\.nii"):
            find_images([tmp_path], 1)

    def test_folders_of_other_files_hold_no_slices(self, tmp_path):
        (tmp_path / "pictures").mkdir()
        (tmp_path / "pictures/a.png").write_bytes(b"\x89PNG" + b"\0" * 300)
        assert not holds_slices(tmp_path / "pictures")
        assert series_below(tmp_path) == ()


def two_folders(root, count=2):
    """The layout of images/ and labels/, the images as DICOM."""
    for number in range(count):
        one = replace(series(uid=generate_uid()), stored=pixels(seed=number))
        write(root / f"images/p{number}", one, seed=number)
        (root / "labels").mkdir(exist_ok=True)
        mask = (one.stored > 2000).astype(np.uint8)
        nib.save(nib.Nifti1Image(mask, one.affine), root / f"labels/p{number}.nii.gz")
    return root


class TestTwoFolders:
    def test_images_may_be_series(self, tmp_path):
        found = scan(two_folders(tmp_path))
        assert (found.dataset.layout, found.defects) == ("folders", ())
        assert [case.id for case in found.dataset.cases] == ["p0", "p1"]
        for number, files in enumerate(found.dataset.cases):
            case = read_case(files)
            np.testing.assert_array_equal(case.labels == 1, case.image[0] > 2000 - 1024)
            assert case.labels.sum() == (pixels(seed=number) > 2000).sum()

    @pytest.mark.parametrize("workers", [1, 2])
    def test_the_check_finds_them_usable(self, tmp_path, workers):
        inspection = inspect(detect(two_folders(tmp_path)), workers=workers, progress=lambda *_: None)
        assert inspection.defects == ()
        assert [case.shape for case in inspection.fingerprint.cases] == [(7, 6, 5)] * 2

    def test_the_check_tells_a_broken_series_by_file(self, tmp_path):
        two_folders(tmp_path)
        broken = tmp_path / "images/p1/1-002.dcm"
        broken.write_bytes(broken.read_bytes()[:200])
        (defect,) = inspect(detect(tmp_path), workers=1, progress=lambda *_: None).defects
        assert (defect.case, defect.file) == ("p1", broken)

    def test_a_series_without_mask_and_a_mask_without_series_are_told(self, tmp_path):
        two_folders(tmp_path)
        (tmp_path / "labels/p0.nii.gz").rename(tmp_path / "labels/p7.nii.gz")
        told = [(defect.case, defect.problem) for defect in scan(tmp_path).defects]
        assert told == [("p0", "is an image without label"), ("p7", "is a label without image")]

    def test_a_mask_on_another_grid_is_told_with_how_to_mend_a_header(self, tmp_path):
        two_folders(tmp_path)
        mask = nib.load(tmp_path / "labels/p0.nii.gz")
        data = np.asanyarray(mask.dataobj).copy()
        nib.save(nib.Nifti1Image(data, mask.affine @ np.diag([1, -1, 1, 1])), tmp_path / "labels/p0.nii.gz")
        (defect,) = inspect(detect(tmp_path), workers=1, progress=lambda *_: None).defects
        assert "has an affine that puts a corner" in defect.problem
        assert "only its header is wrong" in defect.mend

    def test_one_image_as_a_file_and_as_a_series_is_told(self, tmp_path):
        two_folders(tmp_path)
        shutil.copy(tmp_path / "labels/p0.nii.gz", tmp_path / "images/p0.nii.gz")
        (defect,) = scan(tmp_path).defects
        assert "has the same id 'p0'" in defect.problem


class TestContent:
    def test_the_digest_is_of_the_slices_whatever_their_names_and_companions(self, tmp_path):
        write(tmp_path / "a", series())
        (tmp_path / "b/study").mkdir(parents=True)
        for number, path in enumerate(sorted((tmp_path / "a").iterdir())):
            shutil.copyfile(path, tmp_path / f"b/study/{99 - number}")
        (tmp_path / "b/study/LICENSE").write_text("free")
        assert content_digest(files(tmp_path / "a")) == content_digest(files(tmp_path / "b"))

    def test_the_digest_depends_on_every_slice(self, tmp_path):
        write(tmp_path, series())
        seen = {content_digest(files(tmp_path))}
        for path in sorted(tmp_path.iterdir()):
            content = bytearray(path.read_bytes())
            content[-1] ^= 1
            path.write_bytes(content)
            seen.add(content_digest(files(tmp_path)))
        path.unlink()
        seen.add(content_digest(files(tmp_path)))
        assert len(seen) == 7


def files(folder):
    return CaseFiles(id="a", images=(folder,))
