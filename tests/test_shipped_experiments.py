"""The experiment files that come with Edgewise: they claim what the papers print, and every one of them trains."""

import json
import math
import tomllib
from dataclasses import replace
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
from edgewise.experiment import digest
from edgewise.experiment_file import load
from edgewise.methods.lrnet import LRNet
from edgewise.plan import Machine
from edgewise.run.folder import RunFolder
from edgewise.run.shipped import located, shipped
from edgewise.run.trainer import Trainer

ALL = {each.name: each.path for each in shipped()}
ROOT = next(path for path in ALL["starter/acdc"].parents if path.name == "experiments")
BASES = sorted(path.parent.relative_to(ROOT).as_posix() for path in ROOT.rglob("base.yaml"))

# As printed in Li et al. 2020 (arXiv:2501.09116), Tables 1 and 2.
TABLE_1 = """
                  O-DM    I-DM    NI-DM   NI-DMs  SNI-DM
l1                0. 6993 0.7310  0.7420  0.7381  0.7342
dice_l1           0.6842  0.7003  0.7172  0.6914  0.6281
dice_alpha_l1     0.7101  0.7169  0.7375  0.7228  0.6510
mapdice_l1        0.6874  0.7135  0.7289  0.7283  0.6384
mapdice_alpha_l1  0.6904  0.7303  0.7463  0.7445  0.6961
""".replace("0. 6993", "0.6993")
TABLE_2 = """
                  DC     DG     VOE    RVD     ASSD   MSD    RMSD
dice              0.647  0.888  0.292  0.065   0.809  6.201  1.292
mapdice           0.661  0.870  0.298  0.116   0.944  7.005  1.482
ulrnet_l1         0.628  0.715  0.395  -0.049  1.328  8.683  1.983
lrnet_l1          0.748  0.931  0.262  -0.016  0.674  5.548  1.100
dice_lrnet_l1     0.721  0.913  0.273  0.118   0.754  6.134  1.218
mapdice_lrnet_l1  0.751  0.935  0.252  0.070   0.654  5.708  1.079
wce               0.622  0.883  0.379  -0.253  1.134  6.425  1.597
gds               0.658  0.910  0.286  -0.024  0.886  6.192  1.350
tversky           0.738  0.930  0.261  0.059   0.667  5.589  1.094
focal_tversky     0.738  0.923  0.273  0.050   0.734  5.920  1.184
explog            0.737  0.921  0.255  0.126   0.708  6.152  1.160
multi_branch      0.723  0.917  0.288  0.016   0.748  5.921  1.199
cascaded          0.722  0.906  0.285  0.034   0.796  6.026  1.251
"""
# As printed in Caliva et al. 2019 (arXiv:1908.03679), Section 3, in percent.
PENALTY = """
                         B-DSC  ±     G-DSC  ±
penalised_cross_entropy  28.83  4.45  96.42  0.80
dice                     26.73  5.40  96.34  1.21
confidence_penalty       25.81  3.02  95.96  1.30
focal                    26.70  4.27  95.00  1.00
"""
COLUMNS_2 = {
    "DC": "dice", "DG": "dice_global", "VOE": "voe", "RVD": "rvd", "ASSD": "assd", "MSD": "msd", "RMSD": "rmsd"
}  # fmt: skip


def table(text):
    """Row -> column -> number."""
    head, *rows = [line.split() for line in text.strip().splitlines()]
    return {row[0]: dict(zip(head, map(float, row[1:]), strict=True)) for row in rows}


def names(folder):
    return {name.removeprefix(folder) for name in ALL if name.startswith(folder)}


def experiment(name):
    return load(ALL[name])


def bare(name):
    """The digest of all that changes a run."""
    return digest(replace(experiment(name), name="x", claim=None))


