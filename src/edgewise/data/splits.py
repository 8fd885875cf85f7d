"""Which cases train and which validate: never the same patient on both sides."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from edgewise.errors import DataError

AUTO = "auto"
# A time point at the end, as in patient001_frame01 or case_12_t2; or BIDS, where the subject comes first.
_TIME_POINT = re.compile(r"(.+?)_(?:frame|time|t|ses|visit|scan|tp|phase)[-_]?\d+", re.IGNORECASE)
_BIDS = re.compile(r"(sub-[A-Za-z0-9]+)(?:_.*)?")


@dataclass(frozen=True, kw_only=True)
class Split:
    """Ids to train on and ids to validate on, each sorted."""

    train: tuple[str, ...]
    validation: tuple[str, ...]


def group_of(case: str, pattern: str) -> str:
    """The patient a case belongs to.

    Args:
        case: id of the case.
        pattern: a regular expression; its first group (or the whole match) names the patient. "auto" knows
            `patient001_frame01`, `case_12_t2`, `sub-01_ses-2` and so on; any other id is a patient.

    Raises:
        DataError: the pattern is no regular expression, or does not match.
    """
    if pattern == AUTO:
        match = _BIDS.fullmatch(case) or _TIME_POINT.fullmatch(case)
        return match[1] if match else case
    try:
        match = re.search(pattern, case)
    except re.error as error:
        raise DataError(f"group pattern {pattern!r} is no regular expression: {error}. Correct it.") from error
    name = match and (match[1] if match.re.groups else match[0])
    if not name:
        mend = "Correct it, or use 'auto' or '.+' (each case is a patient of its own)."
        raise DataError(f"group pattern {pattern!r} finds no patient in case id {case!r}. {mend}")
    return name


def folds(ids: Sequence[str], *, folds: int, fold: int, group: str) -> Split:
    """One of several folds; every patient validates in exactly one.

    Args:
        ids: of all cases; their order does not matter.
        folds: how many, at least 2 and at most the number of patients.
        fold: which one, 0 to folds - 1.
        group: pattern for the patient, see `group_of`.

    Raises:
        DataError: fewer than two cases, or folds and patients do not fit.
    """
    groups = _groups(ids, group)
    if not 0 <= fold < folds:
        raise DataError(f"fold {fold} of {folds}: choose one of 0 to {folds - 1}.")
    if folds < 2:
        raise DataError(f"{folds} fold: nothing is left to train on. Choose at least 2.")
    if folds > len(groups):
        named = ", ".join(sorted(groups)[:5]) + (", ..." if len(groups) > 5 else "")
        mend = "Choose fewer folds, or another `group` pattern ('.+' takes each case as a patient)."
        raise DataError(f"{folds} folds of {len(groups)} patients ({named}) in {len(ids)} cases. {mend}")
    return _split(groups, set(sorted(groups)[fold::folds]))


def fixed(ids: Sequence[str], validation: Sequence[str], group: str) -> Split:
    """The split a list of names asks for.

    Args:
        ids: of all cases.
        validation: case ids or patients (all their cases).
        group: pattern for the patient, see `group_of`.

    Raises:
        DataError: a name is unknown, a patient would be on both sides, or a side is empty.
    """
    groups = _groups(ids, group)
    chosen: set[str] = set()
    for name in validation:
        if name not in groups and name not in ids:
            known = ", ".join(sorted(ids)[:3])
            mend = f"Names are case ids or patients, such as {known}."
            raise DataError(f"the validation list names {name!r}, which is not in the dataset. {mend}")
        chosen |= set(groups.get(name, (name,)))
    for patient, cases in groups.items():
        both = chosen & {*cases}
        if both and both != {*cases}:
            rest = ", ".join(sorted({*cases} - both))
            problem = f"patient {patient!r} would be on both sides: {rest} would train"
            raise DataError(f"{problem}. Name the patient, or all its cases, in the validation list.")
    return _split(groups, {patient for patient, cases in groups.items() if chosen & {*cases}})


def parity(
    ids: Sequence[str], *, of: Literal["number", "position"], train: Literal["even", "odd"], group: str
) -> Split:
    """Every second patient.

    Args:
        ids: of all cases; their order does not matter.
        of: what is even or odd: the last number in the patient's name, or the place among the sorted patients, from 0.
        train: the patients that train; all others validate.
        group: pattern for the patient, see `group_of`.

    Raises:
        DataError: fewer than two cases, a patient without a number, or a side is empty.
    """
    groups = _groups(ids, group)
    numbers = {patient: _number(patient) if of == "number" else place for place, patient in enumerate(sorted(groups))}
    odd = {patient for patient, number in numbers.items() if number % 2}
    return _split(groups, odd if train == "even" else {*groups} - odd)


def _number(patient: str) -> int:
    found = re.findall(r"\d+", patient)
    if not found:
        mend = "Use `of: position`, or a `group` pattern that finds one."
        raise DataError(f"a split by numbers: there is no number in the name of patient {patient!r}. {mend}")
    return int(found[-1])


def _groups(ids: Sequence[str], pattern: str) -> dict[str, list[str]]:
    if len(ids) < 2:
        raise DataError(f"{len(ids)} case cannot be split. Add cases: one to train on, one to validate on.")
    groups: dict[str, list[str]] = {}
    for case in sorted(ids):
        groups.setdefault(group_of(case, pattern), []).append(case)
    return groups


def _split(groups: dict[str, list[str]], validating: set[str]) -> Split:
    train = sorted(case for patient, cases in groups.items() if patient not in validating for case in cases)
    validation = sorted(case for patient in validating for case in groups[patient])
    for side, cases in (("train on", train), ("validate on", validation)):
        if not cases:
            raise DataError(f"this split leaves no case to {side}. Change `split` in the experiment.")
    return Split(train=tuple(train), validation=tuple(validation))
