"""Writes docs/reference/{losses,maps,methods,metrics,networks}.md from the catalogues: `make reference`."""

import inspect
from collections.abc import Callable
from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from edgewise.catalog import discover
from edgewise.losses import LOSSES
from edgewise.maps import MAPS
from edgewise.methods import Method
from edgewise.metrics import METRICS
from edgewise.metrics.base import Metric
from edgewise.networks import Network, Topology
from edgewise.networks.lnet import LNet
from edgewise.networks.resnet import Encoder
from edgewise.networks.resnet_fcn import ResNetFCN
from edgewise.networks.resnet_unet import ResNetUNet
from edgewise.run.listing import describe

REFERENCE = Path(__file__).parent / "reference"
INTRODUCTION = {
    "losses": """# Losses

Every loss of the catalogue, from its own docstring (`make reference`). All are called alike:
`loss(logits, labels, spacing=...)` or `loss(logits, truth)`; in an experiment file, `loss: {kind: ...}` with the
parameters as keys. $p$ are the probabilities (softmax of the logits), $y$ the labels, 0 or 1 for each class; there are
$B$ images and $C$ classes with the background; $x$ are voxels, $\\Omega$ is the image. How fast each is:
[benchmarks](../explanation/benchmarks.md).
""",
    "maps": """# Distance maps

Every map of the catalogue, from its own docstring (`make reference`). All are called alike:
`edgewise.maps.KIND(labels, classes=..., spacing=...)`, with parameters `edgewise.maps.Class(...)(labels, ...)`; on the
command line `edgewise maps LABELS --kind KIND --set PARAMETER=VALUE --out FILE`. Pictures:
[the gallery](../explanation/maps.md).
""",
    "networks": """# Networks

Every network of the catalogue, from its own docstring (`make reference`). In an experiment file,
`network: {kind: ...}` with the parameters as keys. Strides, kernels and widths come from the [plan](run_folder.md).
The default is `residual_unet`; `mnet`, `vnet` and `rdd` are those of papers.

## How large they are

Weights, and multiply-adds of the convolutions for one patch of 64 × 64 × 64 voxels, in evaluation mode, with default
parameters, one image channel and two classes. Every kernel of the plan is 3 × 3 × 3 (a V-Net makes it 5 × 5 × 5).
ResNets have widths of their own, the same in every column.

""",
    "methods": """# Methods

Every method of the catalogue, from its own docstring (`make reference`): how networks are trained together. In an
experiment file, `method: {kind: ...}` with the parameters as keys. $L_{seg}$ is the experiment's loss, $p$ are the
probabilities, $y$ the labels. What the papers say and what was decided: [the methods](../explanation/methods.md).
""",
    "metrics": """# Metrics

Every metric of the catalogue, from its own docstring (`make reference`). `edgewise.metrics.evaluate` and
`edgewise evaluate` have a column for each, under its kind; those marked "preset only" stand in the definitions of a
challenge and not in the default ones. $P$ is the prediction, $R$ the reference, $d_{PR}$ the distances from the border
of one to that of the other. Whose definitions there are: `edgewise list definitions`, and
[how they differ](../explanation/correctness.md).
""",
}


SIZED = {
    "widths 8, 16, 32, 64, 128, each level halved (the LR-Net paper's)": ((1, 2, 2, 2, 2), (8, 16, 32, 64, 128)),
    "widths 16, 32, 64, 128, 256, each level halved (the V-Net paper's)": ((1, 2, 2, 2, 2), (16, 32, 64, 128, 256)),
    "widths 16, 64, 128, 256, halved before the first level (a plan for a CPU)": ((2, 2, 2, 2), (16, 64, 128, 256)),
}
"""Topologies whose cost is printed: strides and widths of the levels."""
ON_RESNET: dict[str, Network | LNet] = {
    "L-Net, `decoder: unet`": LNet(),
    "L-Net, `decoder: fcn`": LNet(decoder="fcn"),
    "`resnet_unet`, `depth: 18`": ResNetUNet(encoder=Encoder()),
    "`resnet_unet`": ResNetUNet(),
    "`resnet_fcn`, `depth: 18`": ResNetFCN(encoder=Encoder()),
    "`resnet_fcn`": ResNetFCN(),
}
"""Networks whose widths are their own."""
RESNETS = """
L-Net, which locates what the method `lsnet` segments, and the two segmentation networks on a ResNet: for an RGB image
of 512 × 512 pixels and one output channel (of the L-Net, one class of objects), as in the paper, and for a volume of
128 × 128 × 128 voxels with one channel. The paper has 14.50 million weights with an L-Net in the first stage, and 14.33
with a U-Net.

| network | 512 × 512, RGB | 128 × 128 × 128 |
|---|---|---|
"""
ENCODER = """
The settings of all three under `encoder:`:

| parameter | default | meaning |
|---|---|---|
"""


def page(what: str, catalogue: dict[str, type[Any]]) -> str:
    """The reference page of one catalogue."""
    rows = {row["kind"]: row for row in describe(what)}
    sizes = size_table(catalogue) + RESNETS + resnet_rows() if what == "networks" else ""
    return "\n".join([INTRODUCTION[what] + sizes, *(entry(cls, rows[kind]) for kind, cls in catalogue.items())])


def size_table(networks: dict[str, type[Network]]) -> str:
    """Weights and multiply-adds of every network on each of the sized topologies."""
    lines = [
        f"| network | {' | '.join(SIZED)} |",
        f"|---|{'---|' * len(SIZED)}",
        *(
            f"| `{kind}` | {' | '.join(size(cls(), *shape) for shape in SIZED.values())} |"
            for kind, cls in networks.items()
        ),
    ]
    return "\n".join([*lines, ""])


