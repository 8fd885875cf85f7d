"""What must hold of a network, in 2D and 3D: one function a law, called with (network, dims)."""

import re
from dataclasses import replace
from itertools import product
from math import prod

import torch
from torch import nn
from torch.nn.functional import cross_entropy, interpolate

from edgewise.catalog import discover
from edgewise.networks import Network, Topology
from edgewise.networks.resnet import Encoder

COARSE = {"fcn"}
"""Networks that decide on a coarse grid by design, and know nothing of single voxels."""
NEAR = {"resnet_fcn": 16, "resnet_unet": 4}
"""Networks whose kernels no topology makes 1: how far from a voxel that what they say of it may come from, in voxels.

ResNets also halve every image five times: on small images their deepest levels have one voxel."""
BATCH_NORMALISED = {"attention_unet", "resnet_fcn", "resnet_unet"}
"""Networks in which the images of a batch share statistics while training: MONAI's attention gates, and ResNets."""
DEAD = {"attention_unet": r"skip\.\d+\.block\.(W_g|W_x|psi)\.0\.conv\.bias"}
"""Weights that never get a gradient: MONAI's gates have a bias before a normalisation, which takes it out again."""
NARROW = {
    "resnet_fcn": {"encoder": Encoder(width=1 / 8)},
    "resnet_unet": {"encoder": Encoder(width=1 / 8), "features": 32},
}
"""Settings of networks that have widths of their own, so that tests take seconds; what they build is the same."""


def chosen(kind):
    """A network of the catalogue, narrow."""
    return discover(Network)[kind](**NARROW.get(kind, {}))


def topology(dims, stem=1, *, channels=2, classes=3, kernel=3, levels=3, width=4):
    return Topology(
        channels=channels,
        classes=classes,
        strides=((stem,) * dims, *((2,) * dims,) * (levels - 1)),
        kernels=((kernel,) * dims,) * levels,
        widths=(width, 2 * width, 4 * width)[:levels],
    )


def thick(kernel=3):
    """Slices five times as thick as wide: the finest level looks within slices only, and is halved within them."""
    return Topology(
        channels=1,
        classes=2,
        strides=((1, 2, 2), (1, 2, 2), (2, 2, 2)),
        kernels=((1, kernel, kernel), (kernel,) * 3, (kernel,) * 3),
        widths=(4, 8, 16),
    )


def built(network, shape, seed=0):
    torch.manual_seed(seed)
    return network.build(shape)


def image(*shape, seed=1):
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def outputs(module, x):
    result = module(x)
    return [result] if isinstance(result, torch.Tensor) else result


def steps(shape):
    """Voxels of full resolution to a voxel of the deepest level, by axis."""
    return [prod(axis) for axis in zip(*shape.strides, strict=True)]


def gives_one_logit_map_of_the_images_size_in_evaluation(network, dims):
    for stem, (channels, classes), levels in product((1, 2), ((1, 1), (1, 2), (3, 7)), (1, 3)):
        shape = topology(dims, stem, channels=channels, classes=classes, levels=levels)
        module = built(network, shape).eval()
        for multiple in ((2, 1, 1), (1, 3, 2)):
            space = [size * step for size, step in zip(multiple, steps(shape), strict=False)]
            with torch.no_grad():
                logits = module(image(2, channels, *space))
            assert isinstance(logits, torch.Tensor)
            assert logits.shape == (2, classes, *space)
    if dims == 3:
        with torch.no_grad():
            assert built(network, thick()).eval()(image(1, 1, 6, 16, 24)).shape == (1, 2, 6, 16, 24)


