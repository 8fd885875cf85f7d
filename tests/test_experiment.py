"""The experiment file: what it accepts, what it refuses, and how the refusal helps."""

import json
import math
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from edgewise.catalog import discover
from edgewise.data.intensity import ClipZScore, Window
from edgewise.errors import ExperimentError
from edgewise.experiment import Experiment, Fixed, Folds, Parity, digest, dump, schema, with_fold
from edgewise.experiment_file import load, parse, read_plan
from edgewise.losses.base import Loss
from edgewise.losses.dice import Dice
from edgewise.networks.base import Network
from edgewise.training.optimise import SGD, Plateau

FILES = sorted((Path(__file__).parents[1] / "experiments").rglob("*.yaml"))
SHIPPED = [path for path in FILES if "\nrows:" not in path.read_text(encoding="utf-8")]
"""Experiments; the others are studies."""


@pytest.fixture
def file(tmp_path):
    def write(text):
        path = tmp_path / "experiment.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


def refusal(content):
    with pytest.raises(ExperimentError) as caught:
        parse(content, "a.yaml")
    return str(caught.value)


class TestReading:
    def test_a_name_is_enough(self, file):
        experiment = load(file("name: small"))
        assert experiment == Experiment(name="small")
        assert [type(term.loss).__name__ for term in experiment.loss.terms] == ["Dice", "CrossEntropy"]

    def test_there_are_shipped_experiments(self):
        assert SHIPPED

    @pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
    def test_every_shipped_experiment_is_valid_and_returns_from_its_dump(self, path):
        experiment = load(path)
        assert parse(yaml.safe_load(yaml.safe_dump(dump(experiment))), "dump") == experiment

    def test_numbers_may_be_written_as_yaml_1_1_does_not_know_them(self, file):
        text = "{name: a, training: {optimiser: {kind: adamw, rate: 1e-3}, minutes: .inf}}"
        training = load(file(text)).training
        assert training.optimiser.rate == 1e-3
        assert training.minutes == math.inf

    @pytest.mark.parametrize("loss", discover(Loss).values(), ids=discover(Loss))
    def test_every_loss_returns_from_its_dump(self, loss):
        experiment = Experiment(name="a", loss=loss())
        assert parse(json.loads(json.dumps(dump(experiment))), "dump") == experiment

    @pytest.mark.parametrize("network", discover(Network).values(), ids=discover(Network))
    def test_every_network_returns_from_its_dump(self, network):
        experiment = Experiment(name="a", network=network())
        assert parse(json.loads(json.dumps(dump(experiment))), "dump") == experiment

    def test_a_dump_names_every_field(self):
        content = dump(Experiment(name="a"))
        assert content["plan"]["patch"] == "auto"
        assert content["training"]["schedule"] == {"kind": "poly", "power": 0.9, "warm_up": 0}
        assert content["loss"]["terms"][0]["loss"]["kind"] == "dice"

    def test_the_kind_decides_among_intensities(self):
        clip = {"kind": "clip_zscore", "lower": 0, "upper": 9, "mean": 5, "std": 2}
        window = {"kind": "window", "lower": -100, "upper": 300}
        plan = parse({"name": "a", "plan": {"intensity": [clip, window]}}, "a").plan
        assert plan.intensity == (
            ClipZScore(lower=0.0, upper=9.0, mean=5.0, std=2.0),
            Window(lower=-100.0, upper=300.0),
        )


class TestClaims:
    def test_one_claim_is_a_claim_and_a_list_is_several_and_both_return_from_their_dump(self):
        several = [CLAIM | {"of": "left"}, CLAIM | {"of": "right"}]
        for given_, found in ((None, []), (CLAIM, ["all"]), (several, ["left", "right"])):
            experiment = parse({"name": "a", "claim": given_}, "a.yaml")
            assert [claim.of for claim in experiment.claims] == found
            assert parse(dump(experiment), "b.yaml") == experiment

    def test_an_empty_list_is_no_claim(self):
        assert "claim: tuple should have at least 1 item" in refusal({"name": "a", "claim": []})


