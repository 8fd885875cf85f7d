"""What a plan decides about images: which channels are corrected, which slices train."""

from dataclasses import replace

import pytest
import yaml

from edgewise.data.bias_field import N4
from edgewise.data.crop import LabelRange
from edgewise.data.fingerprint import CaseFacts, ChannelFacts, Fingerprint
from edgewise.errors import ExperimentError
from edgewise.experiment_file import parse, read_plan
from edgewise.plan import Machine, PlanSettings, make

CPU = Machine(gpu=False, cores=2, memory_gb=4.0)
CLASSES = ("background", "liver", "tumour")


def planned(settings, channels=("T2",)):
    facts = ChannelFacts(mean=60.0, std=20.0, p005=-10.0, p995=120.0, minimum=-100.0, maximum=300.0)
    case = CaseFacts(id="a", shape=(64, 64, 40), spacing=(1.0, 1.0, 2.0), voxels=(10, 5), digest="a")
    return make(
        Fingerprint(cases=(case,), channels=(facts,) * len(channels), digest="x"), channels, settings, CPU, CLASSES
    )


def test_images_are_corrected_only_where_the_experiment_says_so():
    plan = planned(PlanSettings())
    assert plan.bias_field == plan.preparation().bias_field == "none"


def test_every_channel_but_ct_is_corrected_and_the_plan_says_which():
    plan = planned(PlanSettings(bias_field=N4(shrink=3)), channels=("T1", "CT", "T2"))
    assert plan.bias_field == plan.preparation().bias_field == N4(shrink=3, channels=(0, 2))
    assert plan.reasons["bias_field"] == "every channel that is not CT: T1, T2"
    assert planned(PlanSettings(bias_field=N4(channels=(2,))), channels=("T1", "CT", "T2")).bias_field.channels == (2,)


@pytest.mark.parametrize(
    ("n4", "channels", "message"),
    [
        (N4(), ("CT",), "calibrated units.*Leave it out"),
        (N4(channels=(1,)), ("T1", "CT"), "calibrated units"),
        (N4(channels=(2,)), ("T1", "T2"), r"holds 2, but the channels are numbered 0 to 1\."),
    ],
)
def test_what_n4_cannot_correct_is_refused(n4, channels, message):
    with pytest.raises(ExperimentError, match=message):
        planned(PlanSettings(bias_field=n4), channels)


def test_slices_of_named_classes_train_and_whole_images_are_predicted():
    plan = planned(PlanSettings(crop=LabelRange(classes=("tumour",), margin=3.0, within="none")))
    assert plan.training_preparation().crop == LabelRange(classes=(2,), margin=3.0, within="none")
    assert plan.preparation() == replace(plan.training_preparation(), crop="none")
    assert plan.preparation().digest() != plan.training_preparation().digest()
    plain = planned(PlanSettings())
    assert plain.preparation() == plain.training_preparation()


def test_a_class_that_the_data_do_not_have_is_refused():
    with pytest.raises(ExperimentError, match=r"plan\.crop: lung is no class of this dataset"):
        planned(PlanSettings(crop=LabelRange(classes=("lung",))))


def test_both_return_from_the_table_of_a_plan():
    plan = planned(PlanSettings(bias_field=N4(iterations=(9, 8)), crop=LabelRange(classes=("liver",))))
    again = read_plan(yaml.safe_load(yaml.safe_dump(plan.table())))
    assert replace(again, reasons={}) == replace(plan, reasons={})


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"crop": "legs"}, r"plan\.crop: input should be 'none' or 'body' .*Or write a mapping with a `kind`\.$"),
        ({"crop": {"kind": "labels", "margn": 1}}, r"plan\.crop\.margn: unknown key\. Did you mean `margin`\?$"),
        ({"crop": {"kind": "labels", "margin": -1}}, r"plan\.crop: margin is -1\.0, but must be a number from 0\.$"),
        ({"crop": {"kind": "label"}}, r"plan\.crop\.kind: 'label' is unknown\. Did you mean `labels`\?$"),
        ({"bias_field": "n4"}, r"plan\.bias_field: input should be 'none' \(it is 'n4'\)\. Or write a mapping"),
        ({"bias_field": {"kind": "n4", "shrink": 0}}, r"plan\.bias_field: shrink and every"),
    ],
)
def test_a_mistake_in_a_setting_that_is_a_word_or_a_mapping_is_said_once(content, message):
    with pytest.raises(ExperimentError, match=message) as caught:
        parse({"name": "x", "plan": content}, "x.yaml")
    assert str(caught.value).count("\n") == 1
