"""Fixtures of the tests of networks."""

import pytest
import torch


@pytest.fixture(autouse=True)
def _one_thread():
    """Networks this small compute fastest on one thread."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
