"""When a SuperNode is tried again: soon, later and later, after its lease, or never."""

import pytest

from client.join.patience import LEASE_S, LONGEST_DELAY_S, Ending, Patience
from protocols.errors import DataError

REFUSED = Ending(refused=True)


def test_failures_in_a_row_double_the_wait_up_to_a_minute():
    patience = Patience()
    delays = [patience.after(Ending(), now_s=0.0) for _ in range(9)]
    assert delays[:3] == [1.0, 2.0, 4.0]
    assert delays[-1] == LONGEST_DELAY_S


def test_who_was_connected_is_tried_again_at_once():
    patience = Patience()
    for _ in range(5):
        patience.after(Ending(), now_s=0.0)
    assert patience.after(Ending(connected=True), now_s=0.0) == 1.0


def test_a_refusal_is_borne_as_long_as_a_lease_may_last():
    patience = Patience()
    patience.after(REFUSED, now_s=1000.0)
    assert patience.after(REFUSED, now_s=1000.0 + LEASE_S) > 0
    with pytest.raises(DataError, match="ask the operator for a new one"):
        patience.after(REFUSED, now_s=1001.0 + LEASE_S)


def test_who_was_cut_off_and_is_then_refused_has_no_lease_to_wait_for():
    patience = Patience()
    patience.after(Ending(connected=True, cut_off=True), now_s=0.0)
    with pytest.raises(DataError, match="revoked"):
        patience.after(REFUSED, now_s=5.0)


def test_who_was_cut_off_and_let_in_again_is_borne_as_before():
    patience = Patience()
    patience.after(Ending(connected=True, cut_off=True), now_s=0.0)
    patience.after(Ending(connected=True), now_s=5.0)
    assert patience.after(REFUSED, now_s=10.0) > 0
