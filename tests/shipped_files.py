"""The experiment files that come with Edgewise, by name."""

from edgewise.experiment_file import load
from edgewise.run.shipped import shipped

ALL = {each.name: each.path for each in shipped()}
ROOT = next(path for path in ALL["starter/acdc"].parents if path.name == "experiments")


def names(folder):
    return {name.removeprefix(folder) for name in ALL if name.startswith(folder)}


def experiment(name):
    return load(ALL[name])
