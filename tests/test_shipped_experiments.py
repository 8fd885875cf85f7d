"""The experiments and studies that come with Edgewise: each is found by its name, fits its data, and trains."""

import json
import math
import tomllib
from dataclasses import fields, is_dataclass, replace
from functools import reduce
from pathlib import Path
from types import SimpleNamespace

import nibabel as nib
import numpy as np
import pytest
import torch

from edgewise import plan as planning
from edgewise.data import checks, layouts, splits
from edgewise.data.fingerprint import CaseFacts, ChannelFacts, Fingerprint
from edgewise.data.phantoms import write_dataset
from edgewise.data.prepare import PreparedSet, prepare
from edgewise.errors import ExperimentError
from edgewise.experiment import digest, dump
from edgewise.experiment_file import load
from edgewise.networks.lnet import LNet
from edgewise.networks.resnet import Encoder
from edgewise.networks.resnet_unet import ResNetUNet
from edgewise.plan import Machine
from edgewise.run.folder import RunFolder
from edgewise.run.shipped import located
from edgewise.run.trainer import Trainer
from shipped_files import ALL, ROOT, STUDIES, experiment, names, rows

BASES = sorted(path.parent.relative_to(ROOT).as_posix() for path in ROOT.rglob("base.yaml"))

SHARED = {
    "lrnet/table2/lrnet_l1": "lrnet/table1/l1_ni_dm",
    "lrnet/table2/dice_lrnet_l1": "lrnet/table1/dice_l1_ni_dm",
    "lrnet/table2/mapdice_lrnet_l1": "lrnet/table1/mapdice_l1_ni_dm",
    "lsnet/table2/s_net_loss": "lsnet/table1/u_net",
    "lsnet/table2/s_net_loss_l_net_rr": "lsnet/table1/lsnet_u_net",
    "lsnet/table3/u_net": "lsnet/table1/coarse_to_fine_u_net",
    "lsnet/table3/l_net": "lsnet/table2/s_net_loss_l_net",
    "lsnet/table4/decay_0_1": "lsnet/table1/lsnet_u_net",
}
"""Rows of tables that hold what a row of another table does."""


def bare(name):
    """The digest of all that changes a run."""
    return digest(replace(experiment(name), name="x", claim=None))


