"""What holds for every network, whoever wrote it. A new file in networks/ is tested here without an edit."""

from dataclasses import dataclass
from typing import ClassVar, Literal

import pytest
import torch
from torch import nn
from typing_extensions import override

from edgewise.catalog import discover
from edgewise.networks import Network
from edgewise.networks.encoder_decoder import EncoderDecoder, Parts
from edgewise.networks.unet import convolutions
from networks import contract as laws
from networks.contract import CONTRACTS

NETWORKS = list(discover(Network))


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
@pytest.mark.parametrize("dims", [2, 3], ids=["2d", "3d"])
@pytest.mark.parametrize("kind", NETWORKS)
def test_every_network(kind, dims, contract):
    contract(laws.chosen(kind), dims)


# Mutants: each network below is broken in one way, and the named contract must notice.


@dataclass(frozen=True, kw_only=True)
class Mutant(Network):
    """A U-Net, until a mutation changes it."""

    kind: Literal["mutant"] = "mutant"
    supervised: int = 2
    dropout: float = 0.0
    source: ClassVar[str] = "nobody, arXiv:0000.00000"

    @override
    def build(self, topology):
        stage = convolutions(2, self.dropout)
        return self.broken(EncoderDecoder(topology, Parts(encode=stage, decode=stage), supervised=self.supervised))

    def broken(self, module):
        return module


class Around(nn.Module):
    """A module, and what is done to its result, a list in training and a tensor in evaluation."""

    def __init__(self, module, change):
        super().__init__()
        self.module, self.change = module, change
        self.weight = nn.Parameter(torch.zeros(1))

    def forward(self, x):
        result = self.module(x)
        return [self.change(self, each, x) for each in result] if self.training else self.change(self, result, x)


class Skip(nn.Module):
    def __init__(self, change):
        super().__init__()
        self.change = change

    def forward(self, upsampled, skipped):  # noqa: ARG002
        return self.change(skipped)


def changing(change):
    """A mutant whose logits are changed by change(module, logits, image)."""

    @dataclass(frozen=True, kw_only=True)
    class Changed(Mutant):
        def broken(self, module):
            wrapped = Around(module, change)
            wrapped.weight.requires_grad_(change is idle)
            return wrapped

    return Changed()


def skipping(change):
    """A mutant whose skips are changed."""

    @dataclass(frozen=True, kw_only=True)
    class Skipping(Mutant):
        def broken(self, module):
            module.skip = nn.ModuleList(Skip(change) for _ in module.skip)
            return module

    return Skipping()


def idle(module, logits, image):  # noqa: ARG001
    return logits


def forgetful(module, logits, image):
    if module.training:
        module.seen = image.mean().detach()
    return logits + getattr(module, "seen", 0)


def reads_storage(module, logits, image):  # noqa: ARG001
    return logits + image.as_strided((image.numel(),), (1,))[: image.numel() // 5].sum()


def reversed_gradient(_, logits, __):
    return 2 * logits.detach() - logits


def numb(_, logits, image):
    return reversed_gradient(_, logits, image) if torch.is_autocast_enabled("cpu") else logits


class Listing(Mutant):
    def broken(self, module):
        module.eval = module.train
        return module


class CoarseFirst(Mutant):
    def broken(self, module):
        module.register_forward_hook(lambda m, _, out: out[::-1] if m.training else out)
        return module


class Restless(Mutant):
    def broken(self, module):
        own = torch.Generator()
        own.seed()
        nn.init.normal_(module.heads[-1].weight, generator=own)
        return module


class Deaf(Mutant):
    def broken(self, module):
        for parameter in module.parameters():
            nn.init.constant_(parameter, 0.1)
        return module


class Shared(Mutant):
    def broken(self, module):
        for parent in list(module.modules()):
            for name, child in list(parent.named_children()):
                if type(child).__name__ == "InstanceNorm":
                    batch = nn.BatchNorm3d if module.down[0][0].conv.weight.ndim == 5 else nn.BatchNorm2d
                    setattr(parent, name, batch(child.channels))
        return module


class BiasBeforeNorm(Mutant):
    def broken(self, module):
        conv = module.down[0][0].conv
        conv.bias = nn.Parameter(torch.zeros(len(conv.weight)))
        return module


class Anonymous(Mutant):
    source: ClassVar[str] = "somebody"


MUTANTS = {
    "one voxel is cropped away": (
        changing(lambda _, logits, __: logits[..., :-1]),
        laws.gives_one_logit_map_of_the_images_size_in_evaluation,
    ),
    "a list in evaluation": (Listing(), laws.gives_one_logit_map_of_the_images_size_in_evaluation),
    "coarse first": (CoarseFirst(), laws.lists_logits_from_full_to_coarse_in_training),
    "a weight nobody uses": (changing(idle), laws.trains_all_its_weights),
    "a bias before a norm": (BiasBeforeNorm(), laws.trains_all_its_weights),
    "a generator of its own": (Restless(), laws.is_drawn_from_the_seed),
    "constant weights": (Deaf(), laws.is_drawn_from_the_seed),
    "dropout in evaluation": (
        changing(lambda _, logits, __: nn.functional.dropout(logits)),
        laws.answers_the_same_twice_in_evaluation,
    ),
    "batch norm": (Shared(), laws.keeps_the_images_of_a_batch_apart),
    "state that is not saved": (changing(forgetful), laws.goes_on_from_saved_weights),
    "reads the storage": (changing(reads_storage), laws.does_not_depend_on_the_memory_format),
    "no skips": (skipping(torch.zeros_like), laws.sees_each_voxel_where_it_is),
    "skips off by one": (skipping(lambda skipped: skipped.roll(1, -1)), laws.sees_each_voxel_where_it_is),
    "large sums": (changing(lambda _, logits, __: (logits * 1e6).half()), laws.is_finite_in_half_precision),
    "wrong gradient in half precision": (changing(numb), laws.follows_float32_in_bfloat16),
    "divides by the contrast": (
        changing(lambda _, logits, image: logits / image.std()),
        laws.survives_images_that_hold_nothing,
    ),
    "unlearns": (changing(reversed_gradient), laws.learns_one_image),
    "anonymous": (Anonymous(), laws.names_its_source),
}


@pytest.mark.parametrize("dims", [2, 3], ids=["2d", "3d"])
@pytest.mark.parametrize("broken", MUTANTS)
def test_a_broken_network_fails_its_contract(broken, dims):
    mutant, contract = MUTANTS[broken]
    with pytest.raises(AssertionError):
        contract(mutant, dims)


@pytest.mark.parametrize("contract", CONTRACTS, ids=lambda contract: contract.__name__)
def test_the_network_that_the_mutants_are_made_of_passes(contract):
    contract(Mutant(), 2)
    assert contract in {each for _, each in MUTANTS.values()}