class TestDigest:
    def test_equal_experiments_share_it_however_they_were_written(self, file):
        given_ = load(file("{training: {steps: 4000}, seed: 0, name: a}"))
        assert digest(given_) == digest(Experiment(name="a")) == digest(parse(dump(given_), "dump"))

    @given(seed=st.integers(1, 2**31), foreground=st.floats(0, 0.3))
    def test_other_experiments_have_another(self, seed, foreground):
        plain = digest(Experiment(name="a"))
        assert digest(parse({"name": "a", "seed": seed}, "a")) != plain
        assert digest(parse({"name": "a", "training": {"foreground": foreground}}, "a")) != plain


class TestChanges:
    def test_a_change_reaches_any_depth_and_wins_over_the_file(self, file):
        path = file("{name: a, training: {steps: 7}}")
        experiment = load(path, ["training.steps=500", "plan.patch=[32, 32]", "name=b", "inference.mirror=true"])
        assert (experiment.training.steps, experiment.plan.patch) == (500, (32, 32))
        assert (experiment.name, experiment.inference.mirror) == ("b", True)

    def test_a_new_kind_forgets_the_keys_of_the_old_one(self, file):
        path = file("{name: a, training: {optimiser: {kind: adamw, betas: [0.8, 0.9]}}}")
        changes = ["training.optimiser.kind=sgd", "training.optimiser.momentum=0.5"]
        assert load(path, changes).training.optimiser == SGD(momentum=0.5)

    def test_the_same_kind_keeps_the_other_keys(self, file):
        path = file("{name: a, training: {schedule: {kind: plateau, patience: 2}}}")
        assert load(path, ["training.schedule.kind=plateau"]).training.schedule == Plateau(patience=2)

    def test_a_kind_replaces_a_component_that_the_file_leaves_out(self, file):
        assert load(file("name: a"), ["loss.kind=dice"]).loss == Dice()

    @pytest.mark.parametrize(
        ("change", "message"),
        [
            ("training.steps", r"not of the form key\.key=value, such as training\.steps=500"),
            ("=3", r"not of the form key\.key=value"),
            ("training.steps=[1", r"--set 'training\.steps=\[1': the value is not valid YAML"),
            ("name.first=x", r"`name` holds 'a', not keys"),
            ("training.stepz=3", r"training\.stepz: unknown key\. Did you mean `steps`\?"),
            ("loss.kind=dicee", r"loss\.kind: 'dicee' is unknown\. Did you mean `dice`\?"),
        ],
    )
    def test_a_change_that_cannot_be_made_says_why(self, file, change, message):
        with pytest.raises(ExperimentError, match=message):
            load(file("name: a"), [change])


class TestFiles:
    def test_a_missing_file_is_named(self, tmp_path):
        with pytest.raises(ExperimentError, match=r"cannot read experiment .*none\.yaml: No such file"):
            load(tmp_path / "none.yaml")

    def test_a_folder_is_no_experiment(self, tmp_path):
        with pytest.raises(ExperimentError, match="Is a directory"):
            load(tmp_path)

    def test_text_in_another_encoding_is_refused(self, tmp_path):
        path = tmp_path / "latin.yaml"
        path.write_bytes("name: Übung".encode("latin-1"))
        with pytest.raises(ExperimentError, match="not UTF-8 text"):
            load(path)

    def test_broken_yaml_is_refused_with_its_line(self, file):
        with pytest.raises(ExperimentError, match=r"is not valid YAML: .*line 2") as caught:
            load(file("name: a\nseed: ]"))
        assert "\n" not in str(caught.value)

    @pytest.mark.parametrize(("text", "kind"), [("[1, 2]", "list"), ("", "NoneType"), ("hello", "str")])
    def test_a_file_that_holds_no_mapping_is_refused(self, file, text, kind):
        with pytest.raises(ExperimentError, match=f"must hold a mapping with at least `name:`; it holds {kind}"):
            load(file(text))

    def test_a_study_is_told_as_one(self, file):
        with pytest.raises(ExperimentError, match="is a study of several experiments"):
            load(file("{name: a, rows: {dice: {loss: {kind: dice}}}}"))


DICE = {"kind": "dice"}
CLAIM = {"source": "Someone 2020, Table 1", "data": "some cases", "values": {"dice": 0.5}}
CLIP = {"kind": "clip_zscore", "lower": 0, "upper": 1, "mean": 0}


