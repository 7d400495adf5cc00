"""A node may introduce itself by the name of its invitation only."""

import pytest

from protocols.errors import DataError
from server.known_names import may_come, name_refusal, read_names, write_names

NAMES = {2**63 + 5: "anna", 7: "ben"}


def test_what_was_written_is_read(tmp_path):
    write_names(tmp_path / "names.json", NAMES)
    assert read_names(tmp_path / "names.json") == NAMES
    assert (tmp_path / "names.json").stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize("content", [None, "", "[]", '{"x": "anna"}', "{"])
def test_without_a_file_nobody_is_known_and_that_is_an_error(tmp_path, content):
    path = tmp_path / "names.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=r"names\.json"):
        read_names(path)


def test_a_node_has_the_name_of_its_invitation_and_no_other():
    assert name_refusal(7, "ben", NAMES) == ""
    assert name_refusal(7, "anna", NAMES) == "claims to be 'anna', and was invited as 'ben'"
    assert name_refusal(8, "anna", NAMES) == "claims to be 'anna', and its key belongs to no invitation"


def test_where_nobody_was_invited_any_name_will_do():
    assert name_refusal(8, "anna", None) == ""


def test_while_nobody_knows_the_names_everybody_may_come(tmp_path):
    assert may_come("s0", tmp_path / "missing.json")
    write_names(tmp_path / "names.json", {1000: "s0"})
    assert (may_come("s0", tmp_path / "names.json"), may_come("s1", tmp_path / "names.json")) == (True, False)