class TestFiles:
    @pytest.mark.parametrize("name", ALL)
    def test_the_name_of_an_experiment_is_that_of_its_file(self, name):
        assert experiment(name).name == ALL[name].stem

    def test_all_differ_in_more_than_name_and_claim_but_the_cells_that_several_tables_hold(self):
        for second, first in SHARED.items():
            assert bare(second) == bare(first)
        others = set(ALL) - set(SHARED)
        assert len({bare(name) for name in others}) == len(others)
        assert len({digest(experiment(name)) for name in ALL}) == len(ALL)

    def test_a_row_holds_only_what_differs_from_its_base(self):
        for name in set(ALL) - names_of_starters():
            keys = {line.split(":")[0] for line in ALL[name].read_text().splitlines() if line[:1].isalpha()}
            assert keys <= {"base", "name", "network", "loss", "method", "claim"}, name

    @pytest.mark.parametrize(
        ("row", "key"),
        [
            ("u_net", "network"),
            ("fcn", "network"),
            ("lsnet_u_net", "method.localisation.network"),
            ("lsnet_fcn", "method.localisation.network"),
            ("coarse_to_fine_fcn", "method.first.network"),
            ("../table3/l_net", "method.first.localisation.network"),
        ],
    )
    def test_a_file_with_weights_is_set_as_the_base_of_lsnet_says_and_nothing_else_changes(self, row, key):
        path = ROOT / "lsnet/table1" / f"{row}.yaml"
        own, changed = (dump(load(path, changes)) for changes in ((), (f"{key}.encoder.weights=resnet.pth",)))
        assert f"--set {key}.encoder.weights=" in (ROOT / "lsnet/base.yaml").read_text()
        *parents, last = [*key.split("."), "encoder", "weights"]
        place = reduce(lambda node, name: node[name], parents, own)
        assert place[last] == "random"
        place[last] = "resnet.pth"
        assert own == changed

    def test_the_losses_of_lsnet_change_nothing_but_the_loss(self):
        row = experiment("lsnet/table1/lsnet_u_net")
        for name in names("lsnet/losses/"):
            other = experiment(f"lsnet/losses/{name}")
            assert other.loss != row.loss
            assert replace(other, loss=row.loss, name=row.name, claim=row.claim) == row

    @pytest.mark.parametrize("gpu", [True, False])
    @pytest.mark.parametrize("name", BASES)
    def test_the_plan_of_each_paper_fits_its_data_on_every_machine(self, name, gpu):
        base = load(ROOT / name / "base.yaml")
        data = {
            "lrnet": ((512, 512, 430), (0.76, 0.76, 1.0), "CT"),
            "penalty": ((160, 384, 384), (0.7, 0.365, 0.365), "MR"),
            "rdd": ((320, 320, 24), (0.6, 0.6, 3.6), "MR"),
            "lsnet": ((512, 512, 240), (0.86, 0.86, 1.0), "CT"),
            "acdc": ((216, 256, 9), (1.56, 1.56, 10.0), "MR"),
            "replicas": ((36, 50, 35), (1.0, 1.0, 1.0), "MR"),
            "brats18": ((240, 240, 155), (1.0, 1.0, 1.0), "MR"),
            "kits19": ((512, 512, 107), (0.78125, 0.78125, 3.0), "CT"),
        }
        first, last = name.split("/")[0], name.split("/")[-1]
        flat = name.startswith("lsnet") or "acdc" in name or "regionwise" in name or name.endswith("gradients")
        shape, spacing, channel = data[
            "acdc" if last == "gradients" else last if last in {"acdc", "brats18", "kits19"} else first
        ]
        channels = (channel,) * (4 if name.endswith("brats18") else 1)
        facts = ChannelFacts(mean=60.0, std=20.0, p005=-10.0, p995=120.0, minimum=-100.0, maximum=300.0)
        case = CaseFacts(id="a", shape=shape, spacing=spacing, voxels=(10, 5), digest="a")
        fingerprint = Fingerprint(cases=(case,), channels=(facts,) * len(channels), digest="x")
        machine = Machine(gpu=gpu, cores=8, memory_gb=11.0 if gpu else 16.0)
        plan = planning.make(fingerprint, channels, base.plan, machine, ("background", "a", "b"))
        assert len(plan.widths) == len(plan.strides)
        assert plan.dimensions == (2 if flat else 3)
        assert all(p % math.prod(s) == 0 for p, s in zip(plan.patch, zip(*plan.strides, strict=True), strict=True))
        if base.plan.widths != "auto":
            assert plan.widths == base.plan.widths


def names_of_starters():
    return {name for name in ALL if name.startswith("starter/")}