class TestRefusals:
    @pytest.mark.parametrize(
        ("content", "line"),
        [
            ({"los": 3}, "los: unknown key. Did you mean `loss`?"),
            ({"learning-rate": 3}, "learning-rate: unknown key. Known: augmentation, claim, inference, loss,"),
            ({"training": {"stepz": 3}}, "training.stepz: unknown key. Did you mean `steps`?"),
            ({"plan": {"pach": [8]}}, "plan.pach: unknown key. Did you mean `patch`?"),
            ({"inference": {"miror": True}}, "inference.miror: unknown key. Did you mean `mirror`?"),
            ({"network": {"kind": "unet", "drop-out": 0}}, "network.drop-out: unknown key. Did you mean `dropout`?"),
            (
                {"training": {"optimiser": {"kind": "sgd", "momentm": 0}}},
                "training.optimiser.momentm: unknown key. Did you mean `momentum`?",
            ),
            (
                {"loss": {"kind": "sum", "terms": [{"loss": DICE}, {"loss": DICE, "wieght": 1}]}},
                "loss.terms[1].wieght: unknown key. Did you mean `weight`?",
            ),
            (
                {"loss": {"kind": "sum", "terms": [{"loss": {"kind": "dice", "backgrund": 1}}]}},
                "loss.terms[0].loss.backgrund: unknown key. Did you mean `background`?",
            ),
            ({"split": {"kind": "folds", "validation": ["a"]}}, "split.validation: unknown key. Known: fold, folds,"),
            ({"claim": CLAIM | {"value": 1}}, "claim.value: unknown key. Did you mean `values`?"),
            ({"claim": [CLAIM, CLAIM | {"fo": "a"}]}, "claim[1].fo: unknown key. Did you mean `of`?"),
        ],
    )
    def test_a_misspelt_key_is_named_with_the_nearest_right_one(self, content, line):
        assert f"\n  {line}" in refusal({"name": "a"} | content)

    @pytest.mark.parametrize(
        ("content", "line"),
        [
            ({"loss": {"kind": "dicee"}}, "loss.kind: 'dicee' is unknown. Did you mean `dice`?"),
            ({"network": {"kind": "transformer9"}}, "network.kind: 'transformer9' is unknown. Known: attention_unet, "),
            (
                {"training": {"schedule": {"kind": "plato"}}},
                "training.schedule.kind: 'plato' is unknown. Did you mean `plateau`?",
            ),
            (
                {"plan": {"intensity": [{"kind": "windo", "lower": 0, "upper": 1}]}},
                "plan.intensity[0].kind: 'windo' is unknown. Did you mean `window`?",
            ),
            ({"loss": {"weight": 1}}, "loss: needs a `kind`."),
            ({"training": {"optimiser": {"rate": 1}}}, "training.optimiser: needs a `kind`."),
        ],
    )
    def test_an_unknown_kind_is_named_with_the_nearest_right_one(self, content, line):
        assert f"\n  {line}" in refusal({"name": "a"} | content)

    @pytest.mark.parametrize(
        ("content", "line"),
        [
            ({"training": {"steps": "many"}}, "training.steps: input should be a valid integer"),
            ({"training": {"steps": 0}}, "training.steps: input should be greater than or equal to 1 (it is 0)."),
            ({"training": {"average": 1.5}}, "training.average: input should be less than or equal to 1 (it is 1.5)."),
            ({"seed": -1}, "seed: input should be greater than or equal to 0 (it is -1)."),
            ({"split": {"kind": "folds", "folds": 1}}, "split.folds: input should be greater than or equal to 2"),
            ({"plan": {"batch": "two"}}, "plan.batch: input should be a valid integer"),
            ({"plan": {"crop": "bod"}}, "plan.crop: input should be 'none' or 'body' (it is 'bod')."),
            ({"plan": {"spacing": [1, 2]}}, "plan.spacing[2]: required, but missing."),
            ({"plan": {"intensity": [CLIP]}}, "plan.intensity[0].std: required, but missing."),
            (
                {"plan": {"intensity": [{"kind": "window", "lower": 3, "upper": 1}]}},
                "plan.intensity[0]: window: lower (3.0) must be less than upper (1.0).",
            ),
            ({"loss": "dice"}, "loss: input should be a valid dictionary"),
            ({"network": None}, "network: input should be a valid dictionary"),
            ({"loss": {"kind": "sum", "terms": []}}, "loss: sum: `terms` is empty"),
            ({"augmentation": {"flip": "both"}}, "augmentation.flip: input should be a valid tuple (it is 'both')."),
            ({"augmentation": {"noise": 2}}, "augmentation: noise is 2.0: a probability lies between 0 and 1."),
            ({"augmentation": {"scaling": [1.2, 0.8]}}, "augmentation: scaling is [1.2, 0.8]: give two positive"),
            ({"name": 3}, "name: input should be a valid string (it is 3)."),
            ({"name": ""}, "name: string should have at least 1 character (it is '')."),
        ],
    )
    def test_a_value_of_the_wrong_kind_is_shown(self, content, line):
        text = refusal({"name": "a"} | content)
        assert f"\n  {line}" in text
        assert text.count("\n") == 1

    def test_a_value_that_could_be_auto_says_so(self):
        assert refusal({"name": "a", "plan": {"batch": "two"}}).endswith("Or write 'auto'.")

    def test_a_missing_name_is_asked_for(self):
        assert refusal({"seed": 1}) == "a.yaml is not a valid experiment:\n  name: required, but missing."

    def test_all_mistakes_come_at_once(self):
        text = refusal({"los": 1, "seed": -1, "training": {"stepz": 1}})
        assert [line.split(":")[0].strip() for line in text.splitlines()[1:]] == [
            "name",
            "seed",
            "training.stepz",
            "los",
        ]


