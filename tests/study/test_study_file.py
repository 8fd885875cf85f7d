"""A study file is merged as experiment files are, and whatever is wrong with it is said, with the way to mend it."""

import random
import re
from dataclasses import replace

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgewise import experiment_file
from edgewise.engines.local import Local
from edgewise.errors import EdgewiseError, EngineError, ExperimentError, StudyError
from edgewise.experiment import Folds, identity
from edgewise.study.file import Row, Study, dump, engine_of, load

BASE = {"name": "base", "training": {"steps": 20}, "network": {"kind": "unet"}}
DICE = {"loss": {"kind": "dice"}}
SPLIT = {"kind": "folds", "folds": 5, "fold": 0}


@pytest.fixture
def file(tmp_path):
    """Writes a study beside `base.yaml`, as a mapping or as text."""
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(BASE), encoding="utf-8")

    def write(rows=None, /, name="study.yaml", **keys):
        content = (
            rows
            if isinstance(rows, str)
            else yaml.safe_dump({"name": "s", "base": "base.yaml", **keys, "rows": rows}, sort_keys=False)
        )
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return path

    return write


def parts(path):
    return [(part.experiment.name, part.folder) for part in load(path).parts]


# --- what a study is


def test_a_row_is_the_base_with_its_changes_as_an_experiment_file_with_that_base_is(file, tmp_path):
    changes = {"training": {"optimiser": {"kind": "sgd", "rate": 0.1}}, **DICE}
    (row,) = load(file({"sgd": changes})).rows
    (tmp_path / "alone.yaml").write_text(yaml.safe_dump({"base": "base.yaml", "name": "sgd", **changes}), "utf-8")
    assert row.experiment == experiment_file.load(tmp_path / "alone.yaml")
    assert row.experiment.training.steps == 20


def test_a_row_without_changes_is_the_base(file, tmp_path):
    rows = load(file({"as_it_is": {}, "dice": DICE})).rows
    base = experiment_file.load(tmp_path / "base.yaml")
    assert rows[0].experiment == replace(base, name="as_it_is")
    assert load(file("name: s\nbase: base.yaml\nrows: {as_it_is: }\n")).rows == rows[:1]


def test_a_row_may_start_from_another_experiment_than_the_others(file, tmp_path):
    (tmp_path / "other.yaml").write_text(yaml.safe_dump({"name": "o", "training": {"steps": 7}}), "utf-8")
    study = load(
        file(
            {
                "base": {},
                "other": {"base": "other.yaml", "split": SPLIT, **DICE},
                "shipped": {"base": "lrnet/table2/dice", "split": SPLIT},
            }
        )
    )
    assert [row.experiment.training.steps for row in study.rows[:2]] == [20, 7]
    assert study.rows[1].experiment.network == experiment_file.load(tmp_path / "other.yaml").network
    assert study.rows[1].experiment.loss.kind == "dice"
    assert study.rows[2].experiment.claim is not None


def test_parts_come_seed_by_seed_then_fold_by_fold_then_row_by_row_in_the_order_of_the_file(file):
    study = load(file({"zebra": DICE, "ant": {}}, folds=[2, 0], seeds=[5, 1]))
    found = [(part.seed, part.experiment.split.fold, part.row) for part in study.parts]
    assert found == [(seed, fold, row) for seed in (5, 1) for fold in (2, 0) for row in ("zebra", "ant")]


def test_all_folds_are_as_many_as_the_split_has(file):
    study = load(file({"a": {"split": {"kind": "folds", "folds": 3}}}, folds="all"))
    assert [part.experiment.split.fold for part in study.parts] == [0, 1, 2]


def test_without_folds_and_seeds_those_of_the_experiments_count(file, tmp_path):
    base = {**BASE, "seed": 3, "split": {"kind": "folds", "folds": 4, "fold": 2}}
    (tmp_path / "base.yaml").write_text(yaml.safe_dump(base), "utf-8")
    (part,) = load(file({"a": {}})).parts
    assert (part.seed, part.experiment.split) == (3, Folds(folds=4, fold=2))
    assert part.experiment.name == "a"


