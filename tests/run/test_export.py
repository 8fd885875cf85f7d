"""The trained network as a file: what it computes, what it holds, and what it does not."""

import json
import re
import shutil
from pathlib import Path

import nibabel as nib
import numpy as np
import onnx
import onnxruntime
import pytest
import torch
import yaml

from edgewise.catalog import discover
from edgewise.data.case import CaseFiles
from edgewise.data.images import read_case
from edgewise.data.transform import restore, transform
from edgewise.errors import OutputError
from edgewise.inference.sliding import Inference, Window, probabilities
from edgewise.networks.base import Network, Topology
from edgewise.run import export as exporting
from edgewise.run.folder import RunFolder
from edgewise.run.trained import load
from edgewise.training.arithmetic import Arithmetic
from networks.contract import chosen
from tiny import PLAN, fit

GUIDE = Path(__file__).parents[2] / "docs" / "how-to" / "export_a_model.md"
ENDINGS = (".onnx", ".pt2")
NETWORKS = sorted(discover(Network))


class Elsewhere(torch.nn.Module):
    """What was read from a file, as the sliding window wants it."""

    def __init__(self, run):
        super().__init__()
        self.run = run

    def forward(self, image):
        return self.run(image)


def small(kind, dims):
    torch.manual_seed(0)
    topology = Topology(
        channels=2,
        classes=3,
        strides=((1,) * dims, (2,) * dims, (2,) * dims),
        kernels=((3,) * dims,) * 3,
        widths=(8, 12, 16),
    )
    return chosen(kind).build(topology).eval()


def round_trip(network, path, patch):
    form = exporting.FORMATS[path.suffix]
    form.write(exporting.traced(network, patch), "{}", path)
    return form.read(path)


def weights_in(path):
    """Name -> shape of everything that was learnt and lies in the file."""
    if path.suffix == ".pt2":
        return {name: tuple(value.shape) for name, value in torch.export.load(path).state_dict.items()}
    return {each.name: tuple(each.dims) for each in onnx.load(path).graph.initializer}


def test_the_settings_of_a_run_are_those_it_was_trained_with(road, edgewise, tmp_path):
    call = edgewise("export", road.run, "--out", tmp_path / "new" / "model.pt2")
    assert (call.code, call.out.strip()) == (0, str(tmp_path / "new" / "model.pt2"))
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["model.json", "model.pt2"]
    facts = json.loads((tmp_path / "new" / "model.json").read_text(encoding="utf-8"))
    plan = yaml.safe_load((road.run / "plan.yaml").read_text(encoding="utf-8"))
    assert facts["classes"] == ["background", "liver", "tumour"]
    assert facts["channels"] == ["CT"]
    assert facts["patch"] == plan["patch"]["value"]
    assert facts["spacing_mm"] == plan["spacing"]["value"]
    assert facts["axes"] == ["xyz"[axis] for axis in plan["axes"]["value"]]
    assert facts["preparation"]["intensity"] == plan["intensity"]["value"]
    assert facts["input"]["shape"] == ["batch", 1, *facts["patch"]]
    assert facts["output"]["shape"] == ["batch", 3, *facts["patch"]]
    inside = {exporting.FACTS: ""}
    torch.export.load(tmp_path / "new" / "model.pt2", extra_files=inside)
    assert json.loads(inside[exporting.FACTS]) == facts


@pytest.mark.parametrize("ending", ENDINGS)
def test_the_file_predicts_what_the_run_predicts(road, edgewise, tmp_path, ending):
    path = tmp_path / f"model{ending}"
    assert edgewise("export", road.run, "--out", path).code == 0
    trained = load(RunFolder(path=road.run))
    case = read_case(CaseFiles(id="new", images=(road.data / "imagesTr" / "phantom_001_0000.nii.gz",)))
    prepared = transform(case, trained.plan.preparation())
    window = Window(patch=trained.plan.patch, classes=3, arithmetic=Arithmetic(threads=1), device=torch.device("cpu"))
    run = Elsewhere(exporting.FORMATS[ending].read(path))
    p = probabilities(run, prepared.image, window, Inference(windows=3))
    mask = nib.load(road.run / "predictions" / "phantom_001.nii.gz")
    expected = np.asanyarray(nib.as_closest_canonical(mask).dataobj)
    assert (restore(p, prepared.undo) != expected).mean() < 1e-3  # ties of float16 probabilities


def test_an_onnx_file_is_valid_and_tells_how_to_use_it(road, edgewise, tmp_path):
    path = tmp_path / "model.onnx"
    call = edgewise("export", road.run, "--out", path)
    assert (call.code, len(call.complaints)) == (0, 1)
    onnx.checker.check_model(path, full_check=True)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    facts = json.loads(session.get_modelmeta().custom_metadata_map[exporting.FACTS])
    assert facts == json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    (given,), (found,) = session.get_inputs(), session.get_outputs()
    assert (given.name, given.shape[1:]) == (facts["input"]["name"], facts["input"]["shape"][1:])
    assert (found.name, found.shape[1:]) == (facts["output"]["name"], facts["output"]["shape"][1:])
    assert isinstance(given.shape[0], str), "the size of a batch is free"


@pytest.mark.parametrize("ending", ENDINGS)
def test_a_file_says_nothing_about_the_machine_it_was_made_on(road, edgewise, tmp_path, ending):
    path = tmp_path / f"model{ending}"
    edgewise("export", road.run, "--out", path)
    content = path.read_bytes()
    assert b"site-packages" not in content
    assert str(tmp_path).encode() not in content
    assert exporting.__file__.rsplit("/run/", 1)[0].encode() not in content


