"""Which recordings of a joined device are learned from, and which it is tested on."""

from types import SimpleNamespace

import pytest

from client.join.own_recordings import held_out_last
from distillation.splits import Selection


@pytest.mark.parametrize(
    ("trials", "learned", "tested"),
    [
        ([(0, 0), (1, 0), (2, 0)], Selection(sessions=(0, 1)), Selection(sessions=(2,))),
        ([(0, 0), (0, 1), (0, 2)], Selection(repetitions=(0, 1)), Selection(repetitions=(2,))),
        ([(0, 0), (0, 0)], Selection(), None),
    ],
)
def test_the_last_session_or_else_repetition_is_held_out(trials, learned, tested):
    recordings = [SimpleNamespace(session=session, repetition=repetition) for session, repetition in trials]
    assert held_out_last(recordings) == (learned, tested)
    if tested is not None:
        assert not learned.overlaps(tested)
