"""The rectified region-wise loss against its definition with a map for every class."""

import pytest
import torch
from scipy.ndimage import distance_transform_edt

from edgewise.errors import ExperimentError, LabelError, LogitsError, ShapeError, SpacingError
from edgewise.losses import Dice, RegionWise, Sum, Term
from edgewise.maps.boundary import Boundary
from edgewise.maps.penalty import Penalty
from edgewise.truth import Truth


def full_map(labels, classes, spacing):
    """z of the paper's Eq. 4, (B, C, *space): the definition, class by class."""
    z = torch.ones(len(labels), classes, *labels.shape[1:], dtype=torch.float64)
    for b, image in enumerate(labels):
        for c in range(classes):
            mask = (image == c).numpy()
            if mask.all():
                z[b, c] = -1
            elif mask.any():
                depth = torch.from_numpy(distance_transform_edt(mask, sampling=spacing))
                z[b, c][image == c] = (-depth / depth.max())[image == c]
    return z


def scene(space):
    labels = torch.zeros(3, *space, dtype=torch.long)
    labels[0, 1:5, 2:6] = 1
    labels[0, 6:, 1:3] = 2
    labels[1, 3, 3] = 2
    return labels  # the third image is all background


@pytest.mark.parametrize(("space", "spacing"), [((9, 8), (3.0, 0.7)), ((8, 7, 6), (2.5, 0.8, 0.8))])
def test_value_and_gradient_agree_with_the_definition(space, spacing):
    labels = scene(space)
    logits = torch.randn(3, 3, *space, dtype=torch.float64, requires_grad=True)
    ours = RegionWise()(logits, labels, spacing=spacing)
    definition = (logits.softmax(1) * full_map(labels, 3, spacing)).mean()
    torch.testing.assert_close(ours, definition, rtol=1e-6, atol=1e-7)
    (a,), (b,) = torch.autograd.grad(ours, logits), torch.autograd.grad(definition, logits)
    torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-9)


def test_exactly_the_true_class_has_a_negative_gradient():
    labels = scene((9, 8))
    logits = torch.randn(3, 3, 9, 8, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(RegionWise()(logits, labels), logits)
    torch.testing.assert_close((gradient < 0).long(), torch.nn.functional.one_hot(labels, 3).movedim(-1, 1))


def test_lies_between_minus_and_plus_one_over_the_number_of_classes():
    labels = torch.ones(1, 4, 4, dtype=torch.long)
    sure = torch.zeros(1, 3, 4, 4)
    sure[:, 1] = 100
    assert RegionWise()(sure, labels) == pytest.approx(-1 / 3)
    assert RegionWise()(-sure, labels) == pytest.approx(1 / 3, abs=1e-6)


def test_a_truth_without_its_map_is_an_error_that_says_how_to_build_it():
    logits, labels = torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)
    with pytest.raises(ShapeError, match=r"RegionWise needs the distance map Rectified.*needs=loss.needs"):
        RegionWise()(logits, Truth.of(labels, classes=2))


def test_a_spacing_that_contradicts_the_truth_is_refused():
    logits, labels = torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long)
    truth = Truth.of(labels, classes=2, spacing=(2.0, 1.0), needs=RegionWise().needs)
    RegionWise()(logits, truth, spacing=(2.0, 1.0))
    with pytest.raises(SpacingError, match="contradicts"):
        RegionWise()(logits, truth, spacing=(1.0, 1.0))


@pytest.mark.parametrize(
    ("logits", "labels", "error", "message"),
    [
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 5, dtype=torch.long), ShapeError, "do not fit labels"),
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 2, 4, 4, dtype=torch.long), ShapeError, "argmax"),
        (
            torch.zeros(1, 2, 4, 4, 4),
            torch.zeros(2, 4, 4, 4, dtype=torch.long),
            ShapeError,
            "do not fit labels",
        ),
        (torch.zeros(1, 1, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long), ShapeError, "C >= 2"),
        (torch.zeros(1, 2, 4), torch.zeros(1, 4, dtype=torch.long), ShapeError, "two or three spatial axes"),
        (
            torch.zeros(1, 2, 4, 4).long(),
            torch.zeros(1, 4, 4, dtype=torch.long),
            ShapeError,
            "expected floats",
        ),
        (torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4), LabelError, "not integers"),
        (torch.zeros(1, 2, 4, 4), torch.full((1, 4, 4), 2), LabelError, "range from 2 to 2"),
        (torch.zeros(1, 2, 4, 4), torch.full((1, 4, 4), -1), LabelError, "ignore="),
    ],
)
def test_wrong_input_is_one_clear_error(logits, labels, error, message):
    with pytest.raises(error, match=message):
        RegionWise()(logits, labels)


def test_a_second_way_back_through_the_graph_gives_the_same_gradient():
    logits = torch.randn(3, 3, 9, 8, dtype=torch.float64, requires_grad=True)
    loss = RegionWise()(logits, scene((9, 8)))
    (first,) = torch.autograd.grad(loss, logits, retain_graph=True)
    kept = first.clone()
    (second,) = torch.autograd.grad(2 * loss, logits)
    torch.testing.assert_close(second, 2 * kept)
    torch.testing.assert_close(first, kept, rtol=0, atol=0)


