"""DICOM series as scanners write them, by pydicom, and where pydicom says that each of their pixels lies."""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pydicom
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

HALF = ((1.0, 0.0, 0.0), (0.0, 1.0, 0.0))
"""Directions of rows and columns of an axial slice: to the left, and to the back."""


@dataclass(frozen=True, kw_only=True)
class Scan:
    """One series.

    Attributes:
        stored: (x, y, z) int16, before rescaling; x along the rows.
        size: of a pixel along x and y, in mm.
        distance: from slice to slice, in mm.
        directions: unit vectors along x and y, in LPS.
        corner: centre of the first pixel, in LPS, in mm.
        slopes: one rescale slope a slice.
        intercept: rescale intercept.
        uid: Series Instance UID.
    """

    stored: np.ndarray
    size: tuple[float, float] = (0.7, 0.9)
    distance: float = 2.5
    directions: tuple[tuple[float, ...], tuple[float, ...]] = HALF
    corner: tuple[float, float, float] = (-12.5, -20.25, 31.75)
    slopes: tuple[float, ...] = ()
    intercept: float = -1024.0
    uid: str = field(default_factory=generate_uid)

    @property
    def affine(self):
        """(4, 4) from (x, y, z) of `stored` to RAS+, in mm."""
        x, y = (np.array(direction) for direction in self.directions)
        columns = (x * self.size[0], y * self.size[1], np.cross(x, y) * self.distance, np.array(self.corner))
        return np.diag([-1.0, -1.0, 1.0, 1.0]) @ np.vstack([np.stack(columns, axis=1), [0.0, 0.0, 0.0, 1.0]])


def dataset(pixels: np.ndarray, scan: Scan, slope: float, corner: np.ndarray) -> FileDataset:
    """One slice; `pixels` are (rows, columns)."""
    meta = FileMetaDataset()
    meta.MediaStorageSOPClassUID = CTImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    one = FileDataset("", {}, file_meta=meta, preamble=b"\0" * 128)
    one.SOPClassUID, one.SOPInstanceUID = CTImageStorage, meta.MediaStorageSOPInstanceUID
    one.Modality, one.SeriesInstanceUID = "CT", scan.uid
    one.Rows, one.Columns = pixels.shape
    one.SamplesPerPixel, one.PhotometricInterpretation = 1, "MONOCHROME2"
    one.BitsAllocated, one.BitsStored, one.HighBit = 16, 16, 15
    one.PixelRepresentation = 1
    one.ImagePositionPatient = [f"{value:.6f}" for value in corner]
    one.ImageOrientationPatient = [f"{value:.10f}" for direction in scan.directions for value in direction]
    one.PixelSpacing = [scan.size[1], scan.size[0]]  # the distance of rows comes first
    one.SliceThickness = scan.distance
    one.RescaleSlope, one.RescaleIntercept = slope, scan.intercept
    one.PixelData = np.ascontiguousarray(pixels.astype("<i2")).tobytes()
    return one


def write(
    folder: Path,
    scan: Scan,
    *,
    names: Callable[[int], str] = lambda number: f"1-{number:03d}.dcm",
    seed: int = 0,
    change: Callable[[int, FileDataset], None] = lambda *_: None,
) -> Path:
    """Write a series with names and instance numbers in random order.

    Args:
        folder: where to; made if it is not there.
        scan: the series.
        names: of the file with a number.
        seed: of the order.
        change: is called with the number along z and the slice before it is written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = scan.stored.shape[2]
    normal = np.cross(*scan.directions) * scan.distance
    for z, number in enumerate(np.random.default_rng(seed).permutation(count)):
        slope = scan.slopes[z] if scan.slopes else 1.0
        one = dataset(scan.stored[:, :, z].T, scan, slope, np.array(scan.corner) + z * normal)
        one.InstanceNumber = int(number) + 1
        change(z, one)
        one.save_as(folder / names(int(number) + 1), enforce_file_format=True)
    return folder


def as_pydicom_reads(folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Every pixel of the files of a folder: (n, 3) world coordinates in RAS+, in mm, and (n,) rescaled values.

    The equation of the standard, part 3, C.7.6.2.1.1.
    """
    places, values = [], []
    for path in folder.iterdir():
        one = pydicom.dcmread(path)
        row, column = np.array(one.ImageOrientationPatient, float).reshape(2, 3)
        apart, along = (float(value) for value in one.PixelSpacing)
        down, across = np.indices(one.pixel_array.shape)
        world = np.array(one.ImagePositionPatient, float) + (
            across[..., None] * row * along + down[..., None] * column * apart
        )
        places.append(world.reshape(-1, 3) * [-1, -1, 1])
        values.append((one.pixel_array * float(one.RescaleSlope) + float(one.RescaleIntercept)).ravel())
    return np.concatenate(places), np.concatenate(values)
