"""The experiment and study files that come with Edgewise, by name."""

from functools import cache

from edgewise.experiment_file import load
from edgewise.run.shipped import shipped
from edgewise.study.file import load as load_study

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
    """The experiments of a study, by the names of its rows."""
    return {row.name: row.experiment for row in load_study(STUDIES[study]).rows}