class TestClaims:
    def test_table_1_of_lrnet_is_claimed_cell_by_cell(self):
        cells = {
            f"{row}_{column.lower().replace('-', '_')}": value
            for row, values in table(TABLE_1).items()
            for column, value in values.items()
        }
        assert len(cells) == 25
        assert names("lrnet/table1/") == set(cells)
        for name, value in cells.items():
            claim = experiment(f"lrnet/table1/{name}").claim
            assert claim.values == {"dice": value}, name
            assert (claim.of, claim.source) == ("tumour", "Li et al. 2020, Table 1")

    def test_table_2_of_lrnet_is_claimed_cell_by_cell(self):
        rows = table(TABLE_2)
        assert len(rows) == 13
        assert names("lrnet/table2/") == set(rows)
        for name, values in rows.items():
            claim = experiment(f"lrnet/table2/{name}").claim
            assert claim.values == {COLUMNS_2[column]: value for column, value in values.items()}, name
            assert (claim.of, claim.source) == ("tumour", "Li et al. 2020, Table 2")

    def test_the_numbers_of_the_penalty_paper_are_claimed(self):
        rows = {row: list(values.values()) for row, values in _four_columns(PENALTY).items()}
        assert names("penalty/") == {*rows, "weighted_cross_entropy"}
        for name, (boundary, boundary_spread, whole, whole_spread) in rows.items():
            claim = experiment(f"penalty/{name}").claim
            assert claim.values == {"dice": _share(whole), "bdice": _share(boundary)}, name
            assert claim.deviations == {"dice": _share(whole_spread), "bdice": _share(boundary_spread)}, name
        assert experiment("penalty/weighted_cross_entropy").claim is None

    def test_the_number_of_rdd_is_claimed(self):
        assert names("rdd/") == {"dsc"}
        assert experiment("rdd/dsc").claim.values == {"dice": 0.8642}


def _four_columns(text):
    return table(text.replace("±", "spread", 1).replace("±", "spread2", 1))


def _share(percent):
    return round(percent / 100, 4)


class TestFiles:
    @pytest.mark.parametrize("name", ALL)
    def test_the_name_of_an_experiment_is_that_of_its_file(self, name):
        assert experiment(name).name == ALL[name].stem

    def test_all_differ_in_more_than_name_and_claim_but_the_cells_that_both_tables_hold(self):
        shared = {
            "lrnet/table2/lrnet_l1": "lrnet/table1/l1_ni_dm",
            "lrnet/table2/dice_lrnet_l1": "lrnet/table1/dice_l1_ni_dm",
            "lrnet/table2/mapdice_lrnet_l1": "lrnet/table1/mapdice_l1_ni_dm",
        }
        for second, first in shared.items():
            assert bare(second) == bare(first)
        others = set(ALL) - set(shared)
        assert len({bare(name) for name in others}) == len(others)
        assert len({digest(experiment(name)) for name in ALL}) == len(ALL)

    def test_a_row_holds_only_what_differs_from_its_base(self):
        for name in set(ALL) - names_of_starters():
            keys = {line.split(":")[0] for line in ALL[name].read_text().splitlines() if line[:1].isalpha()}
            assert keys <= {"base", "name", "loss", "method", "claim"}, name

    def test_the_cells_of_table_1_hold_what_row_and_column_say(self):
        maps = {
            "o_dm": ("distance", "relu"),
            "i_dm": ("inverse", "relu"),
            "ni_dm": ("normalized_inverse", "relu"),
            "ni_dms": ("normalized_inverse", "sigmoid"),
            "sni_dm": ("signed_normalized_inverse", "tanh"),
        }
        for row in table(TABLE_1):
            for column, (map_, activation) in maps.items():
                each = experiment(f"lrnet/table1/{row}_{column}")
                method = each.method
                assert isinstance(method, LRNet)
                assert (method.map.kind, method.last, method.weights) == (map_, activation, "frozen")
                assert (method.segmentation == "none") == (row == "l1")
                assert each.loss.kind == ("map_dice" if row.startswith("mapdice") else "dice")
                heavy = 1000 if activation == "sigmoid" else 10
                assert method.weight == (heavy if "alpha" in row else 1)

    @pytest.mark.parametrize("gpu", [True, False])
    @pytest.mark.parametrize("name", BASES)
    def test_the_plan_of_each_paper_fits_its_data_on_every_machine(self, name, gpu):
        base = load(ROOT / name / "base.yaml")
        shape, spacing, channel = {
            "lrnet": ((512, 512, 430), (0.76, 0.76, 1.0), "CT"),
            "penalty": ((160, 384, 384), (0.7, 0.365, 0.365), "MR"),
            "rdd": ((320, 320, 24), (0.6, 0.6, 3.6), "MR"),
            "replicas": ((36, 50, 35), (1.0, 1.0, 1.0), "MR"),
        }[name.split("/")[0]]
        facts = ChannelFacts(mean=60.0, std=20.0, p005=-10.0, p995=120.0, minimum=-100.0, maximum=300.0)
        case = CaseFacts(id="a", shape=shape, spacing=spacing, voxels=(10, 5), digest="a")
        fingerprint = Fingerprint(cases=(case,), channels=(facts,), digest="x")
        machine = Machine(gpu=gpu, cores=8, memory_gb=11.0 if gpu else 16.0)
        plan = planning.make(fingerprint, (channel,), base.plan, machine, ("background", "a", "b"))
        assert len(plan.widths) == len(plan.strides)
        assert plan.dimensions == 3
        assert all(p % math.prod(s) == 0 for p, s in zip(plan.patch, zip(*plan.strides, strict=True), strict=True))
        if base.plan.widths != "auto":
            assert plan.widths == base.plan.widths