class TestTheList:
    def test_it_names_every_file_with_its_claim(self, edgewise):
        outcome = edgewise("list", "experiments")
        lines = {line.split()[0]: line for line in outcome.out.splitlines()}
        assert set(lines) == {*ALL, *STUDIES}
        table = "Five losses on ACDC: Table 2 of the region-wise paper (Valverde and Tohka 2022)"
        assert lines["regionwise/table2"].endswith(f"  study of 5 rows: {table}")
        assert lines["lrnet/table1/mapdice_alpha_l1_ni_dm"].endswith("dice 0.7463 of tumour (Li et al. 2020, Table 1)")
        assert "dice 0.9642 ± 0.008, bdice 0.2883 ± 0.0445 (" in lines["penalty/penalised_cross_entropy"]
        assert lines["starter/acdc"] == "starter/acdc"

    def test_as_json_it_holds_name_sort_path_summary_claims_and_rows(self, edgewise):
        listed = json.loads(edgewise("list", "experiments", "--json").out)
        assert {each["name"]: each["sort"] for each in listed} == {
            **dict.fromkeys(ALL, "experiment"),
            **dict.fromkeys(STUDIES, "study"),
        }
        for each in listed:
            assert Path(each["path"]).is_file()
            assert each["summary"]
            assert set(each) == {"name", "sort", "path", "summary", "claims", "rows"}
            claims = experiment(each["name"]).claims if each["sort"] == "experiment" else ()
            assert [claim["values"] for claim in each["claims"]] == [claim.values for claim in claims]
            assert each["rows"] == (list(rows(each["name"])) if each["sort"] == "study" else [])

    def test_a_name_is_as_good_as_its_path_and_a_file_goes_first(self, tmp_path, monkeypatch):
        name = "lrnet/table2/dice"
        assert located(Path(name)) == located(Path(f"{name}.yaml")) == located(ALL[name]) == ALL[name]
        monkeypatch.chdir(tmp_path)
        own = tmp_path / name
        own.parent.mkdir(parents=True)
        own.write_text("name: mine")
        assert load(located(Path(name))).name == "mine"
        assert located(Path("regionwise/table2")) == STUDIES["regionwise/table2"]

    def test_a_wheel_holds_them_where_they_are_looked_for_first(self):
        # Building one needs the network: that was tried by hand, and this keeps what made it work.
        root = Path(__file__).parents[1]
        wheel = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
        assert wheel["only-include"] == ["src/edgewise", "experiments"]
        assert wheel["sources"] == {"src": "", "experiments": "edgewise/experiments"}

    @pytest.mark.parametrize(
        ("name", "hint"),
        [
            ("lrnet/tabel2/dice", "Did you mean lrnet/table2/dice?"),
            ("lrnet/base", ""),
            ("mine.yaml", "edgewise list experiments"),
        ],
    )
    def test_what_is_neither_is_refused_with_a_hint(self, name, hint, edgewise, tmp_path):
        with pytest.raises(ExperimentError, match="no experiment of that name comes with Edgewise"):
            located(Path(name))
        outcome = edgewise("fit", name, "--data", tmp_path, "--out", tmp_path / "run")
        assert outcome.code == 2
        assert hint in outcome.err
        assert not (tmp_path / "run").exists()


@pytest.fixture(scope="module")
def phantoms(tmp_path_factory):
    """Four small phantoms as CT, and the same as MR with positive intensities; looked at once, one cache for all."""
    root = tmp_path_factory.mktemp("shipped")
    for kind in ("CT", "MR"):
        write_dataset(root / kind, cases=4, seed=0, shape=(24, 24, 16), spacing=(1.0, 1.0, 1.5))
    for file in (root / "MR/imagesTr").iterdir():
        image = nib.load(file)
        nib.save(nib.Nifti1Image(np.asarray(image.dataobj) + np.int16(1025), image.affine), file)
    description = root / "MR/dataset.json"
    description.write_text(description.read_text().replace('"CT"', '"MR"'))
    datasets = {kind: layouts.detect(root / kind) for kind in ("CT", "MR")}
    seen = {
        kind: checks.inspect(dataset, workers=1, progress=lambda *_: None).fingerprint
        for kind, dataset in datasets.items()
    }
    return SimpleNamespace(root=root, cache=root / "cache", datasets=datasets, fingerprints=seen)


SIZES = [
    "split={kind: fixed, validation: [phantom_001]}",
    "plan.batch=1",
    "plan.stem=1",
    "plan.widths=[4, 4, 4]",
    "plan.precision=fp32",
    "plan.memory_format=contiguous",
    "plan.threads=1",
    "plan.workers=0",
    "training.steps=2",
    "training.validate_every=2",
    "training.report_every=1",
    "training.foreground=1.0",
]
"""Nothing but how large and how long: two steps of a small network on small patches, one case to validate on."""


def changes(original):
    asked = original.plan.patch
    dims = 2 if original.plan.dimensions == 2 or (asked != "auto" and len(asked) == 2) else 3
    own = [*SIZES, f"plan.dimensions={dims}", f"plan.patch={[16] * dims}"]
    if original.method.kind == "lrnet":
        own += [f"method.pretraining.{key}" for key in ("steps=2", "batch=1", "validate_every=2")]
    return own + narrow("network", original.network) + narrow("method", original.method)


