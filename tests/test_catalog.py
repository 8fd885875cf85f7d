"""Components are found by their file alone, and an experiment file chooses them by `kind`."""

import subprocess
import sys
from dataclasses import asdict, dataclass
from typing import Any, ClassVar

import pytest
from pydantic import TypeAdapter, ValidationError

from edgewise.catalog import Component, discover
from edgewise.losses import LOSSES, CrossEntropy, Dice, Loss, RegionWise, Sum, Term
from edgewise.maps import DistanceMap, Rectified
from edgewise.metrics import Metric


@dataclass(frozen=True, kw_only=True)
class Training:
    """Stands for an experiment file."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}
    loss: Loss
    spare: Loss = Dice()  # noqa: RUF009


ADAPTER = TypeAdapter(Training)


def test_finds_the_classes_of_a_package_sorted_by_kind():
    assert discover(Loss) == LOSSES
    assert list(LOSSES) == sorted(LOSSES)
    assert LOSSES["dice"] is Dice
    assert discover(DistanceMap)["rectified"] is Rectified
    assert {"dice", "hd95", "assd"} <= set(discover(Metric))


def test_every_component_can_be_built_without_arguments_and_is_hashable():
    for base in (Loss, DistanceMap, Metric):
        for kind, cls in discover(base).items():
            assert cls().kind == kind
            assert hash(cls()) == hash(cls())
            assert cls() == cls()


def package_of(monkeypatch, tmp_path, name, **modules):
    """A package `name` with these modules, and an abstract base class that searches it."""
    folder = tmp_path / name
    folder.mkdir()
    (folder / "__init__.py").touch()
    (folder / "base.py").write_text(BASE.format(name=name))
    for module, text in modules.items():
        (folder / f"{module}.py").write_text(f"from {name}.base import *\n\n{text}")
    monkeypatch.syspath_prepend(tmp_path)
    return __import__(f"{name}.base", fromlist=["Animal"]).Animal


BASE = """
from abc import abstractmethod
from dataclasses import dataclass
from typing import ClassVar, Literal
from edgewise.catalog import Component
class Animal(Component):
    package: ClassVar[str] = "{name}"
    @abstractmethod
    def sound(self) -> str: ...
"""
CAT = """
@dataclass(frozen=True, kw_only=True)
class {name}(Animal):
    kind: Literal["{kind}"] = "{kind}"
    lives: int = 9
    source: ClassVar[str] = "folklore"
    def sound(self) -> str:
        return "miaow"
"""


def test_a_new_file_is_in_the_catalogue_and_in_the_schema(monkeypatch, tmp_path):
    animal = package_of(monkeypatch, tmp_path, "one_zoo", cat=CAT.format(name="Cat", kind="cat"))
    assert list(discover(animal)) == ["cat"]
    assert TypeAdapter(animal).validate_python({"kind": "cat", "lives": 7}).lives == 7
    assert "Cat" in TypeAdapter(animal).json_schema()["$defs"]


def test_two_components_of_one_kind_are_refused(monkeypatch, tmp_path):
    cats = {"a": CAT.format(name="Cat", kind="cat"), "b": CAT.format(name="Lion", kind="cat")}
    with pytest.raises(TypeError, match="two components are called 'cat'"):
        discover(package_of(monkeypatch, tmp_path, "twin_zoo", **cats))


@pytest.mark.parametrize(("line", "message"), [("kind:", "needs a field `kind"), ("source:", "needs `source")])
def test_a_component_without_a_kind_or_a_source_is_refused(monkeypatch, tmp_path, line, message):
    text = "\n".join(each for each in CAT.format(name="Cat", kind="cat").split("\n") if line not in each)
    with pytest.raises(TypeError, match=message):
        discover(package_of(monkeypatch, tmp_path, f"{line[:-1]}_zoo", cat=text))


def test_a_file_chooses_a_loss_by_kind():
    assert ADAPTER.validate_python({"loss": {"kind": "region_wise"}}) == Training(loss=RegionWise())
    given = {"kind": "dice", "batch": "pooled", "background": False}
    assert ADAPTER.validate_python({"loss": given}).loss == Dice(batch="pooled", background=False)


def test_losses_nest_in_a_sum():
    inner = {"kind": "sum", "terms": [{"loss": {"kind": "region_wise"}, "weight": 2}]}
    given = {"kind": "sum", "terms": [{"loss": {"kind": "dice"}}, {"loss": inner, "weight": 0.5}]}
    expected = Sum(terms=(Term(loss=Dice()), Term(loss=Sum(terms=(Term(loss=RegionWise(), weight=2.0),)), weight=0.5)))
    assert ADAPTER.validate_python({"loss": given}).loss == expected


def test_a_built_loss_is_taken_as_it_is():
    assert ADAPTER.validate_python({"loss": CrossEntropy()}) == Training(loss=CrossEntropy())


@pytest.mark.parametrize(
    ("loss", "where", "type_"),
    [
        ({"kind": "dice", "esp": 1}, ("loss", "dice", "esp"), "unexpected_keyword_argument"),
        ({"kind": "dise"}, ("loss",), "union_tag_invalid"),
        ({}, ("loss",), "union_tag_not_found"),
        ({"kind": "dice", "eps": 0}, ("loss", "dice"), "value_error"),
        ({"kind": "sum", "terms": []}, ("loss", "sum"), "value_error"),
        (
            {"kind": "sum", "terms": [{"loss": {"kind": "dice"}, "wight": 1}]},
            ("loss", "sum", "terms", 0, "wight"),
            "unexpected_keyword_argument",
        ),
        (
            {"kind": "sum", "terms": [{"loss": {"kind": "dice", "batch": "all"}}]},
            ("loss", "sum", "terms", 0, "loss", "dice", "batch"),
            "literal_error",
        ),
    ],
)
def test_a_wrong_entry_is_an_error_that_says_where(loss, where, type_):
    with pytest.raises(ValidationError) as caught:
        ADAPTER.validate_python({"loss": loss})
    assert [(error["loc"], error["type"]) for error in caught.value.errors()] == [(where, type_)]


def test_the_json_schema_offers_every_loss_and_forbids_other_keys():
    schema = ADAPTER.json_schema()
    definitions = schema["properties"]["loss"]["discriminator"]["mapping"]
    assert set(definitions) == set(LOSSES)
    for reference in definitions.values():
        assert schema["$defs"][reference.removeprefix("#/$defs/")]["additionalProperties"] is False


def test_a_file_that_is_written_reads_back_the_same():
    training = Training(loss=Sum(terms=(Term(loss=RegionWise(), weight=0.5), Term(loss=Dice(eps=1.0)))))
    assert ADAPTER.validate_python(ADAPTER.dump_python(training, mode="json")) == training
    assert ADAPTER.validate_python(asdict(training)) == training


def test_losses_maps_and_metrics_do_not_import_heavy_libraries():
    code = (
        "import sys, edgewise.losses, edgewise.maps, edgewise.metrics; edgewise.losses.LOSSES; "
        "print([m for m in ('monai', 'SimpleITK', 'matplotlib', 'pydantic', 'numba', 'triton') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_loss_is_found_by_its_class_name_and_a_misspelt_one_is_not():
    from edgewise import losses

    assert all(getattr(losses, cls.__name__) is cls for cls in LOSSES.values())
    with pytest.raises(AttributeError, match="Dise"):
        _ = losses.Dise


def test_the_base_of_a_catalogue_is_not_a_component():
    assert issubclass(Loss, Component)
    assert Loss not in LOSSES.values()
