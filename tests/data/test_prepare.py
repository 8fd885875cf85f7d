"""Preparation: there and back again, from the image alone, whole or absent on disk."""

import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import replace
from itertools import permutations
from pathlib import Path

import nibabel
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import gaussian_filter

from edgewise.data import prepare as module
from edgewise.data.bias_field import N4
from edgewise.data.case import Case, CaseFiles, Grid
from edgewise.data.crop import LabelRange, body_box
from edgewise.data.images import read_case
from edgewise.data.intensity import PercentileZScore, Window
from edgewise.data.locations import locations
from edgewise.data.prepare import Preparation, prepare, restore, transform
from edgewise.errors import DataError, ExperimentError, OutputError, RunError, ShapeError, SpacingError

AXES = list(permutations((0, 1, 2)))
PLAIN = Preparation(axes=(2, 1, 0), spacing=(2.5, 0.8, 0.8), intensity=(PercentileZScore(),), image_order="cubic")


def blobs(shape, seed, sigma=4.0):
    """Three classes with smooth borders, and an image in which they differ."""
    field = gaussian_filter(np.random.default_rng(seed).normal(size=shape), sigma)
    labels = np.digitize(field, np.quantile(field, [0.6, 0.85])).astype(np.uint8)
    return (labels * 100 + 20 * field / field.std()).astype(np.float32), labels


def case_of(image, labels, spacing=(0.8, 0.8, 2.5)):
    image = image if image.ndim == 4 else image[None]
    affine = np.diag([*spacing, 1.0])
    grid = Grid(path=Path("case.nii.gz"), shape=image.shape[1:], affine=affine)
    return Case(id="a", image=image, labels=labels, spacing=spacing, affine=affine, grid=grid)


def one_hot(labels, dtype=np.float32, classes=3):
    return np.stack([labels == c for c in range(classes)]).astype(dtype)


def dice(a, b, c):
    return 2 * np.sum((a == c) & (b == c)) / (np.sum(a == c) + np.sum(b == c))


