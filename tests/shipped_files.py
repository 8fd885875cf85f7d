"""The experiment and study files that come with Edgewise, by name."""

from functools import cache

import yaml

from edgewise.experiment_file import _content, _on_top, load, parse
from edgewise.run.shipped import shipped

ALL = {each.name: each.path for each in shipped() if each.sort == "experiment"}
STUDIES = {each.name: each.path for each in shipped() if each.sort == "study"}
ROOT = next(path for path in ALL["starter/acdc"].parents if path.name == "experiments")


def names(folder):
    return {name.removeprefix(folder) for name in ALL if name.startswith(folder)}


@cache
def experiment(name):
    return load(ALL[name])


@cache
def rows(study):
    """The experiments of a study: each row on top of its base."""
    path = STUDIES[study]
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    made = {}
    for name, own in content["rows"].items():
        changes = dict(own or {})
        base = _content(path.parent / changes.pop("base", content.get("base")), ())
        made[name] = parse({**_on_top(base, changes), "name": name}, f"{path}, row {name}")
    return made
