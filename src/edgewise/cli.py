"""The command line: verbs only. Everything that describes an experiment lives in its file.

Torch and all that needs it are imported inside the verbs, so that `--help` answers at once.
"""

import json
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Literal

from cyclopts import App, CycloptsError, Parameter

from edgewise import __version__
from edgewise.exits import DONE, WRONG_INPUT, exit_code, named

app = App(
    name="edgewise",
    version=__version__,
    help="Train, apply and compare segmentation networks with distance maps.",
    suppress_keyboard_interrupt=False,  # `exits` says how to go on
)

Catalogue = Literal["losses", "maps", "networks", "methods", "metrics", "engines", "definitions", "experiments"]


@app.command
def demo(*, out: Path = Path("demo"), cases: int = 24, steps: int = 450) -> int:
    """Make phantoms, train two losses on them, compare, and write a report. A few minutes, no data needed.

    Args:
        out: folder to write into.
        cases: how many phantoms; a third of them validates.
        steps: training steps of each of the two networks.
    """
    from edgewise.demo import run

    print(run(out, cases=cases, steps=steps))
    return DONE


@app.command
def check(data: Path) -> int:
    """Say whether a dataset is usable; name every defect with its file and how to mend it.

    Args:
        data: dataset folder.
    """
    from edgewise.run.check import check as run

    return DONE if run(data) else WRONG_INPUT


@app.command
def fit(
    experiment: Path,
    *,
    data: Path,
    out: Path,
    fold: int | Literal["file"] = "file",
    resume: bool = False,
    set: Annotated[list[str], Parameter(negative=())] | None = None,  # noqa: A002 - the option's name
    cache: Path | Literal["default"] = "default",
) -> int:
    """Train a network on a folder of labelled scans, then evaluate it on the validation cases.

    Args:
        experiment: experiment file (YAML), or the name of one that `edgewise list experiments` shows.
        data: dataset folder.
        out: run folder to create.
        fold: which fold validates; "file" takes what the experiment says.
        resume: go on with the interrupted run in `out`.
        set: one-off changes of the experiment, such as `--set loss.kind=dice`; may be repeated.
        cache: where prepared volumes are kept; "default" is `$EDGEWISE_CACHE` or `~/.cache/edgewise`.
    """
    from edgewise.experiment import with_fold
    from edgewise.experiment_file import load
    from edgewise.run.fit import Workplace, default_cache, run
    from edgewise.run.processes import leads
    from edgewise.run.shipped import located

    place = Workplace(
        data=data,
        out=out,
        cache=default_cache() if cache == "default" else cache,
        command=shlex.join(["edgewise", *sys.argv[1:]]),
    )
    chosen = load(located(experiment), set or ())
    failures = run(chosen if fold == "file" else with_fold(chosen, fold), place, resume=resume)
    if leads():
        print(out)
    return named(failures)


@app.command
def predict(run: Path, images: Annotated[list[Path], Parameter(negative=())], *, out: Path) -> int:
    """Segment images with a trained run; every mask lies on its image's own grid.

    Args:
        run: run folder made by `edgewise fit`.
        images: image files, folders of DICOM slices, or folders of both.
        out: folder for the masks.
    """
    from edgewise.run.predict import predict as work

    failures = work(run, images, out)
    print(out)
    return named(failures)


@app.command
def export(run: Path, *, out: Path) -> int:
    """Write the trained network alone, as a file that other programs run: ONNX, or a program of torch.export.

    Args:
        run: run folder made by `edgewise fit`.
        out: file ending in .onnx (needs the extra `onnx`) or .pt2; how to use it is written beside it as JSON.
    """
    from edgewise.run.export import export as work

    print(work(run, out))
    return DONE


@app.command
def surfaces(
    prediction: Path,
    reference: Path,
    *,
    out: Path,
    of: Annotated[str, Parameter(name="--class")] = "all",
    ending: Annotated[Literal["vtp", "ply", "glb"], Parameter(name="--format")] = "vtp",
) -> int:
    """Write surfaces of predicted masks, coloured by their distance to the reference, for 3D Slicer or ParaView.

    Args:
        prediction: predicted mask, or a folder of them.
        reference: reference mask, or a folder of masks of the same names.
        out: file ending in .vtp, .ply or .glb, or a folder for one file a case and class.
        of: class to write, by name or number; "all" is every class that both masks hold.
        ending: format of the files in a folder.
    """
    from edgewise.run.surfaces import surfaces as work

    failures = work(prediction, reference, out, chosen=of, ending=ending)
    print(out)
    return named(failures)


