"""One finished study that all tests share: each of its parts costs seconds."""

from types import SimpleNamespace

import pytest

from study.small_studies import ROWS, copied, run, settle_in, write_study


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Two rows of two seeds, trained to the end: `.place`, and `.call`, what the study printed."""
    place = settle_in(tmp_path_factory.mktemp("finished"))
    write_study(place, ROWS, seeds=[0, 1])
    return SimpleNamespace(place=place, call=run(place))


@pytest.fixture
def place(finished, tmp_path):
    """A copy of the finished study to go on in."""
    own = copied(finished.place, tmp_path)
    write_study(own, ROWS, seeds=[0, 1])
    return own
