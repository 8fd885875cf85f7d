"""`edgewise export`: the trained network alone, as a file that other programs run."""

import io
import json
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, TypeAlias

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from edgewise import __version__
from edgewise.console import say
from edgewise.errors import OutputError
from edgewise.experiment import digest, dump
from edgewise.files import atomic, output_folder, write_json
from edgewise.inference.two_stage import TwoStage
from edgewise.run.folder import RunFolder
from edgewise.run.trained import Trained, load
from edgewise.training.arithmetic import Arithmetic

INPUT, OUTPUT, FACTS = "image", "logits", "edgewise.json"
TOLERANCE = 1e-4
"""Largest difference of the logits of the file from those of the network, as a share of the largest (at least 1)."""
TRACED = 2
"""Patches in the batch that is traced: a batch of one would fix its size."""

Run: TypeAlias = Callable[[Tensor], Tensor]


@dataclass(frozen=True, kw_only=True)
class Format:
    """A kind of file.

    Attributes:
        needs: packages that must be installed.
        write: writes the traced network and the facts about it.
        read: reads it again, as a function from images to logits.
    """

    needs: tuple[str, ...]
    write: Callable[[ExportedProgram, str, Path], None]
    read: Callable[[Path], Run]


def export(run: Path, out: Path) -> Path:
    """Write the network that predicts: the best checkpoint, with its averaged weights, in float32.

    Whatever training alone needed (LR-Net, a second decoder, coarse heads) is not part of it. The batch size is free,
    the patch is that of the plan. After writing, the file is read again and compared with the network on random
    patches; a file that differs is not kept. Facts on how to prepare images and read the logits lie beside the file
    as JSON, and in it.

    Args:
        run: folder of a trained run.
        out: file to write, `.onnx` or `.pt2`.

    Returns:
        `out`; beside it lies the same name with the ending `.json`.

    Raises:
        OutputError: `out` has another ending, cannot be written, or differs from the network; a package is missing;
            the run has a network of two stages.
        RunError: `run` is no run, or has no checkpoint.
    """
    form = _format(out)
    trained = load(RunFolder(path=run))
    if isinstance(trained.network, TwoStage):
        raise OutputError(
            f"{run} holds a network of two stages ({trained.experiment.method.kind}), which looks at whole images and "
            "at as many regions as it finds: no file of one fixed computation. Use `edgewise predict`."
        )
    patch = (len(trained.channels), *trained.plan.patch)
    network = Arithmetic(memory_format="contiguous", threads=1).placed(
        trained.network, torch.device("cpu"), trained.plan.dimensions
    )
    facts = described(trained)
    with atomic(out) as temporary:
        form.write(traced(network, patch), json.dumps(facts), temporary)
        gap = difference(network, form.read(temporary), patch)
        if not gap <= TOLERANCE:
            raise OutputError(
                f"{out} was not kept: its logits differ from those of the network by {gap:.2g} of the largest, more "
                f"than {TOLERANCE:g}. Choose the other format ({' or '.join(FORMATS)})."
            )
    write_json(out.with_suffix(".json"), facts)
    say(f"the logits of {out} differ from those of the network by at most {gap:.1g} of the largest")
    return out


def traced(network: nn.Module, patch: tuple[int, ...]) -> ExportedProgram:
    """The computation of a network on a batch of patches of any number.

    Args:
        network: in evaluation mode, on the CPU.
        patch: channels and sides.
    """
    image = torch.zeros(TRACED, *patch)
    with torch.no_grad():
        program = torch.export.export(network, (image,), dynamic_shapes=({0: torch.export.Dim("batch")},))
    program.example_inputs = None  # a batch of patches would make the file many MB larger
    for node in program.graph.nodes:
        node.meta.pop("stack_trace", None)  # nobody's business where the source lay on this machine
    return program


def difference(network: nn.Module, other: Run, patch: tuple[int, ...]) -> float:
    """The largest difference of the logits on random patches, as a share of the largest logit (at least 1).

    Batches of one and of two patches are tried. Returns `nan` if either gives NaN.
    """
    generator = torch.Generator().manual_seed(0)
    gaps = []
    for size in (1, 2):
        image = torch.randn(size, *patch, generator=generator)
        with torch.inference_mode():
            expected = network(image)
            found = other(image)
        gaps.append((found - expected).abs().amax() / expected.abs().amax().clamp(min=1))
    return float(torch.stack(gaps).amax())