def narrow(key, settings):
    """Changes that make every ResNet in a tree of settings, and what stands on it, as narrow as it gets."""
    own = {Encoder: ["depth=18", "width=0.125"], LNet: ["features=8", "kernel=5"], ResNetUNet: ["features=8"]}
    inner = [(f.name, getattr(settings, f.name)) for f in fields(settings)]
    below = [change for name, value in inner if is_dataclass(value) for change in narrow(f"{key}.{name}", value)]
    return [f"{key}.{change}" for change in own.get(type(settings), [])] + below


def small(path):
    original = load(path)
    return original, load(path, changes(original))


def kind_of(name):
    return "CT" if name.startswith(("lrnet", "lsnet")) else "MR"


def train(experiment, kind, phantoms, path):
    """What `edgewise fit` does before it evaluates, which would take as long again."""
    dataset, fingerprint = phantoms.datasets[kind], phantoms.fingerprints[kind]
    machine = Machine(gpu=False, cores=1, memory_gb=4.0)
    plan = planning.make(fingerprint, dataset.channels, experiment.plan, machine, dataset.classes)
    ids = [case.id for case in dataset.cases]
    split = splits.fixed(ids, experiment.split.validation, experiment.split.group)
    folder = RunFolder(path=path)
    folder.open_new()
    Trainer(experiment, plan, dataset, split, prepared(plan, split, kind, phantoms), folder).train(resume=False)


def prepared(plan, split, kind, phantoms):
    folders = {}
    for ids, preparation in ((split.train, plan.training_preparation()), (split.validation, plan.preparation())):
        done = prepare(
            [case for case in phantoms.datasets[kind].cases if case.id in ids],
            preparation,
            phantoms.cache / "prepared",
            workers=1,
            digests={case.id: case.digest for case in phantoms.fingerprints[kind].cases},
            progress=lambda *_: None,
        )
        folders |= done.folders
    return PreparedSet(folders=folders)


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in ALL if name not in SHARED])
def test_every_experiment_takes_two_steps_on_phantoms(name, phantoms, tmp_path):
    original, tiny = small(ALL[name])
    for part in ("loss", "augmentation", "inference", "postprocessing"):
        assert getattr(tiny, part) == getattr(original, part)
    assert tiny.network.kind == original.network.kind
    assert (tiny.network == original.network) == (not original.network.kind.startswith("resnet"))
    train(tiny, kind_of(name), phantoms, tmp_path)
    records = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if record["event"] == "train"]
    assert len(losses) == 2
    assert all(math.isfinite(loss) for loss in losses)
    assert (tmp_path / "checkpoints/lrnet.pt").exists() == (original.method.kind == "lrnet")
    weights = torch.load(tmp_path / "checkpoints/best.pt", weights_only=True)["network"]
    assert all(torch.isfinite(value).all() for value in weights.values())


ROAD = (
    "lrnet/table1/mapdice_alpha_l1_ni_dm", "lrnet/table2/cascaded", "penalty/penalised_cross_entropy", "rdd/dsc",
    "lsnet/table1/coarse_to_fine_fcn", "lsnet/table3/l_net", "lsnet/table4/decay_0_1",
)  # fmt: skip


@pytest.mark.parametrize("name", ROAD)
def test_one_of_each_paper_goes_all_the_way_by_its_name(name, phantoms, tmp_path, edgewise):
    sizes = [f"--set={change}" for change in changes(load(ALL[name]))]
    data = phantoms.root / kind_of(name)
    outcome = edgewise("fit", name, "--data", data, "--out", tmp_path / "run", "--cache", phantoms.cache, *sizes)
    assert outcome.code == 0, outcome.err
    claim = load(tmp_path / "run/experiment.yaml").claim
    assert claim == experiment(name).claim
    summary = json.loads((tmp_path / "run/summary.json").read_text())
    measured = {column for entry in summary["classes"].values() for column in entry}
    assert set(claim.values) <= measured | set(summary.get("localisation", {}))
    assert "bias-field" not in outcome.err
