"""Real parts that a machine may lack: a test without its part skips with the command that installs it, never in CI."""

import os
import shutil

import pytest


def need(program):
    """The path of a program; skips (in CI: fails) where it is missing."""
    found = shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if found is None:
        message = f"{program} is missing: install it with `make system`"
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    return found