class TestThereAndBackAgain:
    @settings(max_examples=25)
    @given(
        axes=st.sampled_from(AXES),
        shape=st.tuples(*[st.integers(4, 36)] * 3),
        crop=st.sampled_from(["none", "body"]),
        seed=st.integers(0, 99),
    )
    def test_without_resampling_labels_return_exactly(self, axes, shape, crop, seed):
        image, labels = blobs(shape, seed)
        outside = np.ones(shape, bool)
        outside[tuple(slice(n // 3, None if n < 6 else -(n // 3)) for n in shape)] = False
        image[outside], labels[outside] = 0, 0
        case = case_of(image, labels)
        same = tuple(case.spacing[axis] for axis in axes)
        prepared = transform(case, replace(PLAIN, axes=axes, spacing=same, crop=crop))
        assert prepared.spacing == same
        assert prepared.image.shape[1:] == prepared.labels.shape
        for dtype in (np.float16, np.float64):
            np.testing.assert_array_equal(restore(one_hot(prepared.labels, dtype), prepared.undo), labels)

    @pytest.mark.parametrize("axes", AXES)
    @pytest.mark.parametrize("target", [(1.0, 1.0, 1.0), (1.2, 0.6, 1.4)])
    def test_with_resampling_blobs_return_nearly(self, axes, target):
        image, labels = blobs((60, 52, 40), 1, sigma=6.0)
        case = case_of(image, labels, spacing=(0.8, 0.9, 1.6))
        prepared = transform(case, replace(PLAIN, axes=axes, spacing=target))
        returned = restore(one_hot(prepared.labels), prepared.undo)
        assert returned.shape == labels.shape
        assert returned.dtype == np.uint8
        assert min(dice(returned, labels, c) for c in range(3)) > 0.95

    def test_prepared_axes_and_spacing_follow_the_order_asked_for(self):
        image = np.zeros((10, 20, 40), np.float32)
        image[:, :, 30:] = 1
        settings_ = replace(PLAIN, axes=(2, 0, 1), spacing=(2.0, 1.0, 0.5), crop="none")
        prepared = transform(case_of(image, None, spacing=(1.0, 1.0, 1.0)), settings_)
        assert prepared.image.shape == (1, 20, 10, 40)
        assert prepared.labels is None
        profile = prepared.image[0].mean(axis=(1, 2))
        assert (profile[15:] > profile[:14].max() + 1).all()
        assert prepared.spacing == (2.0, 1.0, 0.5)

    def test_the_spacing_is_that_of_whole_voxels(self):
        case = case_of(np.random.default_rng(0).normal(size=(10, 10, 10)).astype(np.float32), None)
        prepared = transform(case, replace(PLAIN, spacing=(3.0, 3.0, 3.0)))
        extent = np.multiply(prepared.spacing, prepared.image.shape[1:])
        np.testing.assert_allclose(extent, (25.0, 8.0, 8.0))

    def test_the_most_probable_class_wins_and_a_tie_goes_to_the_lower(self):
        prepared = transform(case_of(*blobs((6, 5, 4), 0)), PLAIN)
        probabilities = np.zeros((3, *prepared.image.shape[1:]), np.float16)
        probabilities[1:] = 0.5
        assert (restore(probabilities, prepared.undo) == 1).all()

    def test_restoring_a_memory_map_equals_restoring_the_array(self, tmp_path):
        prepared = transform(case_of(*blobs((30, 28, 16), 2)), replace(PLAIN, spacing=(1.0, 1.0, 1.0)))
        probabilities = np.random.default_rng(0).random((3, *prepared.image.shape[1:])).astype(np.float16)
        np.save(tmp_path / "p.npy", probabilities)
        mapped = np.load(tmp_path / "p.npy", mmap_mode="r")
        np.testing.assert_array_equal(restore(mapped, prepared.undo), restore(probabilities, prepared.undo))

    def test_probabilities_of_the_wrong_rank_are_refused(self):
        prepared = transform(case_of(*blobs((6, 5, 4), 0)), PLAIN)
        with pytest.raises(ShapeError, match="classes"):
            restore(np.zeros((4, 5, 6)), prepared.undo)

    def test_a_case_with_other_channels_is_refused_by_name(self):
        with pytest.raises(DataError, match=r"case a .*2 channels, expected 1"):
            transform(case_of(np.zeros((2, 4, 4, 4), np.float32), None), PLAIN)


class TestCropping:
    def ct(self):
        hu = np.full((96, 96, 40), -1000, np.float32)
        hu[30:60, 25:70, :] = 40
        hu[5:90, 90:91, :] = -300  # a table
        return hu

    def test_a_ct_is_cropped_to_the_body_with_a_margin_and_without_the_table(self):
        box = body_box(self.ct()[None], (1.0, 1.0, 3.0))
        for (start, stop), (low, high) in zip(box[:2], ((30, 60), (25, 70)), strict=True):
            assert low - 5 - 4 <= start <= low - 1
            assert high + 1 <= stop <= high + 5 + 4
        assert box[2] == (0, 40)

    def test_two_legs_stay(self):
        hu = np.full((96, 96, 40), -1000, np.float32)
        hu[10:30, 30:60] = hu[60:80, 30:60] = 40
        (start, stop), *_ = body_box(hu[None], (1.0, 1.0, 3.0))
        assert start < 10
        assert stop > 80

    @settings(max_examples=30)
    @given(
        start=st.tuples(*[st.integers(0, 20)] * 3),
        size=st.tuples(*[st.integers(12, 30)] * 3),
        spacing=st.tuples(*[st.floats(0.4, 3)] * 3),
    )
    def test_no_voxel_of_a_body_is_ever_cut(self, start, size, spacing):
        hu = np.full((60, 60, 60), -1000, np.float32)
        hu[tuple(slice(a, a + n) for a, n in zip(start, size, strict=True))] = 0
        box = body_box(hu[None], spacing)
        assert all(lo <= a and a + n <= hi for (lo, hi), a, n in zip(box, start, size, strict=True))

    def test_a_ct_of_a_few_voxels_is_cropped_too(self):
        image = np.full((1, 1, 1, 3), -1000.0, np.float32)
        image[..., ::2] = 0.0
        assert body_box(image, (4.0, 4.0, 4.0)) == ((0, 1), (0, 1), (0, 3))

    def test_a_masked_mr_is_cropped_to_what_differs_from_its_corners(self):
        image = np.full((2, 40, 40, 40), 7.0, np.float32)
        image[0, 10:20, 12:30, 15:16] = 500
        image[1, 12:25, 12:30, 15:16] = 500
        assert body_box(image, (5.0, 1.0, 10.0)) == ((9, 26), (7, 35), (14, 17))

    @pytest.mark.parametrize("image", [np.zeros((1, 9, 8, 7)), np.full((1, 9, 8, 7), -1000.0)])
    def test_an_image_of_nothing_is_kept_whole(self, image):
        assert body_box(image.astype(np.float32), (1.0, 1.0, 1.0)) == ((0, 9), (0, 8), (0, 7))

    def test_labels_do_not_move_the_crop(self):
        image, labels = self.ct(), np.zeros((96, 96, 40), np.uint8)
        labels[30:40, 30:40] = 1
        labels[0, 0, 0] = 1
        prepared = transform(case_of(image, labels), replace(PLAIN, intensity=(Window(lower=-160.0, upper=240.0),)))
        without = transform(case_of(image, None), replace(PLAIN, intensity=(Window(lower=-160.0, upper=240.0),)))
        assert prepared.undo == without.undo
        np.testing.assert_array_equal(prepared.image, without.image)
        returned = restore(one_hot(prepared.labels, classes=2), prepared.undo)
        labels[0, 0, 0] = 0
        np.testing.assert_array_equal(returned, labels)


class TestSettings:
    def test_any_other_setting_gives_another_digest(self):
        others = [
            replace(PLAIN, axes=(0, 1, 2)),
            replace(PLAIN, spacing=(2.5, 0.8, 0.81)),
            replace(PLAIN, intensity=(PercentileZScore(upper=99.0),)),
            replace(PLAIN, intensity=(Window(lower=0.0, upper=1.0),)),
            replace(PLAIN, crop="none"),
            replace(PLAIN, crop=LabelRange()),
            replace(PLAIN, crop=LabelRange(classes=(2,))),
            replace(PLAIN, crop=LabelRange(margin=3.0)),
            replace(PLAIN, bias_field=N4()),
            replace(PLAIN, bias_field=N4(shrink=2)),
            replace(PLAIN, image_order="linear"),
            replace(PLAIN, label_order="nearest"),
        ]
        assert len({p.digest() for p in [PLAIN, *others]}) == 13
        assert hash(PLAIN) == hash(replace(PLAIN))

    def test_the_digest_is_the_same_in_every_process(self):
        # Recorded with format 1: raise the format number in transform.py whenever prepared numbers change.
        assert PLAIN.digest() == "7ab1036fe59bc7cf"

    def test_settings_without_sense_are_refused(self):
        with pytest.raises(ExperimentError, match="axes"):
            replace(PLAIN, axes=(0, 1, 1))
        with pytest.raises(SpacingError, match="target spacing"):
            replace(PLAIN, spacing=(1.0, 0.0, 1.0))
        with pytest.raises(ExperimentError, match="intensity"):
            replace(PLAIN, intensity=())


class TestLocations:
    def test_few_voxels_are_all_found_and_absent_classes_are_empty(self):
        labels = np.random.default_rng(0).choice(np.array([0, 1, 3], np.uint8), (7, 8, 9))
        found = locations(labels)
        assert [len(rows) for rows in found] == [np.sum(labels == c) for c in range(4)]
        for c, rows in enumerate(found):
            assert rows.dtype == np.int32
            np.testing.assert_array_equal(rows, np.argwhere(labels == c))

    def test_many_voxels_are_thinned_evenly_and_always_alike(self):
        labels = np.zeros((40, 50, 60), np.uint8)
        labels[20:] = 2
        background, none, rows = locations(labels, most=500)
        assert (len(background), len(none), len(rows)) == (500, 0, 500)
        assert (labels[tuple(rows.T)] == 2).all()
        assert len(np.unique(rows, axis=0)) == 500
        np.testing.assert_allclose(rows.mean(axis=0), (29.5, 24.5, 29.5), atol=3)
        np.testing.assert_array_equal(rows, locations(labels, most=500)[2])


def write_cases(folder, count, shape=(20, 22, 12)):
    folder.mkdir(parents=True, exist_ok=True)
    files = []
    for i in range(count):
        image, labels = blobs(shape, i)
        paths = [folder / f"c{i}_image.nii.gz", folder / f"c{i}_label.nii.gz"]
        for path, array in zip(paths, (image, labels), strict=True):
            nibabel.save(nibabel.Nifti1Image(array, np.diag([0.8, 0.8, 2.5, 1])), path)
        files.append(CaseFiles(id=f"c{i}", images=(paths[0],), label=paths[1]))
    return files


def run(files, folder, workers=1, preparation=PLAIN, progress=lambda *_: None):
    digests = {case.id: f"content of {case.id}" for case in files}
    return prepare(files, preparation, folder, workers=workers, digests=digests, progress=progress)


def stamps(folder):
    return {path: path.stat().st_mtime_ns for path in folder.rglob("*.npy")}


class TestOnDisk:
    def test_a_prepared_case_is_what_transform_gives_memory_mapped(self, tmp_path):
        files = write_cases(tmp_path / "in", 2)
        prepared = run(files, tmp_path / "out")
        expected = transform(read_case(files[1]), PLAIN)
        loaded = prepared.load("c1")
        assert isinstance(loaded.image, np.memmap)
        np.testing.assert_array_equal(loaded.image, expected.image)
        np.testing.assert_array_equal(loaded.labels, expected.labels)
        assert loaded.image.dtype == np.float32
        assert loaded.image.flags.c_contiguous
        assert (loaded.id, loaded.spacing, loaded.undo) == ("c1", expected.spacing, expected.undo)
        for found, there in zip(loaded.locations, locations(expected.labels), strict=True):
            np.testing.assert_array_equal(found, there)
        with pytest.raises(DataError, match="c9 is not among the 2"):
            prepared.load("c9")

    def test_finished_cases_are_kept_and_other_settings_are_apart(self, tmp_path):
        files = write_cases(tmp_path / "in", 2)
        run(files, tmp_path / "out")
        before, told = stamps(tmp_path / "out"), []
        run(files, tmp_path / "out", progress=lambda *done: told.append(done))
        assert stamps(tmp_path / "out") == before
        assert told == [(2, 2)]
        run(files, tmp_path / "out", preparation=replace(PLAIN, crop="none"))
        assert len(stamps(tmp_path / "out")) == 2 * len(before)

    def test_failing_cases_are_named_with_their_files_and_the_others_go_on(self, tmp_path):
        files = write_cases(tmp_path / "in", 3)
        files[0].images[0].write_bytes(b"no image")
        unlabelled = replace(files[2], label=None)
        with pytest.raises(DataError, match="2 of 3 cases") as caught:
            run([files[0], files[1], unlabelled], tmp_path / "out")
        assert "case c0" in str(caught.value)
        assert "c0_image.nii.gz" in str(caught.value)
        assert "case c2" in str(caught.value)
        assert run([files[1]], tmp_path / "out").load("c1").image.shape[0] == 1
        assert len(list((tmp_path / "out").iterdir())) == 1

    def test_an_interruption_leaves_nothing_half_written_and_the_next_call_goes_on(self, tmp_path, monkeypatch):
        files = write_cases(tmp_path / "in", 2)
        write, calls = np.save, []

        def interrupted(path, array):
            calls.append(path)
            if len(calls) == 5:
                raise KeyboardInterrupt
            write(path, array)

        monkeypatch.setattr(np, "save", interrupted)
        with pytest.raises(KeyboardInterrupt):
            run(files, tmp_path / "out")
        assert len(list((tmp_path / "out").iterdir())) == 1
        before = stamps(tmp_path / "out")
        monkeypatch.setattr(np, "save", write)
        prepared = run(files, tmp_path / "out")
        assert before.items() <= stamps(tmp_path / "out").items()
        assert prepared.load("c1").labels.max() == 2

    def test_leftovers_of_dead_processes_go_and_those_of_living_ones_stay(self, tmp_path):
        process = subprocess.run(
            [sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, check=True
        )
        host, out = socket.gethostname(), tmp_path / "out"
        dead = out / f".{host}.{int(process.stdout)}.partial.00000000.x"
        alive = out / f".{host}.{os.getppid()}.partial.00000000.x"
        elsewhere = out / ".other.machine.17.partial.00000000.x"
        forgotten = out / ".other.machine.18.partial.00000000.x"
        for path in (dead, alive, elsewhere, forgotten):
            path.mkdir(parents=True)
        os.utime(forgotten, (0, 0))
        run(write_cases(tmp_path / "in", 1), out)
        assert [path.exists() for path in (dead, alive, elsewhere, forgotten)] == [False, True, True, False]

    def test_a_case_that_another_process_finished_first_is_taken_from_it(self, tmp_path, monkeypatch):
        files = write_cases(tmp_path / "in", 1)
        ours, theirs = tmp_path / "ours", tmp_path / "theirs"
        run(files, theirs)
        (finished,) = theirs.iterdir()

        def meanwhile(case, preparation):
            finished.rename(ours / finished.name)
            return transform(case, preparation)

        monkeypatch.setattr(module, "transform", meanwhile)
        run(files, ours)
        assert [path.name for path in ours.iterdir()] == [finished.name]

    def test_a_folder_that_cannot_be_written_is_refused(self, tmp_path):
        (tmp_path / "out").touch()
        with pytest.raises(OutputError, match="cannot write"):
            run(write_cases(tmp_path / "in", 1), tmp_path / "out")

    def test_a_killed_worker_is_reported_as_such(self, tmp_path, monkeypatch):
        files = write_cases(tmp_path / "in", 2)
        monkeypatch.setattr(module, "_BYTES_A_WORKER", 1)
        monkeypatch.setattr(module, "_start_worker", os._exit)
        with pytest.raises(RunError, match="fewer workers"):
            run(files, tmp_path / "out", workers=2)
        assert not list((tmp_path / "out").iterdir())

    @pytest.mark.skipif(sys.platform != "linux", reason="looks for processes in /proc")
    def test_killing_the_run_ends_its_workers_and_the_next_run_completes_it(self, tmp_path, monkeypatch):
        files = write_cases(tmp_path / "in", 4, shape=(96, 96, 32))
        script = tmp_path / "run.py"
        script.write_text(KILLED.format(root=str(tmp_path)))
        command = [sys.executable, script]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            workers = [int(pid) for pid in process.stdout.readline().split()]
            process.send_signal(signal.SIGKILL)
        deadline = time.monotonic() + 100
        while any(map(works, workers)) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert len(workers) == 2
        assert not any(map(works, workers))
        monkeypatch.setattr(module, "_BYTES_A_WORKER", 1)
        prepared, out = run(files, tmp_path / "out", workers=2), tmp_path / "out"
        assert len(list(out.iterdir())) == len(list(out.glob("*/case.json"))) == 4
        for case in files:
            expected = transform(read_case(case), PLAIN)
            np.testing.assert_allclose(prepared.load(case.id).image, expected.image, atol=1e-5)
            np.testing.assert_array_equal(prepared.load(case.id).labels, expected.labels)


def works(pid):
    """Whether a process runs; one that ended and was not collected does not."""
    status = Path(f"/proc/{pid}/stat")
    try:
        return status.read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


KILLED = """
import multiprocessing
from pathlib import Path
from edgewise.data import prepare as module
from edgewise.data.case import CaseFiles
from edgewise.data.images import read_case
from edgewise.data.intensity import PercentileZScore
module._BYTES_A_WORKER = 1
root = Path({root!r})
at = root / "in"
if __name__ == "__main__":
    files = [
        CaseFiles(id=f"c{{i}}", images=(at / f"c{{i}}_image.nii.gz",), label=at / f"c{{i}}_label.nii.gz")
        for i in range(4)
    ]
    preparation = module.Preparation(axes=(2, 1, 0), spacing=(2.5, 0.8, 0.8), intensity=(PercentileZScore(),))
    digests = {{case.id: f"content of {{case.id}}" for case in files}}
    def told(done, total):
        if done == 1:
            print(*[worker.pid for worker in multiprocessing.active_children()], flush=True)
    module.prepare(files, preparation, root / "out", workers=2, digests=digests, progress=told)
"""
