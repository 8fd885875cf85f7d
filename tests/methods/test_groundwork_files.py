"""The file of an LR-Net says what it is for, and is refused, in words, where something else is needed."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from edgewise.errors import RunError
from edgewise.maps import distance, inverse, normalized_inverse, signed_normalized_inverse
from edgewise.methods.groundwork import Foundation, read
from edgewise.methods.lrnet import LRNet
from edgewise.networks.lrnet import LRNet as Regression
from edgewise.networks.residual_unet import ResidualUNet
from methods.cases import laid, setting, topology

CPU = torch.device("cpu")


@pytest.fixture
def file(tmp_path):
    (work,) = LRNet().groundwork(setting(3))
    weights = work.learner.predictor.state_dict()
    Foundation(weights=weights, score=0.987, step=600, about=work.about, spacing=work.spacing).save(
        tmp_path / "lrnet.pt"
    )
    return tmp_path / "lrnet.pt"


def test_a_file_that_fits_is_taken(file):
    method, chosen = LRNet(file=file), setting(3)
    method.require(chosen.network, chosen.topology)
    (work,) = method.groundwork(chosen)
    found = read(file, CPU, work.name, work.about)
    assert (found.score, found.step) == (0.987, 600)
    learner = replace(method, weights="trained").learner(chosen, {"lrnet": found.weights})
    for key, value in learner._module.regress.state_dict().items():
        assert torch.equal(value, found.weights[key])


def test_another_voxel_spacing_is_no_reason_to_refuse(file):
    chosen = replace(setting(3), spacing=(2.0, 1.0, 1.0))
    (work,) = LRNet(file=file).groundwork(chosen)
    assert read(file, CPU, work.name, work.about).spacing == (1.0, 1.0, 1.0)


@pytest.mark.parametrize(
    ("method", "shape", "words"),
    [
        (LRNet(), topology(3, classes=5), "classes 3, where 5 is needed"),
        (LRNet(), topology(2), "axes 3, where 2 is needed"),
        (LRNet(map=inverse), topology(3), r"map .*normalized_inverse.*where .*'inverse'.* is needed"),
        (LRNet(map=distance), topology(3), r"where .*'distance'.* is needed"),
        (LRNet(map=signed_normalized_inverse), topology(3), "activation relu, where tanh is needed"),
        (LRNet(activation="sigmoid"), topology(3), "activation relu, where sigmoid is needed"),
        (LRNet(network=Regression(widths=(4, 12))), topology(3), r"widths \[4, 8\], where \[4, 12\] is needed"),
        (LRNet(network=Regression(blocks=3)), topology(3), "blocks 2, where 3 is needed"),
    ],
)
def test_a_file_for_something_else_is_refused_with_what_differs_and_how_good_it_is(file, method, shape, words):
    with pytest.raises(RunError, match=words) as error:
        replace(method, file=file).require(ResidualUNet(), shape)
    assert "0.987" in str(error.value)
    assert str(file) in str(error.value)


@pytest.mark.parametrize("content", [b"no checkpoint", b""])
def test_a_file_that_is_no_checkpoint_is_refused(tmp_path, content):
    (tmp_path / "x.pt").write_bytes(content)
    with pytest.raises(RunError, match=r"cannot read checkpoint"):
        LRNet(file=tmp_path / "x.pt").require(ResidualUNet(), topology(3))


def test_a_checkpoint_of_another_network_is_refused(tmp_path):
    torch.save({"network": {}, "step": 4}, tmp_path / "best.pt")
    with pytest.raises(RunError, match=r"holds no lrnet\. Pass the checkpoints/lrnet\.pt"):
        LRNet(file=tmp_path / "best.pt").require(ResidualUNet(), topology(3))


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(RunError, match=r"no lrnet at .*gone\.pt"):
        LRNet(file=tmp_path / "gone.pt").require(ResidualUNet(), topology(3))
    with pytest.raises(RunError, match="no lrnet at"):
        LRNet(file=Path(tmp_path)).require(ResidualUNet(), topology(3))


def test_parameters_of_a_map_count(file):
    from methods.counted import Counted

    first, second = (LRNet(map=Counted(name=name), file=file) for name in ("first", "second"))
    (work,) = first.groundwork(setting(3))
    Foundation(
        weights=laid(first, setting(3))["lrnet"], score=1.0, step=1, about=work.about, spacing=work.spacing
    ).save(file)
    first.require(ResidualUNet(), topology(3))
    with pytest.raises(RunError, match=r"'first'.* where .*'second'.* is needed"):
        second.require(ResidualUNet(), topology(3))


def test_the_map_is_told_by_its_own_name_not_by_the_python_class(file):
    assert torch.load(file, weights_only=True)["about"]["map"] == {"kind": normalized_inverse.kind}
