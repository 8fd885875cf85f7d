"""Surfaces as files that 3D Slicer, ParaView, MeshLab, Blender and browsers open: PLY, VTP and GLB.

Vertices are in mm in the world of the image, RAS: x to the right, y to the front, z upwards, as NIfTI and
nibabel have it. PLY and VTP say so in the way 3D Slicer reads (`SPACE=RAS`), which would take them for LPS otherwise.
glTF has its own world (metres, y upwards, the viewer in front): a GLB file holds the same vertices, and a
matrix that leads there.
"""

import base64
import json
import re
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy import ndarray

from edgewise.errors import OutputError
from edgewise.files import atomic
from edgewise.report.error_surface import Surface
from edgewise.report.surface_picture import colours
from edgewise.types import Affine, Spacing

MEANING = "distance in mm to the border of the reference"
QUALITY = "distance_mm"
TO_GLTF = np.array([[-1, 0, 0, 0], [0, 0, 1, 0], [0, 1, 0, 0], [0, 0, 0, 1000]]) / 1000
"""From RAS in mm to glTF: metres, x to the left, y upwards, z to the front."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Mesh:
    """A surface of triangles in the world.

    Attributes:
        name: what it is, in printable ASCII.
        vertices: (n, 3) float32, mm, RAS.
        triangles: (m, 3) int32, counter-clockwise seen from outside.
        at_vertices: (n) float32: mean distance of the faces that meet in each vertex, mm.
        at_triangles: (m) float32: distance of the border voxel under each triangle, mm.
        top: distance of the last colour, mm.
    """

    name: str
    vertices: ndarray
    triangles: ndarray
    at_vertices: ndarray
    at_triangles: ndarray
    top: float

    @property
    def colours(self) -> ndarray:
        """(n, 3) uint8: sRGB of the distance at each vertex."""
        shades: ndarray = np.rint(colours(self.at_vertices / self.top)).astype(np.uint8)
        return shades


def mesh(surface: Surface, spacing: Spacing, affine: Affine, *, name: str, top: float) -> Mesh:
    """A surface in the world, every face cut in two along its shorter diagonal.

    Args:
        surface: with finite distances.
        spacing: of the voxels, in mm.
        affine: (4, 4) from voxels to the world, RAS, mm.
        name: what it is.
        top: distance of the last colour, mm.
    """
    voxels = surface.vertices / np.array(spacing)
    vertices = voxels @ affine[:3, :3].T + affine[:3, 3]
    faces = surface.faces if np.linalg.det(affine[:3, :3]) > 0 else surface.faces[:, ::-1]
    first, second = (np.linalg.norm(vertices[faces[:, a]] - vertices[faces[:, b]], axis=1) for a, b in ((0, 2), (1, 3)))
    turned = np.where((first <= second)[:, None], faces, np.roll(faces, -1, axis=1))
    return Mesh(
        name=re.sub("[^ -~]", "?", name),
        vertices=vertices.astype(np.float32),
        triangles=turned[:, (0, 1, 2, 0, 2, 3)].reshape(-1, 3).astype(np.int32),
        at_vertices=surface.at_vertices().astype(np.float32),
        at_triangles=np.repeat(surface.distances, 2).astype(np.float32),
        top=top,
    )


def write(path: Path, shown: Mesh) -> None:
    """Write a mesh; the ending of `path` chooses the format.

    Raises:
        OutputError: the ending is not one of `FORMATS`, or the file cannot be written.
    """
    form = FORMATS.get(path.suffix.lower())
    if form is None:
        raise OutputError(f"cannot write a surface to {path}. Choose a file that ends in {', '.join(FORMATS)}.")
    content = form(shown)
    with atomic(path) as temporary:
        temporary.write_bytes(content)


def ply(shown: Mesh) -> bytes:
    """Stanford PLY, binary: colour and `quality` (the distance) of each vertex, `quality` of each triangle."""
    vertex = [("x", "<f4"), ("y", "<f4"), ("z", "<f4"), ("red", "u1"), ("green", "u1"), ("blue", "u1"), ("q", "<f4")]
    vertices = np.zeros(len(shown.vertices), vertex)
    for field, column in zip("xyz", shown.vertices.T, strict=True):
        vertices[field] = column
    for field, column in zip(("red", "green", "blue"), shown.colours.T, strict=True):
        vertices[field] = column
    vertices["q"] = shown.at_vertices
    triangles = np.zeros(len(shown.triangles), [("n", "u1"), ("corners", "<i4", 3), ("q", "<f4")])
    triangles["n"], triangles["corners"], triangles["q"] = 3, shown.triangles, shown.at_triangles
    header = (
        "ply\nformat binary_little_endian 1.0\n"
        f"comment {shown.name}\ncomment SPACE=RAS\ncomment quality: {MEANING}; colours from 0 to {shown.top:g} mm\n"
        f"element vertex {len(vertices)}\nproperty float x\nproperty float y\nproperty float z\n"
        "property uchar red\nproperty uchar green\nproperty uchar blue\nproperty float quality\n"
        f"element face {len(triangles)}\nproperty list uchar int vertex_indices\nproperty float quality\nend_header\n"
    )
    return header.encode() + vertices.tobytes() + triangles.tobytes()


def vtp(shown: Mesh) -> bytes:
    """VTK XML PolyData, compressed: `distance_mm` of each point and of each triangle, and the colours."""
    offsets = np.arange(3, 3 * len(shown.triangles) + 1, 3, dtype=np.int32)
    text = f"""<?xml version="1.0"?>