def test_a_part_tells_its_fold_and_seed_where_there_are_several(file):
    names = [name for name, _ in parts(file({"a": {}}, folds=[0, 1], seeds=[0, 1]))]
    assert names == ["a fold 0 seed 0", "a fold 1 seed 0", "a fold 0 seed 1", "a fold 1 seed 1"]
    assert parts(file({"a": {}}, folds=[0], seeds=[0]))[0][0] == "a"


ROW_NAMES = st.lists(st.text(min_size=1, max_size=120), min_size=1, max_size=4, unique=True)
SOME = st.lists(st.integers(0, 4), max_size=3, unique=True).map(tuple)


@given(names=ROW_NAMES, folds=SOME, seeds=SOME)
def test_two_parts_never_share_a_folder_whatever_rows_are_called(names, folds, seeds):
    usual = experiment_file.parse({"name": "usual"}, "here")
    rows = tuple(
        Row(name=name, experiment=replace(usual, name=name, training=replace(usual.training, steps=100 + i)))
        for i, name in enumerate(names)
    )
    folders = [part.folder for part in Study(name="s", rows=rows, folds=folds, seeds=seeds).parts]
    assert len({folder.lower() for folder in folders}) == len(folders)
    for folder in folders:
        assert re.fullmatch(r"[\w.-]+", folder)
        assert len(f".{folder}.lock".encode()) <= 255


def shuffled(content, seed):
    """The same mapping with its keys in another order, at every level."""
    if not isinstance(content, dict):
        return content
    keys = list(content)
    random.Random(seed).shuffle(keys)
    return {key: shuffled(content[key], seed) for key in keys}


@pytest.mark.parametrize("seed", range(4))
def test_equal_content_has_an_equal_digest_whatever_the_order_of_keys(file, seed):
    rows = {"a": {"training": {"steps": 9, "clip": 1.0, "optimiser": {"kind": "sgd", "rate": 1}}, **DICE}}
    mixed = shuffled(rows, seed)
    mixed["a"]["training"]["clip"] = 1  # a whole number is the same number
    assert parts(file(yaml.safe_dump({"rows": mixed, "base": "base.yaml", "name": "s"}, sort_keys=False))) == parts(
        file(rows)
    )


def test_a_claim_changes_no_digest_and_every_setting_does(file):
    def digest(changes):
        return identity(load(file({"a": changes, "b": {"training": {"steps": 1}}})).rows[0].experiment)

    claim = {"claim": {"source": "s", "data": "d", "values": {"dice": 0.5}}}
    assert digest({**claim, **DICE}) == digest(DICE)
    changes = [{}, DICE, {"training": {"clip": 1.0}}, {"plan": {"batch": 3}}, {"augmentation": {"flip": []}}]
    assert len({digest(each) for each in changes}) == len(changes)


def test_a_dumped_study_loads_to_the_same_parts(file, tmp_path):
    rows = {
        "base": {},
        "dice": {**DICE, "claim": {"source": "s", "data": "d", "values": {"dice": 0.5}}},
        "lrnet": {"base": "lrnet/table2/dice_lrnet_l1", "split": {"kind": "folds", "folds": 5}},  # its fold is 1
        "no_limit": {"training": {"minutes": 3.5}},
    }
    study = load(file(rows, folds=[1, 0], seeds=[2, 0], engine={"kind": "local", "slots": 2}))
    copy = tmp_path / "elsewhere" / "copy.yaml"
    copy.parent.mkdir()
    copy.write_text(yaml.safe_dump(dump(study), sort_keys=False), "utf-8")
    again = load(copy)
    assert again.parts == study.parts
    assert (again.minutes, again.engine) == (float("inf"), Local(slots=2))


def test_an_engine_is_named_in_the_file_as_on_the_command_line(file):
    assert load(file({"a": {}}, engine="local")).engine == engine_of("local") == Local()
    assert engine_of("{kind: local, slots: 3}") == Local(slots=3)
    with pytest.raises(EngineError, match=r"'locl' is unknown\. Did you mean `local`"):
        engine_of("locl")
    with pytest.raises(EngineError, match=r"slot: unknown key\. Did you mean `slots`"):
        engine_of("{kind: local, slot: 3}")
    with pytest.raises(EngineError, match="slots is 0, but must be at least 1"):
        engine_of("{kind: local, slots: 0}")


