"""Errors as a server hears them: one line, our own words only, no folders of this device."""

import errno

import pytest
from flwr.app import Context, Message, MessageType, RecordDict
from flwr.clientapp import ClientApp

from client.answers import one_line_errors
from protocols.errors import ConfigError, DataError
from simulations.engine import InProcessGrid


def heard(error):
    """The reason that a server reads when a node's app raises this."""
    app = ClientApp(mods=[one_line_errors])

    @app.train()
    def train(message: Message, context: Context) -> Message:
        raise error

    (reply,) = InProcessGrid(app, 1, {}).send_and_receive([Message(RecordDict(), 1000, MessageType.TRAIN)])
    return reply.error.reason


def test_our_own_errors_are_told_in_one_line():
    """Their kind, what was found, what was expected."""
    assert heard(ConfigError("steps: found 9,\nallowed is 3")) == "ConfigError: steps: found 9, allowed is 3"


@pytest.mark.parametrize("error", [OSError(2, "No such file", "/home/ada/emg.npz"), KeyError("ada")])
def test_other_errors_are_told_by_their_kind_alone(error, caplog):
    """Whatever they quote stays in this device's log, with the traceback."""
    assert heard(error) == f"{type(error).__name__}: see this device's log"
    assert "Traceback" in caplog.text


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (MemoryError(), "MemoryError: not enough memory for it"),
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "MemoryError: not enough memory for it"),
        (OSError(errno.ENOSPC, "No space left", "/home/ada/x"), "OSError: this device's disk is full"),
    ],
)
def test_what_a_device_has_too_little_of_is_said(error, told):
    """Memory and disk are nobody's secret, and an operator can do something about them."""
    assert heard(error) == told


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("found no train recordings in /home/ada/emg/made", "found no train recordings in …/made"),
        ("node spec '/srv/x/node.json': torn", "node spec '…/node.json': torn"),
        ("8/12 windows, 3 / 4, a/b", "8/12 windows, 3 / 4, a/b"),
    ],
)
def test_folders_of_the_device_are_not_told(words, told):
    """A path's last name is enough to understand the error."""
    assert heard(DataError(words)) == f"DataError: {told}"


def test_long_words_are_cut():
    """A manifest's worth of text is a sentence."""
    assert len(heard(DataError("no " * 10_000))) < 600
