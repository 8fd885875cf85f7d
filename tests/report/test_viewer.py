import base64
import gzip
import json
import os
import re
from urllib.parse import quote, unquote

import nibabel
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgewise.errors import EdgewiseError, OutputError
from edgewise.report import viewer
from edgewise.report.records import PanelCase
from edgewise.report.viewer import Library, Scene

EVIL = '</script><script>alert("1")</script><img src=x onerror=alert(2)>'
CODE = Library(source='const text = "</script><!--";\nexport{NVImage,Niivue};', licence="free -- of charge -->")


def case_of(image, reference, prediction, spacing=(1.0, 2.0, 3.0)):
    return PanelCase(
        image=image.astype(np.float32),
        reference=reference.astype(np.uint8),
        prediction=prediction.astype(np.uint8),
        spacing=spacing,
    )


def scene(name="case_1", run="first", shape=(12, 10, 8), spacing=(1.0, 2.0, 3.0)):
    rng = np.random.default_rng(0)
    reference = np.zeros(shape)
    reference[4:8, 3:7, 2:6] = 2
    image = rng.normal(100.0, 30.0, shape)
    runs = (
        (run, case_of(image, reference, np.roll(reference, 1, 0), spacing)),
        ("second", case_of(image, reference, reference)),
    )
    return Scene(case=name, classes=("background", "a", "b"), runs=runs)


def data_of(page):
    return json.loads(re.search(r'<script type="application/json" id="volumes">(.*?)</script>', page, re.DOTALL)[1])


def read(text):
    return nibabel.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(text)))


@pytest.fixture
def package(tmp_path, monkeypatch):
    """Installs a made-up `ipyniivue` with this widget, for as long as the test runs."""

    def install(widget, name="ipyniivue"):
        (tmp_path / name / "static").mkdir(parents=True)
        (tmp_path / name / "static" / "widget.js").write_text(widget)
        about = tmp_path / f"{name}-9.9.dist-info"
        (about / "licenses").mkdir(parents=True)
        (about / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 9.9\n")
        (about / "licenses" / "LICENSE").write_text("Do as you like.")
        (about / "RECORD").write_text(f"{name}-9.9.dist-info/licenses/LICENSE,,\n{name}/static/widget.js,,\n")
        monkeypatch.syspath_prepend(str(tmp_path))

    return install


def test_the_source_is_found_in_the_widget_with_its_licence(package):
    source = 'const a = "é</script>";' + "x" * 500_000 + ";export{Niivue,NVImage as Image,NVImage};\n"
    package(f'import x;var o="{quote(source, safe="!~*()")}";var p="{"y" * 600_000}";export{{z as default}};')
    found = viewer.library()
    assert found.source == source
    assert found.licence == "Do as you like."
    assert viewer.installed()


@pytest.mark.parametrize("widget", ["", 'var o="short";', f'var o="{"x" * 600_000}";'])
def test_a_package_that_is_not_as_expected_is_named(package, widget):
    package(widget)
    with pytest.raises(EdgewiseError, match=r"ipyniivue 9\.9 does not carry NiiVue"):
        viewer.library()


def test_without_the_extra_there_is_no_viewer(monkeypatch, tmp_path):
    monkeypatch.setattr("sys.path", [str(tmp_path)])
    assert not viewer.installed()
    with pytest.raises(EdgewiseError, match=r"pip install 'edgewise\[viewer\]'"):
        viewer.library()


@given(st.text(max_size=90), st.text(max_size=90))
def test_names_of_files_are_safe_and_different_for_different_cases(first, second):
    names = [viewer.file_name(case) for case in (first, second)]
    assert all(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,70}\.html", name) for name in names)
    assert (names[0] == names[1]) == (first == second)


def test_the_page_holds_the_image_and_the_masks():
    shown = scene()
    volumes = data_of(viewer.page(shown, CODE))
    first = shown.runs[0][1]
    image = read(volumes["image"])
    low, high = np.percentile(first.image, (0.05, 99.95))
    expected = np.clip(first.image, low, high)
    assert np.abs(image.get_fdata() - expected).max() <= (high - low) / viewer.LEVELS
    assert image.header.get_zooms() == (1.0, 2.0, 3.0)
    assert nibabel.aff2axcodes(image.affine) == ("R", "A", "S")
    assert float(image.header["cal_min"]) < 70
    assert float(image.header["cal_max"]) > 130
    assert np.array_equal(read(volumes["reference"]).get_fdata(), first.reference)
    for (_, found), mask in zip(shown.runs, volumes["predictions"], strict=True):
        assert np.array_equal(read(mask).get_fdata(), found.prediction)
    for colours in volumes["colours"].values():
        assert colours["I"] == [0, 1, 2]
        assert colours["A"] == [0, 255, 255]


def test_what_a_user_wrote_runs_nothing():
    page = viewer.page(scene(name=EVIL, run=EVIL), CODE)
    assert EVIL not in page
    assert page.count("<script") == page.count("</script>") == 2
    assert "<img" not in page
    assert page.count("-->") == 1
    assert page.index("-->") > page.index("free - - of charge")


def test_the_page_asks_for_nothing():
    page = viewer.page(scene(), CODE)
    assert not re.search(r"(src|href)=(?!\"data:,\")", page)
    assert "@import" not in page
    assert "url(" not in page


def test_a_large_image_is_cut_to_its_structures_and_thinned_if_it_must_be(monkeypatch):
    shown = scene(shape=(60, 50, 40), spacing=(4.0, 4.0, 4.0))
    monkeypatch.setattr(viewer, "MOST_VOXELS", 20_000)
    page = viewer.page(shown, CODE)
    image, reference = (read(data_of(page)[name]) for name in ("image", "reference"))
    assert image.shape == reference.shape == (14, 12, 11)
    assert np.count_nonzero(reference.get_fdata()) == np.count_nonzero(shown.runs[0][1].reference)
    assert "Only what is within 20 mm of the structures is here." in page
    monkeypatch.setattr(viewer, "MOST_VOXELS", 400)
    page = viewer.page(shown, CODE)
    image = read(data_of(page)["image"])
    assert np.prod(image.shape) <= 400
    assert image.header.get_zooms() == (8.0, 8.0, 8.0) or image.header.get_zooms()[0] > 4
    assert "one voxel in" in page


def test_a_large_image_without_structures_is_thinned_as_a_whole(monkeypatch):
    monkeypatch.setattr(viewer, "MOST_VOXELS", 500)
    bare = np.zeros((20, 20, 20))
    volumes = data_of(
        viewer.page(Scene(case="a", classes=("background",), runs=(("r", case_of(bare, bare, bare)),)), CODE)
    )
    assert read(volumes["image"]).shape == (7, 7, 7)


def test_a_page_is_written_beside_the_report_under_an_address_that_leads_to_it(package, tmp_path):
    package(f'var o="{"x" * 500_000 + quote(";export{Niivue,NVImage};", safe="")}";')
    folder = tmp_path / "my report#1_viewer"
    address = viewer.write(scene(name="a/b c"), folder)
    assert "#" not in address
    assert (tmp_path / unquote(address)).read_text().startswith("<!doctype html>")
    if os.geteuid():
        folder.chmod(0o500)
        with pytest.raises(OutputError):
            viewer.write(scene(), folder)