def test_a_mapping_that_another_is_merged_into_is_no_key_twice(file):
    text = """
name: s
base: base.yaml
rows:
  a: &a {training: {steps: 3}, loss: {kind: dice}}
  b: &b {<<: *a, training: {steps: 4}}
  c: {<<: *b, training: {steps: 5}}
"""
    assert [row.experiment.training.steps for row in load(file(text)).rows] == [3, 4, 5]


# --- what is wrong with it


def head(text):
    return f"name: s\nbase: base.yaml\n{text}"


WRONG = {
    "an unknown key": (head("rows: {a: {}}\nsedes: [1]"), "sedes: unknown key. Did you mean `seeds`"),
    "an unknown key in a row": (head("rows: {a: {los: {kind: dice}}}"), "row 'a' .*\n  los: .*Did you mean `loss`"),
    "an unknown key deep in a row": (
        head("rows: {a: {training: {step: 4}}}"),
        "row 'a' .*\n  training.step: unknown key. Did you mean `steps`",
    ),
    "an unknown kind in a row": (head("rows: {a: {loss: {kind: dcie}}}"), "loss.kind: 'dcie' is unknown.*`dice`"),
    "a key twice": (head("rows:\n  a: {}\n  a: {seed: 1}"), "study.yaml, line 5: `a` is there twice.*Rename or remove"),
    "a key twice in a row": (head("rows: {a: {loss: {kind: dice, kind: focal}}}"), "line 3: `kind` is there twice"),
    "a list for a key": (head("rows: {? [a] : {}}"), "study.yaml is not valid YAML: .*unhashable key.*line 3"),
    "one experiment twice": (head("rows: {a: {}, b: {}}"), "rows 'a' and 'b' are one experiment.*`seeds`"),
    "one experiment twice but for its claim": (
        head("rows: {a: {}, b: {claim: {source: s, data: d, values: {dice: 1}}}}"),
        "rows 'a' and 'b' are one experiment",
    ),
    "a change that is none": (
        head("rows: {a: {training: {steps: 20}}}"),
        r"row 'a' changes nothing: training is what the base says already.*`\{\}`",
    ),
    "a default written out": (head("rows: {a: {split: {kind: folds, folds: 5}}}"), "row 'a' changes nothing: split"),
    "a name in a row": (head("rows: {a: {name: b}}"), "row 'a': a row's key is its name. .* leave out `name: b`"),
    "a seed in a row": (head("rows: {a: {seed: 3}}"), r"row 'a': rows share their seeds. Write `seeds: \[0, 1, 2\]`"),
    "different splits": (
        head("rows: {a: {split: {kind: folds, folds: 3}}, b: {}}"),
        "rows 'a' and 'b' have different splits.*in the base alone",
    ),
    "folds of a fixed split": (
        head("folds: [0]\nrows: {a: {split: {kind: fixed, validation: [x]}}}"),
        "the split is fixed, which has no folds. Leave `folds` out",
    ),
    "a fold beyond the last": (head("folds: [0, 5]\nrows: {a: {}}"), "no fold 5: the split has 5 folds, .*0 to 4"),
    "a negative fold": (head("folds: [-1]\nrows: {a: {}}"), r"folds\[0\]: .*greater than or equal to 0 .it is -1"),
    "a fold twice": (head("folds: [1, 1]\nrows: {a: {}}"), "`folds` names 1 twice. Remove one"),
    "a seed twice": (head("seeds: [1, 0, 1]\nrows: {a: {}}"), "`seeds` names 1 twice. Remove one"),
    "no seeds": (head("seeds: []\nrows: {a: {}}"), "seeds: .*at least 1 item"),
    "folds that are a word": (head("folds: every\nrows: {a: {}}"), "folds: .*'every'.*Or write 'all' or 'file'"),
    "no minutes": (head("minutes: 0\nrows: {a: {}}"), "minutes: .*greater than 0 .it is 0"),
    "an unknown engine": (head("engine: {kind: locl}\nrows: {a: {}}"), "engine.kind: 'locl' .*Did you mean `local`"),
    "empty rows": (head("rows: {}"), "`rows` is empty. A study names its rows, each with what it changes"),
    "rows that are nothing": (head("rows:"), "`rows` is empty. A study names its rows"),
    "rows that are a list": (head("rows: [a, b]"), r"`rows` holds \['a', 'b'\]. A study names its rows"),
    "a row that is a word": (head("rows: {a: dice}"), "row 'a': it must say what it changes, .*it is 'dice'"),
    "a row called no": (head("rows: {no: {}}"), "a row is called False, .*Write its name in quotes"),
    "a row without a name": (head("rows: {'': {}}"), "a row is called ''.*Write its name in quotes"),
    "no base for an empty row": ("name: s\nrows: {a: {}}", "row 'a' is empty, and there is no `base`"),
    "a base that is missing": (
        "name: s\nbase: bse.yaml\nrows: {a: {}}",
        "study.yaml: base: cannot read experiment bse.yaml: No such file.*edgewise list experiments",
    ),
    "a base that is misspelt": (
        "name: s\nbase: lrnet/table2/dise\nrows: {a: {}}",
        "study.yaml: base: .*Did you mean lrnet/table2/dice",
    ),
    "a row's base that is missing": (head("rows: {a: {base: b.yaml}}"), "row 'a': base: cannot read experiment b.yaml"),
    "a row's base that is a number": (head("rows: {a: {base: 3}}"), "row 'a': `base` must be the path .*it is 3"),
    "itself as a base": ("name: s\nbase: study.yaml\nrows: {a: {}}", "base: .*is a study of several experiments"),
    "no name": ("base: base.yaml\nrows: {a: {}}", "name: required, but missing"),
    "an experiment": ("name: s\ntraining: {steps: 3}", "no study: it has no `rows`. `edgewise fit` runs an experiment"),
    "no rows": ("name: s\nbase: base.yaml", "no study: it has no `rows`. A study names its rows"),
    "no mapping": ("hello", "must hold a mapping with `name:` and `rows:`; it holds str"),
    "nothing": ("", "must hold a mapping with `name:` and `rows:`; it holds NoneType"),
    "no YAML": ("name: [s", "study.yaml is not valid YAML: .*line 1"),
}


