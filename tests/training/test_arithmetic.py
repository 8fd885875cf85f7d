"""Arithmetic: the fastest is chosen by the clock, the default wins near ties, and nothing else changes."""

from types import SimpleNamespace

import pytest
import torch
from torch import nn

from edgewise.training import arithmetic as module
from edgewise.training.arithmetic import Arithmetic, choose

CPU = torch.device("cpu")
OPTIONS = [
    Arithmetic(precision="fp32", memory_format="channels_last", threads=2),
    Arithmetic(precision="fp32", memory_format="contiguous", threads=2),
    Arithmetic(precision="bf16", memory_format="contiguous", threads=2),
]
WARM_UP = (100.0,) * len(OPTIONS)


class Timed(nn.Module):
    """A network that says how long it takes."""

    def __init__(self, clock, first, seconds):
        super().__init__()
        self.convolution, self.clock, self.first, self.seconds = nn.Conv2d(1, 2, 1), clock, first, seconds
        self.steps = 0

    def forward(self, image):
        self.clock["now"] += self.seconds if self.steps else self.first
        self.steps += 1
        return [self.convolution(image), self.convolution(image)]


@pytest.fixture
def choice(monkeypatch):
    def of(*seconds, options=OPTIONS, counting="process_time", first=WARM_UP, networks=None):
        """The choice among options that take so many seconds by the clock that should count; the other stands still.

        The first step warms up and takes long. What is built is added to `networks`.
        """
        clock = {"now": 0.0}
        clocks = {name: lambda: 0.0 for name in ("process_time", "perf_counter")}
        clocks[counting] = lambda: clock["now"]
        monkeypatch.setattr(module, "time", SimpleNamespace(**clocks))
        row, built = zip(first, seconds, strict=False), [] if networks is None else networks

        def build():
            built.append(Timed(clock, *next(row)))
            return built[-1]

        return choose(build, torch.zeros(1, 1, 4, 4), options[: len(seconds)])

    return of


def names(arithmetic):
    return arithmetic.precision, arithmetic.memory_format, arithmetic.threads


@pytest.mark.parametrize(
    ("seconds", "winner"),
    [((1.0, 0.5, 0.8), 1), ((1.0, 0.8, 0.5), 2), ((0.5, 1.0, 1.0), 0), ((1.0, 0.91, 0.92), 0), ((1.0, 0.8, 0.75), 1)],
)
def test_the_fastest_wins_if_it_is_clearly_faster(choice, seconds, winner):
    assert names(choice(*seconds)) == names(OPTIONS[winner])


def test_other_numbers_of_threads_are_compared_by_the_wall_clock(choice):
    options = [Arithmetic(threads=1), Arithmetic(threads=2)]
    assert choice(1.0, 0.6, options=options, counting="perf_counter").threads == 2
    assert choice(1.0, 0.95, options=options, counting="perf_counter").threads == 1


def test_the_reason_holds_every_measurement(choice):
    reason = choice(1.0, 0.5, 0.8).reason
    expected = ("fp32 channels_last", "500 ms", "fp32 contiguous", "250 ms", "bf16 contiguous", "400 ms")
    places = [reason.index(text) for text in expected]
    assert places == sorted(places)


@pytest.mark.parametrize(
    ("first", "steps", "winner"), [((100.0, 1.0, 301.0), [4, 4, 1], 0), ((100.0, 299.0, 100.0), [4, 4, 4], 2)]
)
def test_a_rival_far_behind_the_default_in_the_first_step_is_stepped_no_more(choice, first, steps, winner):
    """The default's own first step is slow, too: it pays for all that starts."""
    networks = []
    assert names(choice(1.0, 0.95, 0.2, first=first, networks=networks)) == names(OPTIONS[winner])
    assert [each.steps for each in networks] == steps


def test_a_single_option_is_taken_unmeasured():
    def build():
        raise AssertionError

    assert choose(build, torch.zeros(1, 1, 4, 4), OPTIONS[:1]) is OPTIONS[0]


def test_threads_are_set_for_a_block_and_come_back_even_after_an_error():
    before = torch.get_num_threads()
    with Arithmetic(threads=before + 1).applied():
        assert torch.get_num_threads() == before + 1
    assert torch.get_num_threads() == before
    with pytest.raises(ZeroDivisionError), Arithmetic(threads=before + 1).applied():
        _ = 1 / 0
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_precision_is_that_of_the_convolutions(precision, dtype):
    network, image = nn.Conv2d(1, 2, 1), torch.zeros(1, 1, 4, 4)
    with Arithmetic(precision=precision).autocast(CPU):
        assert network(image).dtype == dtype
    assert network(image).dtype == torch.float32


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("memory_format", ["contiguous", "channels_last"])
def test_images_and_weights_share_the_memory_format_and_keep_their_values(dims, memory_format):
    setting = Arithmetic(memory_format=memory_format)
    layout = {"contiguous": torch.contiguous_format, "channels_last": (torch.channels_last, torch.channels_last_3d)}
    expected = layout[memory_format] if memory_format == "contiguous" else layout[memory_format][dims - 2]
    image = torch.randn(2, 3, *(4,) * dims)
    arranged = setting.arrange(image)
    assert torch.equal(arranged, image)
    assert arranged.is_contiguous(memory_format=expected)
    convolution = (nn.Conv2d if dims == 2 else nn.Conv3d)(3, 4, 3)
    before = convolution(image)
    placed = setting.placed(convolution, CPU, dims)
    assert placed.weight.is_contiguous(memory_format=expected)
    torch.testing.assert_close(placed(arranged), before)
