"""The ResNet encoder that three networks share, and the ImageNet weights it may start from."""

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass, replace
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, TypeVar, cast

import torch
from pydantic import Field
from torch import Tensor, nn
from typing_extensions import override

from edgewise.errors import ExperimentError, RunError
from edgewise.networks.layers import replace_layers
from edgewise.networks.small_grids import Norm, hold_on_small_grids

S = TypeVar("S")
BLOCKS: Mapping[int, tuple[int, int, int, int]] = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3)}
"""Residual blocks of the four stages, by depth."""
WIDTHS = (64, 128, 256, 512)
"""Channels of the four stages."""
COLOURS = 3
"""Channels of the images of ImageNet."""
STEM = "conv1.weight"
COUNTER = "num_batches_tracked"


@dataclass(frozen=True, kw_only=True)
class Encoder:
    """Settings of a ResNet encoder: a 7x7 stem and a pooling, both of stride 2, and four stages of residual blocks.

    It is MONAI's with torchvision's shortcuts, bias and names, in 2D or 3D, for images of any size: a grid of stride s
    has ceil(side / s) cells.

    Attributes:
        depth: convolutions, as the paper counts them.
        width: channels in multiples of the paper's 64, 128, 256, 512, rounded to a multiple of 8; less for a CPU.
        norm: batch, as in the paper, or instance normalisation.
        weights: random, or a file with the `state_dict` of torchvision's network of this depth, trained on ImageNet.
            That takes 2D, width 1 and batch norm. For other than 3 image channels the kernels of the stem are summed
            over the colours and shared out evenly: alike channels then give what a grey picture gave.

    Raises:
        ExperimentError: weights from a file for a network that they cannot fit.

    Source: He et al. 2016, doi:10.1109/CVPR.2016.90.
    """

    __pydantic_config__: ClassVar = {"extra": "forbid"}
    depth: Literal[18, 34] = 18
    width: Annotated[float, Field(gt=0)] = 1.0
    norm: Norm = "batch"
    weights: Path | Literal["random"] = "random"

    def __post_init__(self) -> None:
        if self.weights != "random" and (self.width != 1 or self.norm != "batch"):
            raise ExperimentError(
                f"encoder: weights from a file have width 1 and batch norm; this one has width {self.width:g} and "
                f"{self.norm} norm. Leave these two at their defaults, or write `weights: random`."
            )

    @property
    def widths(self) -> tuple[int, ...]:
        """Channels of the features that the network gives: at strides 2, 4, 8, 16, 32."""
        stages = [max(8, round(self.width * width / 8) * 8) for width in WIDTHS]
        return (stages[0], *stages)

    def build(self, channels: int, dims: int) -> nn.Module:
        """A module: image (B, K, *space) -> list of the features at strides 2, 4, 8, 16, 32.

        Raises:
            ExperimentError: weights from a file for a 3D network.
            RunError: the file is missing or does not fit.
        """
        network = _Encoder(self, channels, dims)
        if self.weights != "random":
            network.load_state_dict({**network.state_dict(), **read(self, channels, dims)})
        return network


class _Encoder(nn.Module):
    def __init__(self, settings: Encoder, channels: int, dims: int) -> None:
        from monai.networks.nets.resnet import ResNet

        super().__init__()
        whole = ResNet(
            "basic",
            list(BLOCKS[settings.depth]),
            list(settings.widths[1:]),
            spatial_dims=dims,
            n_input_channels=channels,
            conv1_t_stride=2,
            shortcut_type="B",
            bias_downsample=False,
            feed_forward=False,
        )
        self.conv1, self.bn1, self.act, self.maxpool = whole.conv1, whole.bn1, whole.act, whole.maxpool
        self.layer1, self.layer2, self.layer3, self.layer4 = whole.layer1, whole.layer2, whole.layer3, whole.layer4
        # MONAI passes a norm to its stem alone, and torch's fails where one voxel is left.
        hold_on_small_grids(self, settings.norm, dims)
        replace_layers(self)

    @override
    def forward(self, image: Tensor) -> list[Tensor]:
        features = [self.act(self.bn1(self.conv1(image)))]
        x = self.maxpool(features[0])
        for stage in (self.layer1, self.layer2, self.layer3, self.layer4):
            x = stage(x)
            features.append(x)
        return features