@app.command
def evaluate(
    predictions: Path,
    references: Path,
    *,
    out: Path | Literal["none"] = "none",
    definitions: str = "default",
    tolerance: float = 2.0,
    metrics: str = "all",
    empty: Literal["worst", "skip", "nan"] = "worst",
    workers: int | Literal["auto"] = "auto",
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Score predicted masks against reference masks of the same names.

    Args:
        predictions: folder of predicted masks, or one mask.
        references: folder of reference masks, one mask, or the folder of a dataset.
        out: table of every case and class, .csv or .parquet; a summary is written beside it as JSON.
        definitions: whose definitions the metrics follow; see `edgewise list definitions`.
        tolerance: of the metrics that forgive small distances, in mm; a challenge that fixes its own keeps it.
        metrics: columns to measure, such as `dice,hd95`; see `edgewise list metrics`.
        empty: what an infinite or undefined value, as empty masks give, counts in means: the worst value there is,
            nothing (it is skipped), or it makes the mean undefined.
        workers: processes that score cases; "auto" is one a core where that pays.
        as_json: print the summary as JSON.
    """
    from edgewise.run.evaluate import Wanted
    from edgewise.run.evaluate import evaluate as work

    wanted = Wanted(
        definitions=definitions,
        tolerance=tolerance,
        metrics=() if metrics == "all" else tuple(metrics.replace(",", " ").split()),
        policy=empty,
        workers=workers,
        output="json" if as_json else "table",
    )
    return named(work(predictions, references, out, wanted))


@app.command
def study(
    file: Path,
    *,
    data: Path,
    out: Path,
    set: Annotated[list[str], Parameter(negative=())] | None = None,  # noqa: A002 - the option's name
    engine: str = "file",
    cache: Path | Literal["default"] = "default",
    dry_run: bool = False,
) -> int:
    """Train every row of a study for every fold and seed, compare them, and write one report.

    The same command goes on after an interruption or a failure; parts that are done are never run again.

    Args:
        file: study file (YAML), or the name of one that `edgewise list experiments` shows.
        data: dataset folder.
        out: study folder to create, or to go on with.
        set: one-off changes of the study, such as `--set minutes=60` or `--set seeds=[0,1]`, or of the experiment that
            its rows start from, such as `--set training.steps=500`; may be repeated. Go on with the same ones.
        engine: where to work: `local`, `slurm`, `ray`, or one with settings, such as `{kind: local, slots: 4}`;
            "file" takes what the study says.
        cache: where prepared volumes are kept; "default" is `$EDGEWISE_CACHE` or `~/.cache/edgewise`.
        dry_run: only list the parts, with estimates of time and disk: a few steps of each row are tried.
    """
    from dataclasses import replace

    from edgewise.run.fit import default_cache
    from edgewise.study.file import engine_of, load
    from edgewise.study.work import Workplace, forecast
    from edgewise.study.work import study as work

    place = Workplace(
        data=data,
        out=out,
        cache=default_cache() if cache == "default" else cache,
        command=shlex.join(["edgewise", *sys.argv[1:]]),
    )
    found = load(file, set or ())
    found = found if engine == "file" else replace(found, engine=engine_of(engine))
    if dry_run:
        forecast(found, place)
        return DONE
    failures = work(found, place)
    print(out)
    return named(failures)


@app.command
def compare(
    runs: Annotated[list[Path], Parameter(negative=())],
    *,
    metrics: str = "primary",
    group: str = "auto",
    as_json: Annotated[bool, Parameter(name="--json")] = False,
) -> int:
    """Say which of several runs is better, and whether the difference is real: paired statistics over their cases.

    Args:
        runs: run folders, a folder of them, or tables (.csv) that `edgewise evaluate` wrote. Runs whose experiments
            differ in name and seed only are one method with several seeds.
        metrics: columns to compare, such as `dice,hd95`; "primary" is dice, hd95 and nsd.
        group: regular expression that finds the patient in a case id of a table; "auto" knows ids such as
            patient001_frame01 and sub-01_ses-2, "none" takes each case as a patient. Runs have their own.
        as_json: print everything as one JSON object.
    """
    from edgewise.run.compare import Wanted
    from edgewise.run.compare import compare as work

    wanted = Wanted(
        metrics=() if metrics == "primary" else tuple(metrics.replace(",", " ").split()),
        group=group,
        output="json" if as_json else "table",
    )
    work(runs, wanted)
    return DONE


@app.command
def report(runs: Annotated[list[Path], Parameter(negative=())], *, out: Path | Literal["run"] = "run") -> int:
    """Write one self-contained HTML page about a run, about several runs compared with each other, or about a study.

    Args:
        runs: run folders, one folder that holds them, or a study folder, whose study need not have ended.
        out: HTML file; "run" writes report.html into the (first) folder given.
    """
    from edgewise.run.report import report as work
    from edgewise.study.report import is_study
    from edgewise.study.report import report as of_study

    print(of_study(runs[0], out) if len(runs) == 1 and is_study(runs[0]) else work(runs, out))
    return DONE


@app.command
def maps(
    labels: Path,
    *,
    kind: str,
    out: Path,
    set: Annotated[list[str], Parameter(negative=())] | None = None,  # noqa: A002 - the option's name
    classes: int | Literal["auto"] = "auto",
    channels: Literal["fewest", "all"] = "fewest",
    units: Literal["mm", "voxels"] = "mm",
) -> int:
    """Write a distance map of a label file as NIfTI, on the grid of the labels.

    Args:
        labels: label file.
        kind: which map; see `edgewise list maps`.
        out: NIfTI file to write, float32; several channels lie on its fourth axis.
        set: a parameter of the map, such as `--set per=component`; may be repeated.
        classes: number of classes, background included; "auto" is the largest label plus one.
        channels: "fewest" writes one channel where one can hold the map, "all" one channel a class.
        units: measure in mm, or in voxels.
    """
    from edgewise.experiment_file import component
    from edgewise.maps.base import DistanceMap
    from edgewise.run.maps import maps as work

    recipe = component(DistanceMap, kind, set or ())  # type: ignore[type-abstract]
    print(work(labels, recipe, out, classes=classes, channels=channels, units=units))
    return DONE


@app.command
def gradients(
    runs: Annotated[list[Path], Parameter(negative=())] | None = None,
    *,
    out: Path,
    loss: Annotated[list[str], Parameter(negative=())] | None = None,
    case: Annotated[list[str], Parameter(negative=())] | None = None,
    true: int = 2,
    voxel: Literal["deep", "edge"] = "deep",
    others: Literal["reference", "same", "even"] = "reference",
    values: Annotated[list[str], Parameter(negative=())] | None = None,
) -> int:
    """Show which way the gradient of a loss moves each class: over the simplex of three classes, or on real slices.

    Without runs: at every point of the simplex. With runs: on a validation case, at each of `training.snapshots` (else
    at the best checkpoint). Exactly one component should be negative, that of the true class.

    Args:
        runs: run folders, or folders of them.
        out: folder for figures (PNG, SVG) and numbers (gradients.json, gradients.csv).
        loss: a kind, or a YAML mapping such as '{kind: region_wise, map: {kind: boundary}}'; may be repeated. Left out:
            of runs their own; else region_wise with the boundary map and with its own, and cross_entropy.
        case: with runs: a validation case, or "all"; may be repeated. The first is drawn, the numbers are of all. Left
            out: the first validation case.
        true: without runs: the true class, 0, 1 or 2.
        voxel: without runs: whether the voxel lies deep in its class or at its edge.
        others: without runs: what all other voxels predict meanwhile: their reference, the same as this one, or all
            classes evenly.
        values: without runs: what the loss's map holds at the voxel instead of the map of a small drawing, such as
            10,20,-3, or "built"; once for all losses, or once for each in their order.
    """
    from edgewise.run.gradients import Voxel, losses, simplex

    if runs:
        from edgewise.run.slice_gradients import of_runs

        lines = of_runs(runs, losses(loss or ()), tuple(case or ()), out)
    else:
        place = Voxel(true=true, depth=voxel, others=others, values=tuple(values or ()))
        lines = simplex(losses(loss or ()), place, out)
    print("\n".join([str(out), *lines]))
    return DONE


@app.command(name="list")
def list_(
    what: Catalogue | Literal["schema"] = "losses",
    *,
    as_json: Annotated[bool, Parameter(name="--json")] = False,
    schema: bool = False,
) -> int:
    """List the components that an experiment file may name, or the experiments that come with Edgewise.

    Args:
        what: which catalogue.
        as_json: print objects with kind, source, needs, parameters and summary; for experiments with name, sort,
            path, summary, claims and rows.
        schema: print the JSON schema of the experiment file instead.
    """
    from edgewise.run.listing import describe, lines

    if schema or what == "schema":
        from edgewise.experiment import schema as experiment_schema

        print(json.dumps(experiment_schema(), indent=1))
    elif as_json:
        print(json.dumps(describe(what), indent=1))
    else:
        print("\n".join(lines(what)))
    return DONE


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command line; end the process with the verb's exit code."""
    sys.exit(exit_code(lambda: _answer(arguments)))


def _answer(arguments: Sequence[str] | None) -> int:
    try:
        code = app(arguments, result_action="return_value", exit_on_error=False, print_error=True)
        return DONE if code is None else int(code)  # None: `--help` and `--version` have answered
    except CycloptsError:  # cyclopts has printed what is wrong with the command line
        return WRONG_INPUT
