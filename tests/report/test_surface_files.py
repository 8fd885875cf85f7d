"""Surface files, read back with trimesh, and the VTK XML with a reader of its own."""

import base64
import zlib
from xml.etree import ElementTree

import numpy as np
import pytest
import trimesh
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from edgewise.errors import OutputError
from edgewise.report.error_surface import surface_error
from edgewise.report.surface_files import FORMATS, TO_GLTF, glb, mesh, ply, vtp, write
from edgewise.report.surface_picture import RAMP

SPACING = (0.5, 1.0, 2.5)
AFFINE = np.array([[0.4, -0.6, 0.0, 12.0], [0.3, 0.8, 0.0, -7.0], [0.0, 0.0, 2.5, 30.0], [0.0, 0.0, 0.0, 1.0]])
"""Oblique: its columns are as long as SPACING says."""
MASKS = arrays.arrays(bool, (4, 5, 3)).filter(lambda mask: bool(mask.any()))
KINDS = {"Float32": "<f4", "Int32": "<i4", "UInt8": "u1"}


def ball(radius, centre):
    grid = np.indices((20, 16, 12)).T * np.array(SPACING)
    return (((grid - centre) ** 2).sum(-1) < radius**2).T


def shown(prediction, reference, affine=AFFINE):
    surface = surface_error(prediction, reference, SPACING)
    return surface, mesh(surface, SPACING, affine, name="case_1 tumour", top=2.0)


@pytest.fixture(scope="module")
def example():
    return shown(ball(4.0, (5.0, 8.0, 14.0)), ball(4.5, (5.0, 7.0, 15.0)))[1]


def read_ply(content):
    return trimesh.load(trimesh.util.wrap_as_stream(content), file_type="ply", process=False)


def read_glb(content):
    scene = trimesh.load(trimesh.util.wrap_as_stream(content), file_type="glb", process=False)
    return scene, next(iter(scene.geometry.values()))


def read_vtp(content):
    """Name -> array, by the parts of the file."""
    piece = ElementTree.fromstring(content).find("PolyData/Piece")
    found = {}
    for part in piece:
        for array in part:
            text = array.text
            blocks, block, last, size = np.frombuffer(base64.b64decode(text[:24]), "<u4")
            raw = zlib.decompress(base64.b64decode(text[24:]))
            assert (blocks, last, len(raw)) == (1, 0, block)
            assert len(base64.b64decode(text[24:])) == size
            width = int(array.get("NumberOfComponents"))
            values = np.frombuffer(raw, KINDS[array.get("type")])
            found[part.tag, array.get("Name")] = values.reshape(-1, width) if width > 1 else values
    return piece, found


@given(MASKS, MASKS)
def test_every_format_holds_the_same_surface_with_the_same_distances(prediction, reference):
    _, wanted = shown(prediction, reference)
    a, (_, b), (piece, c) = read_ply(ply(wanted)), read_glb(glb(wanted)), read_vtp(vtp(wanted))
    for vertices, triangles in (
        (a.vertices, a.faces),
        (b.vertices, b.faces),
        (c["Points", "Points"], c["Polys", "connectivity"].reshape(-1, 3)),
    ):
        assert np.array_equal(np.asarray(vertices, np.float32), wanted.vertices)
        assert np.array_equal(triangles, wanted.triangles)
    raw = a.metadata["_ply_raw"]
    assert np.array_equal(raw["vertex"]["data"]["quality"].ravel(), wanted.at_vertices)
    assert np.array_equal(raw["face"]["data"]["quality"].ravel(), wanted.at_triangles)
    assert np.array_equal(b.vertex_attributes["_DISTANCE_MM"].ravel(), wanted.at_vertices)
    assert np.array_equal(c["PointData", "distance_mm"], wanted.at_vertices)
    assert np.array_equal(c["CellData", "distance_mm"], wanted.at_triangles)
    assert np.array_equal(a.visual.vertex_colors[:, :3], wanted.colours)
    assert np.array_equal(c["PointData", "colour"], wanted.colours)
    assert (int(piece.get("NumberOfPoints")), int(piece.get("NumberOfPolys"))) == (len(a.vertices), len(a.faces))
    assert np.array_equal(c["Polys", "offsets"], np.arange(1, len(a.faces) + 1) * 3)


