"""One title, colour and mark for a method."""

from server.history.methods import METHODS, UNLABELLED_LDA, method_of
from simulations import report


def luminance(colour: str) -> float:
    """WCAG 2.2's relative luminance of #RRGGBB."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def contrast(a: str, b: str) -> float:
    darker, lighter = sorted((luminance(a), luminance(b)))
    return (lighter + 0.05) / (darker + 0.05)


def test_titles_and_order_are_those_of_the_end_table():
    assert [(m.row, m.title) for m in METHODS.values()] == [(row, r[0]) for row, r in report.ROWS.items()]
    assert [m.federation for m in METHODS.values()] == [r[1] for r in report.ROWS.values()]
    assert report.UNLABELLED_LDA == UNLABELLED_LDA


def test_every_colour_can_be_seen_on_its_background():
    assert min(contrast(m.light, "#FFFFFF") for m in METHODS.values()) >= 3
    assert min(contrast(m.dark, "#1D1D1D") for m in METHODS.values()) >= 3


def test_no_two_methods_look_alike():
    for look in ("light", "dark"):
        assert len({getattr(m, look) for m in METHODS.values()}) == len(METHODS)
    assert len({m.mark for m in METHODS.values()}) == len(METHODS)


def test_a_student_of_a_federation_has_a_row():
    assert method_of("federated", "personalised") is METHODS["personalised_without_teacher"]
    assert method_of("federated_distilled", "shared") is METHODS["federated_distilled"]
    assert method_of("<script>", "shared") is None
