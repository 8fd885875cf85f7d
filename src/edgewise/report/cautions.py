"""What a reader of the numbers must know: empty masks, and definitions that differ."""

from collections.abc import Sequence

from edgewise.compare.runs import meaning
from edgewise.report.records import RunRecord, Score
from edgewise.report.words import counted


def emptiness(scores: Sequence[Score]) -> str:
    """How many cases have one or both masks empty, in words."""
    both = sum(score.empty == "both" for score in scores)
    one = sum(score.empty in {"prediction", "reference"} for score in scores)
    parts = [f"both empty: {both}" if both else "", f"one empty: {one}" if one else ""]
    return ", ".join(part for part in parts if part)


def conflicts(records: Sequence[RunRecord]) -> dict[str, str]:
    """Metrics that the runs define differently, by column, each with a sentence: these are not compared."""
    result = {}
    for name in dict.fromkeys(name for record in records for name in record.definitions):
        said: dict[str, list[str]] = {}
        for record in records:
            facts = record.definitions.get(name)
            if facts is not None:
                said.setdefault(repr(sorted(meaning(facts).items(), key=str)), []).append(record.name)
        if len(said) > 1:
            sets = {record.name: str(record.definitions.get(name, {}).get("set", "unnamed")) for record in records}
            parts = [f"{', '.join(runs)} ({sets[runs[0]]})" for runs in said.values()]
            result[name] = f"is defined differently by {' and by '.join(parts)}"
    return result


def warnings(records: Sequence[RunRecord]) -> list[str]:
    """What a reader of the metrics must know about empty masks; runs of which the same holds share a sentence."""
    found: dict[tuple[str, str], list[str]] = {}
    for record in records:
        for label, name in list(enumerate(record.classes))[1:]:
            scores = [score for score in record.scores if score.label == label]
            for kind, sentence in _EMPTY.items():
                cases = [score.case for score in scores if score.empty == kind]
                if cases:
                    found.setdefault((f"{name} {sentence}", _of(cases, scores)), []).append(record.name)
    return [f"{', '.join(runs)}: {sentence} in {cases}." for (sentence, cases), runs in found.items()]


_EMPTY = {
    "prediction": "was missed altogether",
    "reference": "was predicted where there is none",
    "both": "is in neither mask",
}


def _of(cases: Sequence[str], scores: Sequence[Score]) -> str:
    shown = ", ".join(cases[:5]) + (" …" if len(cases) > 5 else "")
    return f"{len(cases)} of {counted(len(scores), 'case')} ({shown})"
