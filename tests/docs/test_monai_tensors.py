"""MONAI's `MetaTensor`, labels and logits alike, goes through every loss: the MONAI guide promises it."""

import pytest
import torch
from monai.data import MetaTensor

from edgewise.losses import LOSSES

SPACING = (2.0, 1.0, 1.5)


@pytest.mark.parametrize("kind", LOSSES)
def test_a_loss_of_meta_tensors_is_that_of_plain_ones(kind):
    loss = LOSSES[kind]()
    generator = torch.Generator().manual_seed(0)
    values = torch.randn(2, 3, 5, 6, 7, generator=generator)
    labels = torch.randint(3, (2, 1, 5, 6, 7), generator=generator)
    plain, meta = values.clone().requires_grad_(), values.clone().requires_grad_()
    expected = loss(plain, labels, spacing=SPACING)
    expected.backward()
    value = loss(MetaTensor(meta), MetaTensor(labels), spacing=SPACING)
    value.backward()
    torch.testing.assert_close(value.as_subclass(torch.Tensor), expected)
    torch.testing.assert_close(meta.grad, plain.grad)
