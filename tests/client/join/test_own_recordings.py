"""Which recordings of a joined device are learned from, and which it is tested on."""

from types import SimpleNamespace

import pytest
from small_federation import PEOPLE

from client.join.own_recordings import held_out_last, own_spec
from distillation.privacy import PrivacySpec
from distillation.splits import Selection
from protocols.records import Introduction
from server.cohort import Member
from server.privacy import bare


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


@pytest.mark.parametrize(
    ("role", "roles"), [("both", ("train", "test")), ("train", ("train",)), ("test", ("test",))]
)
def test_with_a_role_of_its_own_a_device_can_join_a_private_federation(tmp_path, dataset, role, roles):
    invitation = SimpleNamespace(name=PEOPLE[0], pack_key="")
    spec = own_spec(invitation, dataset, tmp_path / "store", subject=None, role=role)
    assert spec.roles == roles
    member = Member(1, Introduction(spec.known_as, spec.roles, 1))
    assert bool(bare(member, PrivacySpec("central"))) == (role == "both")
