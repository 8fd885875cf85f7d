"""What holds for every network, whoever wrote it. A new file in networks/ is tested here without an edit."""

import pytest
import torch

from edgewise.catalog import discover
from edgewise.networks import Network, Topology

NETWORKS = discover(Network)


def topology(dims, stem, classes=3, channels=2):
    return Topology(
        channels=channels,
        classes=classes,
        strides=((stem,) * dims, (2,) * dims, (2,) * dims),
        kernels=((3,) * dims,) * 3,
        widths=(4, 8, 16),
    )


@pytest.fixture(params=NETWORKS.values(), ids=NETWORKS)
def network(request):
    return request.param()


@pytest.mark.parametrize("stem", [1, 2], ids=["full", "strided"])
@pytest.mark.parametrize("dims", [2, 3], ids=["2d", "3d"])
class TestEveryNetwork:
    def test_gives_logits_of_the_images_size_in_evaluation(self, network, dims, stem):
        module = network.build(topology(dims, stem)).eval()
        space = (16, 24, 8)[:dims]
        with torch.no_grad():
            assert module(torch.randn(2, 2, *space)).shape == (2, 3, *space)

    def test_lists_logits_from_full_to_coarse_in_training(self, network, dims, stem):
        logits = network.build(topology(dims, stem)).train()(torch.randn(2, 2, *(16,) * dims))
        levels = [logits] if isinstance(logits, torch.Tensor) else logits
        assert levels[0].shape[2:] == (16,) * dims
        sizes = [level.shape[2] for level in levels]
        assert sizes == sorted(sizes, reverse=True)
        assert all(level.shape[1] == 3 for level in levels)

    def test_every_weight_gets_a_gradient(self, network, dims, stem):
        module = network.build(topology(dims, stem)).train()
        logits = module(torch.randn(2, 2, *(16,) * dims))
        levels = [logits] if isinstance(logits, torch.Tensor) else logits
        sum(level.square().mean() for level in levels).backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in module.parameters())

    def test_equal_seeds_give_equal_weights(self, network, dims, stem):
        def weights():
            torch.manual_seed(3)
            return network.build(topology(dims, stem)).state_dict()

        first, second = weights(), weights()
        assert first.keys() == second.keys()
        assert all(torch.equal(first[k], second[k]) for k in first)

    def test_can_be_trained_to_fit_one_image(self, network, dims, stem):
        torch.manual_seed(0)
        module = network.build(topology(dims, stem)).train()
        # Smooth shapes: a network that decides on a coarse grid, such as an FCN, cannot draw single voxels.
        coarse = torch.randn(1, 2, *(4,) * dims)
        image = torch.nn.functional.interpolate(coarse, scale_factor=4, mode="trilinear" if dims == 3 else "bilinear")
        labels = (image[:, 0] > 0).long()
        optimiser = torch.optim.Adam(module.parameters(), 1e-2)
        losses = []
        for _ in range(60):
            logits = module(image)
            full = logits if isinstance(logits, torch.Tensor) else logits[0]
            loss = torch.nn.functional.cross_entropy(full, labels)
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            losses.append(float(loss.detach()))
        assert losses[-1] < 0.6 * losses[0]


def test_anisotropic_strides_and_kernels_are_honoured():
    shape = Topology(
        channels=1,
        classes=2,
        strides=((1, 2, 2), (1, 2, 2), (2, 2, 2)),
        kernels=((1, 3, 3), (3, 3, 3), (3, 3, 3)),
        widths=(4, 8, 16),
    )
    for network in NETWORKS.values():
        module = network().build(shape).eval()
        with torch.no_grad():
            assert module(torch.randn(1, 1, 6, 16, 24)).shape == (1, 2, 6, 16, 24)