@given(MASKS, MASKS)
def test_vertices_lie_in_the_world_of_the_image(prediction, reference):
    surface, wanted = shown(prediction, reference)
    homogeneous = np.concatenate([surface.vertices / SPACING, np.ones((len(surface.vertices), 1))], axis=1)
    assert wanted.vertices == pytest.approx((homogeneous @ AFFINE.T)[:, :3], abs=1e-4)


@given(MASKS, MASKS)
def test_the_largest_distance_of_the_triangles_is_that_of_the_surface(prediction, reference):
    surface, wanted = shown(prediction, reference)
    assert wanted.at_triangles.max() == np.float32(surface.distances.max())
    assert len(wanted.triangles) == 2 * len(surface.faces)
    assert wanted.at_vertices.max() <= wanted.at_triangles.max() * (1 + 1e-6)


@pytest.mark.parametrize("mirrored", [1, -1])
def test_a_surface_faces_outwards_also_where_the_affine_mirrors(mirrored):
    affine = AFFINE @ np.diag([mirrored, 1, 1, 1])
    mask = ball(4.0, (5.0, 8.0, 14.0))
    found = read_ply(ply(shown(mask, mask, affine)[1]))
    assert found.volume == pytest.approx(mask.sum() * abs(np.linalg.det(affine[:3, :3])), rel=0.05)


def test_slicer_is_told_that_the_world_is_ras(example):
    assert b"\ncomment SPACE=RAS\n" in ply(example)
    field = ElementTree.fromstring(vtp(example)).find("PolyData/FieldData/Array")
    assert (field.get("Name"), field.get("type")) == ("SPACE", "String")
    assert bytes(int(code) for code in field.text.split()) == b"RAS\0"


def test_gltf_stands_upright_in_metres_and_looks_at_the_viewer(example):
    scene, _ = read_glb(glb(example))
    matrix, _ = scene.graph["case_1 tumour"]
    assert matrix == pytest.approx(TO_GLTF)
    up, front, left = matrix[:3, :3] @ [0, 0, 1000], matrix[:3, :3] @ [0, 1000, 0], matrix[:3, :3] @ [-1000, 0, 0]
    assert up == pytest.approx((0, 1, 0))
    assert front == pytest.approx((0, 0, 1))
    assert left == pytest.approx((1, 0, 0))
    assert np.linalg.det(matrix[:3, :3]) > 0


def test_gltf_colours_are_linear_and_normals_point_outwards(example):
    _, found = read_glb(glb(example))
    linear = found.visual.vertex_attributes["color"][:, :3] / 65535
    srgb = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    assert srgb * 255 == pytest.approx(example.colours, abs=0.51)
    outwards = example.vertices - example.vertices.mean(0)
    normals = found.vertex_normals
    assert np.linalg.norm(normals, axis=1) == pytest.approx(np.ones(len(normals)), abs=1e-5)
    assert ((normals * outwards).sum(1) > 0).mean() > 0.99


def test_colours_go_from_no_distance_to_the_last_colour():
    mask = ball(4.0, (5.0, 8.0, 14.0))
    assert np.unique(shown(mask, mask)[1].colours, axis=0).tolist() == [RAMP[0].tolist()]
    far = np.zeros_like(mask)
    far[0, 0, 0] = True
    assert shown(mask, far)[1].colours.tolist()[-1] == RAMP[-1].tolist()


@pytest.mark.parametrize("ending", FORMATS)
def test_a_file_is_written_whole_under_its_name(example, tmp_path, ending):
    write(tmp_path / f"surface{ending}", example)
    assert [path.name for path in tmp_path.iterdir()] == [f"surface{ending}"]
    assert (tmp_path / f"surface{ending}").read_bytes() == FORMATS[ending](example)


def test_an_unknown_ending_is_refused(example, tmp_path):
    with pytest.raises(OutputError, match=r"ends in \.vtp, \.ply, \.glb"):
        write(tmp_path / "surface.stl", example)


@given(st.text(min_size=1, max_size=10))
def test_odd_names_do_not_break_a_header(name):
    mask = np.ones((2, 2, 2), bool)
    surface = surface_error(mask, mask, SPACING)
    odd = mesh(surface, SPACING, AFFINE, name=name, top=1.0)
    assert len(read_ply(ply(odd)).vertices) == len(surface.vertices)
    assert len(read_glb(glb(odd))[1].vertices) == len(surface.vertices)
