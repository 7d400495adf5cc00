"""What a chart is told: everything once, then only what is new."""

import math

from server.dashboard.curves import Line, _message, news_of


def lines(**values):
    return {name: Line(name, tuple(range(1, len(v) + 1)), tuple(v)) for name, v in values.items()}


def test_nothing_new_is_nothing_to_send():
    assert news_of(lines(a=[0.1, 0.2]), lines(a=[0.1, 0.2])) == {}


def test_a_new_round_is_all_that_is_sent():
    assert news_of(lines(a=[0.1, 0.2], b=[0.3]), lines(a=[0.1, 0.2, 0.3], b=[0.3])) == {0: [[3, 0.3]]}


def test_an_earlier_round_that_changed_is_sent_again():
    assert news_of(lines(a=[0.1, 0.2]), lines(a=[0.5, 0.2, 0.3])) == {0: [[1, 0.5], [3, 0.3]]}


def test_other_lines_or_lost_rounds_need_everything():
    assert news_of(lines(a=[1]), lines(a=[1], b=[1])) is None
    assert news_of(lines(a=[1, 2]), lines(a=[1])) is None
    assert news_of({"a": Line("a", (2,), (1.0,))}, {"a": Line("a", (1, 2), (1.0, 1.0))}) is None
    assert news_of(lines(a=[1]), {"a": Line("a", (1,), (1,), bold=True)}) is None
    assert news_of(lines(a=[1]), {"a": Line("a", (1,), (1,), wide=True)}) is None


def test_what_is_no_number_is_a_gap_and_a_long_name_is_cut():
    message = _message(Line("x" * 5000 + "\ud800", (1, 2, 3), (math.nan, math.inf, 0.123456789)))
    assert message["values"] == [None, None, 0.12346]
    assert len(message["name"]) == 120
    message["name"].encode()
