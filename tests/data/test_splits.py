"""Laws of splits: a partition of the cases, and no patient on both sides."""

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from edgewise.data.splits import fixed, folds, group_of, parity
from edgewise.errors import DataError

IDS = [f"patient{p:03d}_frame{t:02d}" for p in range(6) for t in (1, 12)]
patients = st.lists(st.integers(0, 99), min_size=5, max_size=30, unique=True)


@given(patients, st.integers(1, 3), st.integers(2, 5), st.randoms())
def test_folds_partition_the_cases_and_never_divide_a_patient(numbers, frames, count, random):
    ids = [f"p{n}_t{frame}" for n in numbers for frame in range(frames)]
    shuffled = random.sample(ids, len(ids))
    validated = []
    for fold in range(count):
        split = folds(shuffled, folds=count, fold=fold, group="auto")
        assert split == folds(ids, folds=count, fold=fold, group="auto")
        assert sorted(split.train + split.validation) == sorted(ids)
        assert not {group_of(i, "auto") for i in split.train} & {group_of(i, "auto") for i in split.validation}
        validated += split.validation
    assert sorted(validated) == sorted(ids)


@given(patients, st.data())
def test_a_fixed_split_by_patients_is_what_was_asked_for(numbers, data):
    ids = [f"p{n}_t{frame}" for n in numbers for frame in range(2)]
    chosen = data.draw(st.lists(st.sampled_from(numbers), min_size=1, max_size=len(numbers) - 1, unique=True))
    split = fixed(ids, [f"p{n}" for n in chosen], group="auto")
    assert split.validation == tuple(sorted(f"p{n}_t{frame}" for n in chosen for frame in range(2)))
    assert split == fixed(ids, split.validation, group="auto")
    assert sorted(split.train + split.validation) == sorted(ids)


SIDES = st.sampled_from(["even", "odd"])


@given(patients, st.integers(1, 3), SIDES, st.randoms())
def test_patients_of_one_parity_train_and_all_others_validate(numbers, frames, side, random):
    ids = [f"2nd_p{n:03d}_t{frame}" for n in numbers for frame in range(frames)]
    wanted = {f"2nd_p{n:03d}" for n in numbers if n % 2 == (side == "odd")}
    assume(0 < len(wanted) < len(numbers))
    split = parity(random.sample(ids, len(ids)), of="number", train=side, group="auto")
    assert {group_of(case, "auto") for case in split.train} == wanted
    assert not {group_of(case, "auto") for case in split.validation} & wanted
    assert sorted(split.train + split.validation) == sorted(ids)
    other = parity(ids, of="number", train="odd" if side == "even" else "even", group="auto")
    assert (other.train, other.validation) == (split.validation, split.train)


@given(patients, SIDES, st.randoms())
def test_positions_are_those_among_the_sorted_patients(numbers, side, random):
    names = sorted(f"Brats18_TCIA{n:02d}_{n}_1" for n in numbers)
    ids = [f"{name}_t{frame}" for name in names for frame in range(2)]
    split = parity(random.sample(ids, len(ids)), of="position", train=side, group="auto")
    first = 0 if side == "even" else 1
    assert split.train == tuple(case for case in sorted(ids) if names.index(group_of(case, "auto")) % 2 == first)
    assert sorted(split.train + split.validation) == sorted(ids)


def test_numbers_and_positions_agree_where_the_cases_are_numbered_from_0():
    ids = [f"case_{n:05d}" for n in range(210)]
    split = parity(ids, of="number", train="even", group="auto")
    assert split == parity(ids, of="position", train="even", group="auto")
    assert (split.train, split.validation) == (tuple(ids[0::2]), tuple(ids[1::2]))


@pytest.mark.parametrize(
    ("case", "patient"),
    [
        ("patient001_frame01", "patient001"),
        ("case_12_t2", "case_12"),
        ("sub-01_ses-2", "sub-01"),
        ("sub-01_ses-2_T1w", "sub-01"),
        ("A_visit-3", "A"),
        ("B_TP2", "B"),
        ("hippocampus_001", "hippocampus_001"),
        ("case_00012", "case_00012"),
        ("t2", "t2"),
    ],
)
def test_usual_names_of_time_points_tell_the_patient(case, patient):
    assert group_of(case, "auto") == patient


def test_a_pattern_names_the_patient_by_its_first_group_or_as_a_whole():
    assert group_of("X7-a-2", r"(X\d+)-a") == "X7"
    assert group_of("X7-a-2", r"X\d+") == "X7"


@pytest.mark.parametrize(
    ("split", "words"),
    [
        (lambda: folds(IDS, folds=7, fold=0, group="auto"), "7 folds of 6 patients"),
        (lambda: folds(IDS, folds=5, fold=5, group="auto"), "choose one of 0 to 4"),
        (lambda: folds(IDS, folds=5, fold=-1, group="auto"), "choose one of 0 to 4"),
        (lambda: folds(IDS, folds=1, fold=0, group="auto"), "nothing is left to train on"),
        (lambda: folds(IDS[:1], folds=2, fold=0, group="auto"), "1 case cannot be split"),
        (lambda: folds([], folds=2, fold=0, group="auto"), "0 case cannot be split"),
        (lambda: folds(IDS, folds=2, fold=0, group="("), "no regular expression"),
        (
            lambda: folds(IDS, folds=2, fold=0, group="sub"),
            "finds no patient in case id 'patient000_frame01'",
        ),
        (lambda: fixed(IDS, ["patient9"], group="auto"), "names 'patient9', which is not in the dataset"),
        (lambda: fixed(IDS, [], group="auto"), "no case to validate on"),
        (lambda: fixed(IDS, IDS, group="auto"), "no case to train on"),
        (
            lambda: parity(["left", "case_2"], of="number", train="even", group="auto"),
            "no number in the name of patient 'left'",
        ),
        (lambda: parity(["a2", "a4"], of="number", train="even", group="auto"), "no case to validate on"),
        (lambda: parity(["a2", "a4"], of="number", train="odd", group="auto"), "no case to train on"),
        (lambda: parity(["a2_t1", "a2_t2"], of="position", train="even", group="auto"), "no case to validate on"),
        (
            lambda: fixed(IDS, IDS[:1], group="auto"),
            "'patient000' would be on both sides: patient000_frame12",
        ),
    ],
)
def test_an_impossible_split_is_refused_with_its_reason(split, words):
    with pytest.raises(DataError) as caught:
        split()
    assert words in str(caught.value)


def test_cases_of_one_patient_may_be_split_when_each_case_is_declared_a_patient():
    assert fixed(IDS, IDS[:1], group=".+").validation == (IDS[0],)
