"""Two processes with half a batch each, which train every method: they stay equal, and equal to one process.

Everything shares one start of the processes.
"""

from dataclasses import replace
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from torch.multiprocessing.spawn import start_processes

from edgewise.catalog import discover
from edgewise.data.batches import Batch
from edgewise.errors import DivergedError, EdgewiseError, ExperimentError
from edgewise.methods import Method
from edgewise.methods.supervised import Supervised
from edgewise.networks.vnet import VNet
from edgewise.training.descent import Descent, Turn
from edgewise.training.group import ALONE, Group, current
from methods.cases import batch, learner, losses, same, setting, small

METHODS = discover(Method)
DRAWING = {"lsnet", "coarse_to_fine"}
"""They draw regions, each process its own."""
STEPS = 5


def joint(step):
    """Four images; in step 1 the last two have no object."""
    first, second = batch(seed=step), batch(seed=step + 100)
    labels = torch.zeros_like(second.labels) if step == 1 else second.labels
    return Batch(
        image=torch.cat((first.image, second.image)), labels=torch.cat((first.labels, labels)), cases=tuple("abcd")
    )


def part(whole, group):
    own = group.share(len(whole.cases), "batch")
    each = slice(own.start, own.stop)
    return Batch(image=whole.image[each], labels=whole.labels[each], cases=whole.cases[each])


def trained(method, group, **changes):
    """The losses of some steps and the state after them. The other process starts with other weights."""
    learning = learner(method, setting(group=group, **changes), seed=group.rank)
    values = losses(learning, [part(joint(step), group) for step in range(STEPS)])
    return {"losses": values, "state": learning.state()}


def diverged(group):
    """What becomes of a batch whose last image is spoilt."""
    learning, spoilt = learner(Supervised(), setting(group=group)), joint(0)
    spoilt.image[-1] = torch.nan
    try:
        learning.step(part(spoilt, group), 0)
    except DivergedError as error:
        return str(error)
    return "went on"


class Pair(torch.nn.Module):
    """Of three weights the first process uses two, the second one another two."""

    def __init__(self):
        super().__init__()
        self.all, self.some, self.none = (torch.nn.Parameter(torch.ones(2)) for _ in range(3))


def partly(group):
    """The weights after a step that only the first process's share has much to say about."""

    def objective(module, own, step):
        del own, step
        used = module.all.sum() + (module.some.sum() if group.leads else 0)
        return used.square()

    learning = Descent(setting(group=group), Pair(), (Turn(objective=objective),))
    learning.step(part(joint(0), group), 0)
    return learning.state()


def led(group):
    """What the others hear of an error of the first, and of a result."""

    def fail():
        raise ExperimentError("no")

    try:
        group.led(fail)
    except EdgewiseError as error:
        return [type(error).__name__, str(error), group.led(lambda: {"rank": group.rank}), group.gathered(group.rank)]
    return []


def work(rank, folder):
    torch.set_num_threads(1)
    torch.distributed.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=2)
    group = current()
    found = {kind: trained(small(method()), group) for kind, method in METHODS.items()}
    found["batch norm"] = trained(Supervised(), group, network=VNet(norm="batch"))
    found |= {"diverged": diverged(group), "partly": partly(group), "led": led(group)}
    torch.save(found, f"{folder}/{rank}.pt")
    torch.distributed.destroy_process_group()


@cache
def both():
    trained(Supervised(), ALONE)  # imports what forked processes then have
    with TemporaryDirectory() as folder:
        # A forked process has imported everything, but cannot use a GPU that its parent has used.
        method = "spawn" if torch.cuda.is_available() else "fork"
        start_processes(work, args=(folder,), nprocs=2, start_method=method)
        return [torch.load(Path(folder) / f"{rank}.pt", weights_only=False) for rank in range(2)]


@pytest.mark.parametrize("kind", [*METHODS, "batch norm"])
def test_two_processes_have_the_same_losses_and_weights_to_the_last_bit(kind):
    first, second = both()
    assert np.isfinite(first[kind]["losses"]).all()
    assert same(first[kind], second[kind])


@pytest.mark.parametrize("kind", [kind for kind in METHODS if kind not in DRAWING])
def test_two_processes_train_what_one_trains(kind):
    one, (two, _) = trained(small(METHODS[kind]()), ALONE), both()
    assert two[kind]["losses"] == pytest.approx(one["losses"], abs=1e-4)
    for name, weight in one["state"]["network"].items():
        torch.testing.assert_close(two[kind]["state"]["network"][name], weight, rtol=0, atol=1e-3)


def test_running_statistics_are_the_mean_of_what_the_processes_have_seen():
    """After one step they are linear in the batch's mean, so that the mean of the halves is that of the whole."""

    def statistics(own):
        learning = learner(Supervised(), setting(network=VNet(norm="batch")))
        learning.step(own, 0)
        network = learning.state()["network"]
        return network[next(name for name in network if name.endswith("running_mean"))]

    halves = [statistics(part(joint(0), Group(rank=rank, size=2))) for rank in range(2)]
    torch.testing.assert_close((halves[0] + halves[1]) / 2, statistics(joint(0)))


def test_a_process_whose_outputs_are_no_numbers_ends_all():
    assert [found["diverged"] for found in both()] == ["the loss became nan"] * 2


def test_a_weight_without_gradient_in_one_process_moves_and_one_without_any_rests():
    weights = both()[0]["partly"]["network"]
    assert (weights["all"] < 1).all()
    assert (weights["some"] < 1).all()
    assert torch.equal(weights["none"], torch.ones(2))
    assert len(both()[0]["partly"]["optimiser"][""]["state"]) == 2


def test_what_the_first_process_does_for_all_is_told_to_all():
    assert [found["led"] for found in both()] == [["ExperimentError", "no", {"rank": 0}, [0, 1]]] * 2


@pytest.mark.parametrize(("batch_size", "size"), [(4, 1), (4, 2), (4, 4), (6, 3)])
def test_the_shares_of_a_batch_are_equal_and_make_it_up(batch_size, size):
    shares = [Group(rank=rank, size=size).share(batch_size, "plan.batch") for rank in range(size)]
    assert [place for share in shares for place in share] == list(range(batch_size))
    assert len({len(share) for share in shares}) == 1


@pytest.mark.parametrize(("batch_size", "size", "hint"), [(1, 2, "to 2,"), (3, 2, "to 2 or 4,"), (5, 4, "to 4 or 8,")])
def test_a_batch_that_cannot_be_shared_out_is_refused_with_those_that_can(batch_size, size, hint):
    with pytest.raises(ExperimentError, match=hint):
        Group(rank=0, size=size).share(batch_size, "plan.batch")


def test_draws_differ_between_processes_and_steps_and_the_first_draws_as_if_alone():
    two = [replace(setting(), group=Group(rank=rank, size=2)) for rank in range(2)]
    drawn = [each.draws(step).random() for each in two for step in (0, 1)]
    assert len(set(drawn)) == 4
    assert drawn[:2] == [setting().draws(step).random() for step in (0, 1)]
