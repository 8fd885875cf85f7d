from dataclasses import replace

from edgewise.report.settings import differences


def test_what_an_experiment_only_says_about_itself_is_no_difference(make_run):
    record = make_run()
    one = replace(record, experiment={"name": "a", "seed": 0, "claim": {"source": "x", "values": {"dice": 0.7}}})
    other = replace(record, experiment={"name": "b", "seed": 1, "claim": {"source": "y", "values": {"dice": 0.8}}})
    bare = replace(record, experiment={"name": "c", "seed": 1, "claim": None})
    assert [fact.name for fact in differences([one, other])] == ["seed"]
    assert [fact.name for fact in differences([one, other, bare])] == ["seed"]


def test_a_setting_whose_name_begins_like_one_of_those_is_a_difference(make_run):
    record = make_run()
    runs = [replace(record, experiment={"names": value, "claims": value}) for value in (1, 2)]
    assert [fact.name for fact in differences(runs)] == ["names", "claims"]