<VTKFile type="PolyData" version="1.0" byte_order="LittleEndian" header_type="UInt32" \
compressor="vtkZLibDataCompressor">
<PolyData>
<FieldData><Array type="String" Name="SPACE" NumberOfTuples="1" format="ascii">82 65 83 0</Array></FieldData>
<Piece NumberOfPoints="{len(shown.vertices)}" NumberOfVerts="0" NumberOfLines="0" NumberOfStrips="0" \
NumberOfPolys="{len(shown.triangles)}">
<PointData Scalars="{QUALITY}">
{_array(QUALITY, shown.at_vertices)}
{_array("colour", shown.colours)}
</PointData>
<CellData>{_array(QUALITY, shown.at_triangles)}</CellData>
<Points>{_array("Points", shown.vertices)}</Points>
<Polys>
{_array("connectivity", shown.triangles.ravel())}
{_array("offsets", offsets)}
</Polys>
</Piece>
</PolyData>
</VTKFile>
"""
    return text.encode()


def glb(shown: Mesh) -> bytes:
    """Binary glTF 2.0: normals, colours, and the distance as the attribute `_DISTANCE_MM`."""
    share = shown.colours / 255
    # glTF wants linear light, not sRGB: https://registry.khronos.org/glTF/specs/2.0/glTF-2.0.html#meshes-overview
    linear = np.where(share <= 0.04045, share / 12.92, ((share + 0.055) / 1.055) ** 2.4)
    shades = np.concatenate([linear, np.ones((len(linear), 1))], axis=1)
    arrays = {
        "POSITION": (shown.vertices, "VEC3"),
        "NORMAL": (_normals(shown), "VEC3"),
        "COLOR_0": (np.rint(shades * 65535).astype(np.uint16), "VEC4"),
        f"_{QUALITY.upper()}": (shown.at_vertices, "SCALAR"),
        "indices": (shown.triangles.ravel().astype(np.uint32), "SCALAR"),
    }
    views: list[dict[str, Any]] = []
    accessors: list[dict[str, Any]] = []
    blob = b""
    for name, (array, kind) in arrays.items():
        views.append({"buffer": 0, "byteOffset": len(blob), "byteLength": array.nbytes, "target": _target(name)})
        accessors.append(_accessor(name, array, kind, len(accessors)))
        blob += array.tobytes()  # a multiple of four bytes each
    attributes = {name: index for index, name in enumerate(arrays) if name != "indices"}
    indices = len(arrays) - 1
    scene: dict[str, Any] = {
        "asset": {"version": "2.0", "generator": "Edgewise"},
        "scene": 0,
        "scenes": [{"nodes": [0]}],
        "nodes": [{"mesh": 0, "name": shown.name, "matrix": TO_GLTF.T.ravel().tolist()}],
        "meshes": [{"primitives": [{"attributes": attributes, "indices": indices, "material": 0}]}],
        "materials": [{"pbrMetallicRoughness": {"metallicFactor": 0.0, "roughnessFactor": 0.8}}],
        "accessors": accessors,
        "bufferViews": views,
        "buffers": [{"byteLength": len(blob)}],
        "extras": {"space": "RAS", "unit": "mm", f"_{QUALITY.upper()}": MEANING, "last_colour_mm": shown.top},
    }
    facts = json.dumps(scene).encode()
    chunks = _chunk(b"JSON", facts + b" " * (-len(facts) % 4)) + _chunk(b"BIN\0", blob)
    return b"glTF" + np.array([2, 12 + len(chunks)], "<u4").tobytes() + chunks


FORMATS: Mapping[str, Callable[[Mesh], bytes]] = {".vtp": vtp, ".ply": ply, ".glb": glb}

_VTK = {"f4": "Float32", "i4": "Int32", "u1": "UInt8"}
_GLTF = {"f4": 5126, "u4": 5125, "u2": 5123}


def _array(name: str, array: ndarray) -> str:
    """One array, zlib-compressed in one block: number of blocks, sizes of a block and of the last, compressed size."""
    raw = array.tobytes()
    packed = zlib.compress(raw, 6)
    header = np.array([1, len(raw), 0, len(packed)], "<u4").tobytes()
    text = (base64.b64encode(header) + base64.b64encode(packed)).decode()
    width = array.shape[1] if array.ndim > 1 else 1
    kind = _VTK[array.dtype.str[1:]]
    return f'<DataArray type="{kind}" Name="{name}" NumberOfComponents="{width}" format="binary">{text}</DataArray>'


def _accessor(name: str, array: ndarray, kind: str, view: int) -> dict[str, Any]:
    found = {"bufferView": view, "componentType": _GLTF[array.dtype.str[1:]], "count": len(array), "type": kind}
    if name == "POSITION":  # which the format demands
        return found | {"min": array.min(0).tolist(), "max": array.max(0).tolist()}
    return found | ({"normalized": True} if name == "COLOR_0" else {})


def _target(name: str) -> int:
    return 34963 if name == "indices" else 34962


def _chunk(kind: bytes, content: bytes) -> bytes:
    return np.array([len(content)], "<u4").tobytes() + kind + content


def _normals(shown: Mesh) -> ndarray:
    """(n, 3) float32 of length 1, outwards."""
    corners = shown.vertices[shown.triangles].astype(np.float64)
    flat = np.repeat(np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]), 3, axis=0)
    corner = shown.triangles.ravel()
    summed = np.stack([np.bincount(corner, flat[:, axis], len(shown.vertices)) for axis in range(3)], axis=1)
    length = np.linalg.norm(summed, axis=1, keepdims=True)
    upright = np.where(length > 0, summed, (0.0, 0.0, 1.0)) / np.where(length > 0, length, 1.0)
    normals: ndarray = upright.astype(np.float32)
    return normals