@pytest.mark.parametrize("dims", [pytest.param(2, marks=pytest.mark.slow), 3])
@pytest.mark.parametrize("kind", NETWORKS)
def test_every_network_gives_its_logits_from_a_pt2_file(kind, dims, tmp_path):
    patch = (2, *(16, 12, 8)[:dims])
    network = small(kind, dims)
    assert exporting.difference(network, round_trip(network, tmp_path / "n.pt2", patch), patch) <= exporting.TOLERANCE


@pytest.mark.slow
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("kind", NETWORKS)
def test_every_network_gives_its_logits_from_an_onnx_file(kind, dims, tmp_path):
    patch = (2, *(16, 12, 8)[:dims])
    network = small(kind, dims)
    assert exporting.difference(network, round_trip(network, tmp_path / "n.onnx", patch), patch) <= exporting.TOLERANCE


def test_a_file_that_computes_something_else_is_found_out():
    patch = (2, 16, 12)
    network, other = small("unet", 2), small("unet", 2)
    assert exporting.difference(network, other, patch) == 0
    with torch.no_grad():
        list(other.parameters())[-1].add_(0.01)  # the bias of the head: what comes before is normalised away
    assert exporting.difference(network, other, patch) > exporting.TOLERANCE
    assert not exporting.difference(network, lambda image: other(image) * torch.nan, patch) <= exporting.TOLERANCE


@pytest.fixture(scope="module")
def methods(road, tmp_path_factory):
    """Runs of one network on one dataset, trained plainly, with LR-Net, and with a second decoder."""
    root = tmp_path_factory.mktemp("methods")
    chosen = {
        "supervised": {"kind": "supervised"},
        "lrnet": {"kind": "lrnet", "pretraining": {"steps": 2, "batch": 1}},
        "multi_branch": {"kind": "multi_branch"},
    }
    runs = {}
    for name, method in chosen.items():
        experiment = {"name": name, "plan": PLAN, "method": method, "training": {"steps": 2, "validate_every": 2}}
        experiment["split"] = {"kind": "folds", "folds": 3}
        (root / f"{name}.yaml").write_text(yaml.safe_dump(experiment), encoding="utf-8")
        runs[name] = fit(root / f"{name}.yaml", road.data, root / name, road.cache)
    return runs


@pytest.mark.parametrize("ending", [ENDINGS[0], *(pytest.param(each, marks=pytest.mark.slow) for each in ENDINGS[1:])])
def test_what_only_training_needed_is_not_in_the_file(methods, tmp_path, ending):
    files = {name: exporting.export(run, tmp_path / f"{name}{ending}") for name, run in methods.items()}
    plain = files.pop("supervised")
    expected = weights_in(plain)
    assert len(expected) > 10
    for path in files.values():
        assert weights_in(path) == expected
        assert path.stat().st_size == pytest.approx(plain.stat().st_size, rel=0.01)


def test_the_checkpoint_that_predicts_holds_the_plain_network_alone(methods):
    states = {
        name: torch.load(run / "checkpoints" / "best.pt", weights_only=True)["network"] for name, run in methods.items()
    }
    shapes = {name: {key: value.shape for key, value in state.items()} for name, state in states.items()}
    assert shapes["lrnet"] == shapes["multi_branch"] == shapes["supervised"]
    assert (methods["lrnet"] / "checkpoints" / "lrnet.pt").exists()


def test_the_code_of_the_guide_runs_on_the_exported_files(road, tmp_path, monkeypatch):
    for ending in ENDINGS:
        exporting.export(road.run, tmp_path / f"model{ending}")
    monkeypatch.chdir(tmp_path)
    names = {}
    for code in re.findall(r"^```python\n(.*?)^```$", GUIDE.read_text(encoding="utf-8"), re.MULTILINE | re.DOTALL):
        exec(code, names)
    assert names["logits"].shape == (1, *names["facts"]["output"]["shape"][1:])


def test_a_file_of_another_kind_is_refused_with_those_that_are_known(road, edgewise, tmp_path):
    for name in ("model.pth", "model", "model.onnx.zip"):
        call = edgewise("export", road.run, "--out", tmp_path / name)
        assert call.code == 2
        assert "Choose a file that ends in .onnx or .pt2." in call.err
    assert not list(tmp_path.iterdir())


def test_a_run_without_checkpoint_or_none_at_all_is_refused(road, edgewise, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(road.run, run)
    (run / "checkpoints" / "best.pt").unlink()
    call = edgewise("export", run, "--out", tmp_path / "model.pt2")
    assert call.code == 2
    assert "no checkpoint" in call.err
    call = edgewise("export", tmp_path / "nowhere", "--out", tmp_path / "model.pt2")
    assert call.code == 2
    assert "is no run" in call.err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run"]


def test_a_missing_package_is_named_with_the_extra_that_brings_it(road, tmp_path, monkeypatch):
    monkeypatch.setattr(exporting, "find_spec", lambda package: None if package == "onnxscript" else True)
    with pytest.raises(OutputError, match=r"onnxscript is not installed.*pip install 'edgewise\[onnx\]'"):
        exporting.export(road.run, tmp_path / "model.onnx")
    assert not list(tmp_path.iterdir())