def names_of_starters():
    return {name for name in ALL if name.startswith("starter/")}


class TestTheList:
    def test_it_names_every_file_with_its_claim(self, edgewise):
        outcome = edgewise("list", "experiments")
        lines = {line.split()[0]: line for line in outcome.out.splitlines()}
        assert set(lines) == set(ALL)
        assert lines["lrnet/table1/mapdice_alpha_l1_ni_dm"].endswith("dice 0.7463 of tumour (Li et al. 2020, Table 1)")
        assert "dice 0.9642 ± 0.008, bdice 0.2883 ± 0.0445 (" in lines["penalty/penalised_cross_entropy"]
        assert lines["starter/acdc"] == "starter/acdc"

    def test_as_json_it_holds_name_path_summary_and_claim(self, edgewise):
        rows = json.loads(edgewise("list", "experiments", "--json").out)
        assert {row["name"] for row in rows} == set(ALL)
        for row in rows:
            assert Path(row["path"]).is_file()
            assert row["summary"]
            assert set(row) == {"name", "path", "summary", "claim"}
            claim = load(Path(row["path"])).claim
            assert row["claim"] is None if claim is None else row["claim"]["values"] == dict(claim.values)

    def test_a_name_is_as_good_as_its_path_and_a_file_goes_first(self, tmp_path, monkeypatch):
        name = "lrnet/table2/dice"
        assert located(Path(name)) == located(Path(f"{name}.yaml")) == located(ALL[name]) == ALL[name]
        monkeypatch.chdir(tmp_path)
        own = tmp_path / name
        own.parent.mkdir(parents=True)
        own.write_text("name: mine")
        assert load(located(Path(name))).name == "mine"

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
    dims = 2 if asked != "auto" and len(asked) == 2 else 3
    own = [*SIZES, f"plan.dimensions={dims}", f"plan.patch={[16] * dims}"]
    if original.method.kind == "lrnet":
        own += [f"method.pretraining.{key}" for key in ("steps=2", "batch=1", "validate_every=2")]
    return own


def small(path):
    original = load(path)
    return original, load(path, changes(original))


def kind_of(name):
    return "CT" if name.startswith("lrnet") else "MR"


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


@pytest.mark.parametrize("name", ALL)
def test_every_experiment_takes_two_steps_on_phantoms(name, phantoms, tmp_path):
    original, tiny = small(ALL[name])
    for part in ("loss", "network", "augmentation", "inference", "postprocessing"):
        assert getattr(tiny, part) == getattr(original, part)
    train(tiny, kind_of(name), phantoms, tmp_path)
    records = [json.loads(line) for line in (tmp_path / "journal.jsonl").read_text().splitlines()]
    losses = [record["loss"] for record in records if record["event"] == "train"]
    assert len(losses) == 2
    assert all(math.isfinite(loss) for loss in losses)
    assert (tmp_path / "checkpoints/lrnet.pt").exists() == (original.method.kind == "lrnet")
    weights = torch.load(tmp_path / "checkpoints/best.pt", weights_only=True)["network"]
    assert all(torch.isfinite(value).all() for value in weights.values())


ROAD = ("lrnet/table1/mapdice_alpha_l1_ni_dm", "lrnet/table2/cascaded", "penalty/penalised_cross_entropy", "rdd/dsc")


@pytest.mark.parametrize("name", ROAD)
def test_one_of_each_paper_goes_all_the_way_by_its_name(name, phantoms, tmp_path, edgewise):
    sizes = [f"--set={change}" for change in changes(load(ALL[name]))]
    data = phantoms.root / kind_of(name)
    outcome = edgewise("fit", name, "--data", data, "--out", tmp_path / "run", "--cache", phantoms.cache, *sizes)
    assert outcome.code == 0, outcome.err
    assert load(tmp_path / "run/experiment.yaml").claim == experiment(name).claim
    assert (tmp_path / "run/summary.json").exists()
    assert "bias-field" not in outcome.err