def read(encoder: Encoder, channels: int, dims: int) -> Mapping[str, Tensor]:
    """The weights in the file of `encoder`, for an encoder of images with so many channels.

    The classifier is left out, and so is the count of batches, which older files lack.

    Raises:
        ExperimentError: `dims` is not 2.
        RunError: the file is missing, holds no weights, or those of another network.
    """
    path = Path(encoder.weights)
    if dims != 2:
        raise ExperimentError(
            f"encoder: the weights in {path} are those of a 2D network, and this one is {dims}D. "
            "Write `weights: random`, or set plan.dimensions to 2."
        )
    found = {name: value for name, value in _content(path).items() if not name.startswith("fc.")}
    found = {name: value for name, value in found.items() if not name.endswith(COUNTER)}
    with torch.device("meta"):
        expected = _Encoder(encoder, COLOURS, dims).state_dict()
    shapes = {name: value.shape for name, value in expected.items() if not name.endswith(COUNTER)}
    _require_fit(path, encoder, found, shapes)
    if channels != COLOURS:
        found[STEM] = found[STEM].sum(dim=1, keepdim=True).repeat(1, channels, 1, 1) / channels
    return found


def _content(path: Path) -> Mapping[str, Tensor]:
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except OSError as error:
        raise RunError(
            f"cannot read the encoder's weights {path}: {error.strerror or error}. Give the path of a file with the "
            "state_dict of torchvision's resnet18 or resnet34, or write `weights: random`."
        ) from error
    except Exception as error:  # whatever torch's unpickling stumbles over
        raise RunError(f"{path} is no file that torch.save wrote from a state_dict alone. {REMEDY}") from error
    if not isinstance(content, Mapping) or not all(isinstance(value, Tensor) for value in content.values()):
        raise RunError(f"{path} holds {type(content).__name__}, not a state_dict of tensors by name. {REMEDY}")
    return content


REMEDY = "Write it with `torch.save(network.state_dict(), path)`, where network is torchvision's."


def _require_fit(path: Path, encoder: Encoder, found: Mapping[str, Tensor], shapes: Mapping[str, torch.Size]) -> None:
    """Refuse weights of another network, and name the first that does not fit."""
    other = sorted(found.keys() ^ shapes.keys())
    wrong = [name for name in shapes if name in found and found[name].shape != shapes[name]]
    if not other and not wrong:
        return
    if other:
        name = other[0]
        first = f"it has no {name}" if name in shapes else f"its {name} has no place there"
    else:
        name = wrong[0]
        first = f"its {name} is {tuple(found[name].shape)} and not {tuple(shapes[name])}"
    raise RunError(
        f"{path} does not hold torchvision's ResNet-{encoder.depth}: {first} ({len(other) + len(wrong)} such names in "
        "all). Set the encoder's depth to that of the file, or give another file."
    )


def described(encoder: Encoder, channels: int, dims: int) -> str:
    """What the weights of a fresh encoder are, in one sentence for the user.

    Raises:
        ExperimentError: weights from a file for a 3D network.
        RunError: the file is missing or does not fit.
    """
    name = f"ResNet-{encoder.depth}"
    if encoder.weights == "random":
        return f"{name} encoder: random weights"
    count = len(read(encoder, channels, dims))
    stem = "as they are" if channels == COLOURS else f"summed over {COLOURS} colours and shared out to {channels}"
    return (
        f"{name} encoder: {count} tensors from {encoder.weights}, the stem's kernels {stem}; "
        "the file's classifier is left out, and everything after the encoder is random"
    )


def encoders(settings: object) -> tuple[Encoder, ...]:
    """Every ResNet encoder in a tree of settings, such as an experiment."""
    if isinstance(settings, Encoder):
        return (settings,)
    if not is_dataclass(settings):
        return ()
    return tuple(each for field in fields(settings) for each in encoders(getattr(settings, field.name)))


def unread(settings: S) -> S:
    """The same tree of settings with random weights in every encoder: those of a run come from its checkpoint.

    A run can then be loaded, or go on, where the file that it once started from is gone.
    """
    if isinstance(settings, Encoder):
        return cast(S, replace(settings, weights="random"))
    if not is_dataclass(settings) or not encoders(settings):
        return settings
    changed: dict[str, Any] = {
        field.name: unread(getattr(settings, field.name))
        for field in fields(settings)
        if encoders(getattr(settings, field.name))
    }
    return cast(S, replace(cast(Any, settings), **changed))