def described(trained: Trained) -> dict[str, Any]:
    """What an engineer must know to run the network: plain data, ready for JSON."""
    plan, experiment = trained.plan, trained.experiment
    patch, plain = list(plan.patch), dump(experiment)
    return {
        "edgewise": __version__,
        "experiment": experiment.name,
        "digest": digest(experiment),
        "method": experiment.method.kind,
        "network": plain["network"],
        "parameters": sum(parameter.numel() for parameter in trained.network.parameters()),
        "classes": list(trained.classes),
        "channels": list(trained.channels),
        "input": {"name": INPUT, "type": "float32", "shape": ["batch", len(trained.channels), *patch]},
        "output": {"name": OUTPUT, "type": "float32", "shape": ["batch", len(trained.classes), *patch]},
        "patch": patch,
        "axes": ["xyz"[axis] for axis in plan.axes],
        "spacing_mm": list(plan.spacing),
        "preparation": _plain(asdict(plan.preparation())),
        "inference": {**plain["inference"], "mirrored": list(experiment.augmentation.mirrored(plan.dimensions))},
        "postprocessing": plain["postprocessing"],
        "how": list(_STEPS[plan.dimensions]),
    }


_BEFORE = (
    "Turn the image to the axes x (to the right), y (to the front), z (upwards): the closest RAS+ orientation.",
    "Prepare it as `preparation` says: crop, order of the axes, intensity of each channel, then resampling to "
    "`spacing_mm`, which like `patch` is in the order `axes`. (`edgewise.data.transform.transform` does all this.)",
)
_AFTER = (
    "Sum the softmax of `logits` over the windows, weighted with a Gaussian of an eighth of the window about its "
    "centre, and divide by the sum of the weights. Images smaller than a window are padded with 0.",
    "Resample the probabilities linearly to the grid before the resampling; the class of a voxel is the largest, its "
    "number the index in `classes`. Undo the crop (background) and the order of the axes.",
    "Mend the labels as `postprocessing` says. (`edgewise.inference.postprocess.postprocess` does this.)",
)
_STEPS = {
    2: (
        *_BEFORE,
        "Cut slices along the first axis, and windows of `patch` with the share `overlap` in common.",
        *_AFTER,
    ),
    3: (*_BEFORE, "Cut it into windows of `patch` that overlap by `overlap`.", *_AFTER),
}


def _format(out: Path) -> Format:
    """The format of a file that can be written: a problem is said before the work, not after it."""
    form = FORMATS.get(out.suffix.lower())
    if form is None or out.is_dir():
        raise OutputError(f"cannot export to {out}. Choose a file that ends in {' or '.join(FORMATS)}.")
    missing = [package for package in form.needs if find_spec(package) is None]
    if missing:
        raise OutputError(
            f"cannot write {out}: {', '.join(missing)} is not installed. Install it (pip install 'edgewise[onnx]'), or "
            "choose a file that ends in .pt2."
        )
    output_folder(out.parent)
    return form


def _write_pt2(program: ExportedProgram, facts: str, path: Path) -> None:
    content = io.BytesIO()  # written to a file, the archive would hold the name of that temporary file
    torch.export.save(program, content, extra_files={FACTS: facts})
    path.write_bytes(content.getbuffer())


def _read_pt2(path: Path) -> Run:
    module: Run = torch.export.load(path).module()
    return module


def _write_onnx(program: ExportedProgram, facts: str, path: Path) -> None:
    with warnings.catch_warnings(), _quiet(logging.getLogger("torch.onnx")):
        warnings.simplefilter("ignore", FutureWarning)  # of torch about itself
        converted = torch.onnx.export(program, input_names=[INPUT], output_names=[OUTPUT], verbose=False)
    assert converted is not None
    converted.model.metadata_props[FACTS] = facts
    for node in converted.model.graph:
        node.metadata_props.clear()  # where each operator came from: half of the file of a small network
    converted.save(path, external_data=False)


@contextmanager
def _quiet(logger: logging.Logger) -> Iterator[None]:
    """No warnings, such as about torchvision, which nobody needs."""
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(before)


def _read_onnx(path: Path) -> Run:
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda image: torch.from_numpy(session.run([OUTPUT], {INPUT: image.numpy()})[0])


FORMATS = {
    ".onnx": Format(needs=("onnx", "onnxscript", "onnxruntime"), write=_write_onnx, read=_read_onnx),
    ".pt2": Format(needs=(), write=_write_pt2, read=_read_pt2),
}


def _plain(value: Any) -> Any:
    """Tuples as lists."""
    if isinstance(value, dict):
        return {key: _plain(entry) for key, entry in value.items()}
    return [_plain(entry) for entry in value] if isinstance(value, tuple | list) else value