def size(network: Network, strides: tuple[int, ...], widths: tuple[int, ...]) -> str:
    """Weights and multiply-adds of one network; nothing is computed but shapes."""
    shape = Topology(
        channels=1,
        classes=2,
        strides=tuple((stride,) * 3 for stride in strides),
        kernels=((3, 3, 3),) * len(widths),
        widths=widths,
    )
    return cost(lambda: network.build(shape), (1, 64, 64, 64))


def resnet_rows() -> str:
    """Weights and multiply-adds of the networks on a ResNet, in 2D and 3D."""
    lines = []
    for name, network in ON_RESNET.items():
        costs = [on_resnet(network, image) for image in ((3, 512, 512), (1, 128, 128, 128))]
        lines.append(f"| {name} | {' | '.join(costs)} |\n")
    meanings = _meanings(_attributes(inspect.getdoc(Encoder) or ""))
    settings = [f"| `{each.name}` | `{each.default}` | {meanings[each.name]} |\n" for each in fields(Encoder)]
    return "".join([*lines, ENCODER, *settings])


def on_resnet(network: Network | LNet, image: tuple[int, ...]) -> str:
    """Weights and multiply-adds of one of them for an image (K, *space)."""
    channels, dims = image[0], len(image) - 1
    if isinstance(network, LNet):
        return cost(lambda: network.build(channels, 1, dims), image)
    none = ((1,) * dims,)
    shape = Topology(channels=channels, classes=1, strides=none, kernels=none, widths=(1,))
    return cost(lambda: network.build(shape), image)


def cost(build: Callable[[], nn.Module], image: tuple[int, ...]) -> str:
    """Weights and multiply-adds of a module for an image (K, *space)."""
    counter = FlopCounterMode(display=False)
    with torch.device("meta"), counter:
        module = build().eval()
        module(torch.empty(1, *image))
    weights = sum(each.numel() for each in module.parameters())
    return f"{weights:,} weights, {counter.get_total_flops() / 2e9:.2f} G multiply-adds"


def entry(cls: type[Any], row: dict[str, Any]) -> str:
    """One component: heading, docstring, parameters, source."""
    body, _, attributes = (inspect.getdoc(cls) or "").partition("Attributes:")
    meanings = _meanings(_attributes(inspect.getdoc(cls) or ""))
    attributes, _, after = attributes.partition("\nRaises:")
    body, _, example = body.partition("Example:\n")
    example = example or (attributes + after).partition("Example:\n")[2]
    lines = [f"## `{row['kind']}` · {cls.__name__}", "", body.strip(), "", *_example(example), *_properties(cls)]
    names = [each.name for each in fields(cls) if each.name != "kind"]
    if names:
        lines += ["| parameter | default | meaning |", "|---|---|---|"]
        lines += [f"| `{name}` | `{_short(row['parameters'][name])}` | {meanings.get(name, '')} |" for name in names]
        lines.append("")
    needs = f" Maps by default: {', '.join(f'`{need}`' for need in row['needs'])}." if row["needs"] else ""
    return "\n".join([*lines, f"Source: {row['source']}.{needs}", ""])


def _example(text: str) -> list[str]:
    """A docstring's example as a code block; nothing for none."""
    return ["```python", inspect.cleandoc("\n" + text), "```", ""] if text.strip() else []


def _properties(cls: type[Any]) -> list[str]:
    """What a table of numbers must say about a metric; nothing for other components."""
    if not issubclass(cls, Metric):
        return []
    metric = cls()
    unit = "Without unit" if metric.unit == "1" else f"In {metric.unit}"
    better = {"neither": "describes only", "zero": "zero is best"}.get(metric.better, f"{metric.better} is better")
    empty = ", ".join(f"{name} {value}" for name, value in zip(EMPTY, _stated(metric.empty), strict=True))
    only = "" if cls.in_default else " Preset only."
    return [f"{unit}; {better}. Empty masks: {empty}.{only}", ""]


EMPTY = ("both", "prediction", "reference")


def _stated(empty: Any) -> list[str]:
    values = (getattr(empty, name) for name in EMPTY)
    return [f"{value:g}" if isinstance(value, float) else f"by {value}" for value in values]


def _attributes(docstring: str) -> str:
    """What stands under `Attributes:` there."""
    return docstring.partition("Attributes:")[2].partition("\nRaises:")[0].partition("\nExample:")[0]


def _meanings(attributes: str) -> dict[str, str]:
    """What a docstring's `Attributes:` say of each, with the pipe that would end a table's cell escaped."""
    found: dict[str, str] = {}
    name = ""
    for line in inspect.cleandoc("\n" + attributes).splitlines():
        if line and not line.startswith(" "):
            name, _, rest = line.partition(":")
            found[name] = rest.strip()
        elif line and name:
            found[name] += " " + line.strip()
    return {key: value.replace("|", "\\|") for key, value in found.items()}


def _short(value: object) -> str:
    return str(value) if value not in {"", ()} else "none"


def pages() -> dict[Path, str]:
    """Every generated page and its file."""
    return {
        REFERENCE / "losses.md": page("losses", LOSSES),
        REFERENCE / "maps.md": page("maps", MAPS),
        REFERENCE / "methods.md": page("methods", discover(Method)),  # type: ignore[type-abstract]
        REFERENCE / "metrics.md": page("metrics", METRICS),
        REFERENCE / "networks.md": page("networks", discover(Network)),  # type: ignore[type-abstract]
    }


if __name__ == "__main__":
    for path, content in pages().items():
        path.write_text(content, encoding="utf-8")