def test_nan_logits_are_one_clear_error():
    broken = torch.zeros(2, 2, 4, 4)
    broken[:, 1, :, 3] = torch.nan
    with pytest.raises(LogitsError, match=r"8 of 64 logits are NaN, the first at \(0, 1, 0, 3\)"):
        RegionWise()(broken, torch.zeros(2, 4, 4, dtype=torch.long))


@pytest.mark.parametrize("spacing", [(1.0,), (1.0, 0.0), (1.0, float("nan")), (1.0, 1.0, 1.0)])
def test_a_wrong_spacing_is_one_clear_error(spacing):
    with pytest.raises(SpacingError, match="sizes in mm"):
        RegionWise()(torch.zeros(1, 2, 4, 4), torch.zeros(1, 4, 4, dtype=torch.long), spacing=spacing)


LOSSES = [
    RegionWise(),
    RegionWise(class_weights=(1.0, 0.0, 3.0)),
    RegionWise(probability="squared"),
    RegionWise(map=Boundary()),
]


@pytest.mark.parametrize("loss", LOSSES, ids=str)
def test_logits_and_their_log_probabilities_are_the_same_to_it(loss):
    labels = scene((9, 8))
    truth = Truth.of(labels, classes=3, spacing=(3.0, 0.7), needs=loss.needs)
    logits = torch.randn(3, 3, 9, 8, dtype=torch.float64, requires_grad=True)
    for path in (loss.of(logits, truth), loss.of(logits.log_softmax(1), truth)):
        torch.testing.assert_close(path, loss(logits, truth))
        a, b = torch.autograd.grad(path, logits), torch.autograd.grad(loss(logits, truth), logits)
        torch.testing.assert_close(a, b)


def test_as_a_term_of_a_sum_it_adds_its_own_value_and_gradient():
    labels = scene((9, 8))
    logits = torch.randn(3, 3, 9, 8, dtype=torch.float64, requires_grad=True)
    together = Sum(terms=(Term(loss=RegionWise(), weight=0.3), Term(loss=Dice())))(logits, labels)
    apart = 0.3 * RegionWise()(logits, labels) + Dice()(logits, labels)
    torch.testing.assert_close(together, apart)
    torch.testing.assert_close(torch.autograd.grad(together, logits), torch.autograd.grad(apart, logits))


def test_the_gradient_may_be_asked_for_twice():
    labels = scene((9, 8))
    logits = torch.randn(3, 3, 9, 8, dtype=torch.float64, requires_grad=True)
    value = RegionWise()(logits, labels)
    (once,) = torch.autograd.grad(value, logits, retain_graph=True)
    kept = once.clone()
    (twice,) = torch.autograd.grad(3 * value, logits)
    torch.testing.assert_close(once, kept, rtol=0, atol=0)
    torch.testing.assert_close(twice, 3 * kept)


def test_the_gradient_has_a_correct_gradient_itself():
    labels = torch.tensor([[[0, 1, 1], [2, 2, 0]]])
    truth = Truth.of(labels, classes=3, needs=RegionWise().needs)
    logits = torch.randn(1, 3, 2, 3, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradgradcheck(lambda x: RegionWise()(x, truth) * x.numel(), logits)


def test_it_has_a_value_where_no_gradient_is_wanted():
    labels, logits = scene((9, 8)), torch.randn(3, 3, 9, 8)
    wanted = RegionWise()(logits.clone().requires_grad_(), labels)
    with torch.no_grad():
        assert RegionWise()(logits, labels) == wanted.item()


def test_a_class_of_no_weight_has_no_gradient_and_one_of_double_weight_double():
    labels = scene((9, 8))
    logits = torch.randn(3, 3, 9, 8, dtype=torch.float64, requires_grad=True)
    (plain,) = torch.autograd.grad(RegionWise()(logits, labels), logits)
    (weighted,) = torch.autograd.grad(RegionWise(class_weights=(1.0, 0.0, 2.0))(logits, labels), logits)
    factor = torch.tensor([1.0, 0.0, 2.0], dtype=torch.float64)[labels][:, None]
    torch.testing.assert_close(weighted, factor * plain)


def test_the_weight_of_an_image_scales_its_part_of_the_loss():
    labels = scene((9, 8))
    logits = torch.randn(3, 3, 9, 8, dtype=torch.float64)
    alone = torch.stack([RegionWise()(logits[[i]], labels[[i]]) for i in range(3)])
    weights = torch.tensor([1.0, 0.25, 3.0])
    truth = Truth.of(labels, classes=3, needs=RegionWise().needs, weights=weights)
    torch.testing.assert_close(RegionWise()(logits, truth), (alone * weights).mean())


def test_a_map_that_is_alike_for_all_classes_is_refused_because_it_has_no_gradient():
    with pytest.raises(ExperimentError, match=r"penalty is the same for all classes.*penalised_cross_entropy"):
        RegionWise(map=Penalty())


@pytest.mark.parametrize("weights", [(1.0, -1.0), (float("nan"),), (float("inf"), 1.0)])
def test_class_weights_that_are_negative_or_not_finite_are_refused(weights):
    with pytest.raises(ExperimentError, match="finite and not negative"):
        RegionWise(class_weights=weights)


def test_a_wrong_number_of_class_weights_is_refused_when_the_classes_are_known():
    loss = RegionWise(class_weights=(1.0, 2.0))
    with pytest.raises(ExperimentError, match="3 classes"):
        loss(torch.zeros(3, 3, 9, 8), scene((9, 8)))