def lists_logits_from_full_to_coarse_in_training(network, dims):
    options = [{"supervised": n} for n in (1, 2, 3)] if hasattr(network, "supervised") else [{}]
    for stem, option in product((1, 2), options):
        levels = outputs(built(replace(network, **option), topology(dims, stem)).train(), image(2, 2, *(16,) * dims))
        sizes = [level.shape[2:] for level in levels]
        # The finest level below full resolution is that of the second encoder level.
        assert sizes == [(16 // (stem * 2**n if n else 1),) * dims for n in range(len(levels))]
        assert len(levels) == min(option.get("supervised", 1), 2)
        assert all(level.shape[:2] == (2, 3) for level in levels)


def trains_all_its_weights(network, dims):
    for stem in (1, 2):
        module = built(network, topology(dims, stem)).double().train()
        sum(
            (level * image(*level.shape)).sum() for level in outputs(module, image(2, 2, *(16,) * dims).double())
        ).backward()
        dead = [n for n, p in module.named_parameters() if p.grad is None or p.grad.abs().max() < 1e-9]
        unforeseen = [name for name in dead if not re.fullmatch(DEAD.get(network.kind, "nothing"), name)]
        assert not unforeseen


def is_drawn_from_the_seed(network, dims):
    first, second, other = (built(network, topology(dims), seed).state_dict() for seed in (3, 3, 4))
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert any(not torch.equal(first[name], other[name]) for name in first)


def answers_the_same_twice_in_evaluation(network, dims):
    option = {"dropout": 0.5} if hasattr(network, "dropout") else {}
    module = built(replace(network, **option), topology(dims)).eval()
    x = image(2, 2, *(8,) * dims)
    with torch.no_grad():
        assert torch.equal(module(x), module(x))
    if option:
        module.train()
        assert not torch.equal(outputs(module, x)[0], outputs(module, x)[0])


def keeps_the_images_of_a_batch_apart(network, dims):
    module = built(network, topology(dims)).double()
    x = image(2, 2, *(8,) * dims).double()
    changed = torch.stack((x[0], 3 * x[1].flip(1) + 1))
    for training in (False,) if network.kind in BATCH_NORMALISED else (False, True):
        module.train(training)
        with torch.no_grad():
            for before, after in zip(outputs(module, x), outputs(module, changed), strict=True):
                torch.testing.assert_close(before[0], after[0])
                assert not torch.allclose(before[1], after[1])


def goes_on_from_saved_weights(network, dims):
    first, second = (built(network, topology(dims), seed) for seed in (0, 1))
    x = image(2, 2, *(8,) * dims)
    first.train()(x)  # buffers, too, are no longer as at the start
    second.load_state_dict(first.state_dict())
    with torch.no_grad():
        assert torch.equal(first.eval()(x), second.eval()(x))


def does_not_depend_on_the_memory_format(network, dims):
    module = built(network, topology(dims)).double().eval()
    x, last = image(2, 2, *(8,) * dims).double(), torch.channels_last_3d if dims == 3 else torch.channels_last
    with torch.no_grad():
        expected = module(x)
        arranged = module.to(memory_format=last)(x.contiguous(memory_format=last))
    torch.testing.assert_close(arranged, expected)


def around(place, size, near):
    """The block of `size` voxels that holds `place`, and `near` voxels on either side."""
    first = place // size * size
    return slice(max(first - near, 0), first + size + near)


def sees_each_voxel_where_it_is(network, dims):
    """Without neighbours (kernels of 1), logits follow the image at their own voxel, or block, and hardly elsewhere."""
    grid, near = 4 if network.kind in COARSE else 1, NEAR.get(network.kind, 0)
    side = max(32 if dims == 2 else 16, 4 * near)
    module = built(network, topology(dims, kernel=1, channels=1, levels=3 if grid > 1 else 2, width=16)).double().eval()
    x = image(1, 1, *(side,) * dims).double().requires_grad_()
    logits, ratios = module(x), []
    for here in torch.randint(0, side, (15, dims), generator=torch.Generator().manual_seed(0)).tolist():
        chosen = logits[(0, slice(None), *here)].square().sum()
        gradient = torch.autograd.grad(chosen, x, retain_graph=True)[0][0, 0].abs()
        own, block = ([around(i, size, near) for i in here] for size in (grid, max(grid, 2)))
        inside = gradient[tuple(own)].max().item()
        gradient[tuple(block)] = 0
        ratios.append(inside / gradient.max().item())
    assert sorted(ratios)[7] > 1  # whole networks: from 3 to 300, by seed; broken skips: a hundredth


def is_finite_in_half_precision(network, dims):
    for precision, stem in product((torch.bfloat16, torch.float16), (1, 2)):
        module = built(network, topology(dims, stem)).train()
        with torch.autocast("cpu", precision):
            levels = outputs(module, 5 * image(2, 2, *(16,) * dims))
        sum(level.float().square().mean() for level in levels).backward()
        assert all(level.isfinite().all() for level in levels)
        assert all(p.grad.isfinite().all() for p in module.parameters())


def follows_float32_in_bfloat16(network, dims):
    """The gradient in half precision points where the exact one does, on small grids as well."""
    shape = topology(dims, channels=1, levels=2)  # deeper ones are chaotic: rounding alone turns M-Net's gradient
    # A batch norm over the two values that are left of two small images is chaotic, too.
    larger = 1 if network.kind not in NEAR else 8 if dims == 2 else 4
    x = image(2, 1, *(larger * side for side in (4, 16, 16)[-dims:]))
    gradients = []
    for reduced in (False, True):
        module = built(network, shape).train()
        with torch.autocast("cpu", torch.bfloat16, enabled=reduced):
            levels = outputs(module, x)
        sum(level.float().logsumexp(1).square().mean() for level in levels).backward()
        gradients.append(torch.cat([p.grad.flatten() for p in module.parameters() if p.requires_grad]))
    assert torch.cosine_similarity(*gradients, dim=0) > 0.9


def survives_images_that_hold_nothing(network, dims):
    """Ten steps each on a constant image, on noise without foreground, and on a single slice."""
    space = (8, 16, 16)[-dims:]
    slices = (1, 16, 16)[-dims:]
    flat = replace(thick(), strides=((1, 1, 1), (1, 2, 2), (1, 2, 2))) if dims == 3 else topology(2, channels=1)
    for shape, x, foreground in (
        (topology(dims, channels=1), torch.full((1, 1, *space), -3.0), True),
        (topology(dims, channels=1), image(1, 1, *space), False),
        (flat, image(2, 1, *slices), True),
    ):
        labels = (image(len(x), *x.shape[2:], seed=5) > 0).long() * foreground
        for precision in (torch.float32, torch.bfloat16):
            module = built(network, shape).train()
            losses = [loss for loss, _ in training(module, x, labels, precision, count=10)]
            assert torch.isfinite(torch.stack(losses)).all()
            assert all(p.isfinite().all() for p in module.parameters())


def training(module, x, labels, precision=torch.float32, rate=2e-3, count=20):
    """Yields the loss of each step, and the finest logits; channels last, as a CPU computes fastest."""
    arrangement = torch.channels_last_3d if x.ndim == 5 else torch.channels_last
    module.to(memory_format=arrangement)
    optimiser = torch.optim.AdamW(module.parameters(), rate, betas=(0.9, 0.99))
    for _ in range(count):
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == torch.bfloat16):
            logits = outputs(module, x.contiguous(memory_format=arrangement))[0]
        loss = cross_entropy(logits.float(), labels)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(module.parameters(), 12.0)
        optimiser.step()
        yield loss.detach(), logits.detach()


def learns_one_image(network, dims):
    # Smooth shapes: a network that decides on a coarse grid, such as an FCN, cannot draw single voxels.
    coarse = image(2, 2, *(4,) * dims, seed=0)
    x = interpolate(coarse, scale_factor=4, mode="trilinear" if dims == 3 else "bilinear")
    for stem in (1, 2):
        losses = [
            loss for loss, _ in training(built(network, topology(dims, stem)), x, (x[:, 0] > 0).long(), rate=1e-2)
        ]
        assert min(losses[-3:]) < 0.7 * losses[0]


def names_its_source(network, dims):  # noqa: ARG001
    assert re.search(r"doi:10\.\d{4,}/\S+|arXiv:\d{4}\.\d{4,}", type(network).source)


CONTRACTS = [
    gives_one_logit_map_of_the_images_size_in_evaluation,
    lists_logits_from_full_to_coarse_in_training,
    trains_all_its_weights,
    is_drawn_from_the_seed,
    answers_the_same_twice_in_evaluation,
    keeps_the_images_of_a_batch_apart,
    goes_on_from_saved_weights,
    does_not_depend_on_the_memory_format,
    sees_each_voxel_where_it_is,
    is_finite_in_half_precision,
    follows_float32_in_bfloat16,
    survives_images_that_hold_nothing,
    learns_one_image,
    names_its_source,
]
