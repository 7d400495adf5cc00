"""A few people, and a knowledge pack of two more, made once for all tests."""

import signal
from contextlib import suppress

import pytest
import torch
from small_federation import write_pack_of, write_people

torch.set_num_threads(1)

# A shell that starts the tests in the background has SIGINT ignored, and everything below inherits that: Ctrl-C could
# not be tested, and what is started would run on.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    with suppress(ValueError):  # not in the main thread
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def dataset(tmp_path_factory):
    """Folder of a dataset of seven people."""
    return write_people(tmp_path_factory.mktemp("data") / "made")


@pytest.fixture(scope="session")
def pack(tmp_path_factory, dataset):
    """A knowledge pack of the last two people: its folder, and the key that signed it."""
    return write_pack_of(dataset, tmp_path_factory.mktemp("packs") / "pack")