@pytest.mark.parametrize("text", WRONG.values(), ids=WRONG)
def test_a_wrong_study_is_refused_in_words(file, text):
    content, words = text
    with pytest.raises((StudyError, ExperimentError), match="(?s)" + words):
        load(file(content))


def test_bases_in_a_circle_are_refused(file, tmp_path):
    (tmp_path / "one.yaml").write_text("base: two.yaml\n", "utf-8")
    (tmp_path / "two.yaml").write_text("base: one.yaml\n", "utf-8")
    with pytest.raises(
        StudyError, match=r"study.yaml: base: .*one.yaml is its own base, by way of 2 files. Remove one"
    ):
        load(file("name: s\nbase: one.yaml\nrows: {a: {}}"))


def test_a_file_that_cannot_be_read_is_said_so(file, tmp_path):
    with pytest.raises(EdgewiseError, match=r"nowhere.yaml: No such file"):
        load(tmp_path / "nowhere.yaml")
    path = file({"a": {}})
    path.write_bytes(b"name: \xff")
    with pytest.raises(StudyError, match=r"cannot read study .*study.yaml: not UTF-8 text"):
        load(path)


def test_a_study_given_to_fit_is_said_to_be_one(file, tmp_path, edgewise):
    path = file({"a": {}})
    call = edgewise("fit", path, "--data", tmp_path, "--out", tmp_path / "run")
    assert (call.code, call.err.strip()) == (
        2,
        f"edgewise: {path} is a study of several experiments. Run it by `edgewise study`.",
    )
    assert not (tmp_path / "run").exists()
