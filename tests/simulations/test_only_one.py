"""A run's folder: one process works in it, others may look."""

import fcntl
import threading
import time

import pytest

from protocols.errors import ConfigError
from simulations.simulate import LOCK_FILE, only_one


def test_who_only_looks_keeps_no_run_from_starting(tmp_path):
    with (tmp_path / LOCK_FILE).open("w") as looker:
        fcntl.flock(looker, fcntl.LOCK_SH)
        leaving = threading.Timer(0.1, looker.close)
        leaving.start()
        with only_one(tmp_path):
            pass
        leaving.join()


def test_another_run_of_the_same_folder_is_refused_soon(tmp_path):
    with only_one(tmp_path):
        began_s = time.monotonic()
        with pytest.raises(ConfigError, match="being run by another process"), only_one(tmp_path):
            pass
        assert time.monotonic() - began_s < 5
    with only_one(tmp_path):
        pass