def options(node, shared):
    """A schema without its alternatives, each of them alone."""
    node = shared[node["$ref"].rsplit("/", 1)[-1]] if "$ref" in node else node
    inner = node.get("anyOf", node.get("oneOf"))
    return [node] if inner is None else [option for each in inner for option in options(each, shared)]


def unknown(value, node, shared):
    """Keys that the schema does not know."""
    fitting = options(node, shared)
    if isinstance(value, list):
        items = next((option["items"] for option in fitting if "items" in option), {})
        for each in value:
            yield from unknown(each, items, shared)
    mappings = [option["properties"] for option in fitting if "properties" in option]
    if isinstance(value, dict) and mappings:  # without properties the keys are the user's, such as metrics
        named = [m for m in mappings if m.get("kind", {}).get("const") == value.get("kind")]
        for key, below in value.items():
            if key not in (known := (named or mappings)[0]):
                yield key
            else:
                yield from unknown(below, known[key], shared)


@pytest.fixture(scope="module")
def known():
    """The schema, which takes half a second to make."""
    return schema()


class TestSchema:
    def test_it_is_json_and_forbids_unknown_keys(self):
        text = json.dumps(schema())
        assert '"additionalProperties": false' in text
        assert set(schema()["properties"]) == {*dump(Experiment(name="a")), "base"}

    def test_it_offers_every_component(self):
        text = json.dumps(schema())
        for kind in (*discover(Loss), *discover(Network)):
            assert f'"const": "{kind}"' in text

    @pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
    def test_it_knows_every_key_of_the_shipped_experiments(self, path, known):
        assert not list(unknown(yaml.safe_load(path.read_text(encoding="utf-8")), known, known["$defs"]))


class TestFolds:
    def test_another_fold_validates(self):
        experiment = Experiment(name="a", split=Folds(folds=3, group="x"))
        assert with_fold(experiment, 2).split == Folds(folds=3, fold=2, group="x")

    @pytest.mark.parametrize("split", [Fixed(validation=("b",), group="x"), Parity(group="x")])
    def test_any_other_split_becomes_folds_of_the_same_patients(self, split):
        experiment = Experiment(name="a", split=split)
        assert with_fold(experiment, 1).split == Folds(fold=1, group="x")

    @pytest.mark.parametrize("fold", [-1, 5])
    def test_a_fold_that_there_is_not_is_refused(self, fold):
        with pytest.raises(ExperimentError, match=f"--fold {fold}: there are 5 folds, numbered 0 to 4"):
            with_fold(Experiment(name="a"), fold)


@pytest.mark.parametrize(
    "table", [{}, {"patch": 3}, {"patch": {"value": [1]}}, {"arithmetic": {"value": 1, "reason": ""}}]
)
def test_a_table_that_is_no_plan_is_refused(table):
    with pytest.raises(ExperimentError, match=r"plan\.yaml is not a plan"):
        read_plan(table)
