"""Checkpoints: whole or not at all, two of them, and the older one where the newest was damaged."""

import numpy as np
import pytest

from protocols.errors import AggregationError, DataError
from server.checkpoint import (
    KEEP,
    Checkpoint,
    Checkpoints,
    Progress,
    forget,
    knows,
    latest_checkpoint,
    read_checkpoint,
)
from server.checkpoint import save_checkpoint as save
from server.seats import Seat


def weights(value):
    return {
        "b": np.full(3, value, np.float32),
        "a": np.float64([[value, 2]]),
        "scalar": np.array(value, np.float32),
    }


def save_checkpoint(folder, number, arrays):
    return save(folder, Checkpoint(number, 0, arrays))


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_what_is_saved_is_what_is_read(tmp_path):
    """Round, names, shapes, types and values come back."""
    save_checkpoint(tmp_path / "new" / "part", 7, weights(1.5))
    checkpoint = latest_checkpoint(tmp_path / "new" / "part")
    found = checkpoint.weights
    assert checkpoint.round == 7
    assert found.keys() == weights(0).keys()
    for name, array in weights(1.5).items():
        assert (found[name].shape, found[name].dtype) == (array.shape, array.dtype)
        assert np.array_equal(found[name], array)


def test_what_its_continuation_needs_is_in_the_same_file(tmp_path):
    """Seed, who was asked and answered how often, who has which name, failures in a row."""
    progress = Progress({"s0": 3, "s1": 2}, {"s0": 2}, {"s0": Seat(2**63, ("train", "test"))}, 1)
    save(tmp_path, Checkpoint(3, 7, weights(1), progress))
    found = latest_checkpoint(tmp_path)
    assert (found.seed, found.progress) == (7, progress)


def test_one_of_before_is_read_without_what_was_not_kept_then(tmp_path):
    """Round, names and weights; nobody was counted."""
    from safetensors.numpy import save_file

    facts = {"round": "2", "names": '["b", "a", "scalar"]'}
    save_file(weights(1), tmp_path / "round-00002.safetensors", metadata=facts)
    found = latest_checkpoint(tmp_path)
    assert (found.round, found.progress) == (2, Progress())


def test_who_took_over_is_the_only_one_that_writes(tmp_path):
    """A ServerApp that outlived its SuperLink must not write over what its successor has done."""
    old, new = Checkpoints(tmp_path), Checkpoints(tmp_path)
    new.save(Checkpoint(1, 0, weights(1)))
    with pytest.raises(AggregationError, match="another ServerApp goes on"):
        old.save(Checkpoint(1, 0, weights(2)))
    new.save(Checkpoint(2, 0, weights(3)))
    assert latest_checkpoint(tmp_path).weights["b"][0] == 3


def test_the_order_of_an_array_in_memory_does_not_matter(tmp_path):
    """Columns first or rows first, the same numbers are read."""
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    save_checkpoint(tmp_path, 1, {"w": np.asfortranarray(array)})
    assert np.array_equal(latest_checkpoint(tmp_path).weights["w"], array)


def test_a_folder_without_checkpoints_has_none(tmp_path):
    """A run that has not begun, or has no folder yet, starts from round 1."""
    assert latest_checkpoint(tmp_path) is None
    assert latest_checkpoint(tmp_path / "missing") is None


def test_two_are_kept(tmp_path):
    """Older ones go, beyond round 9 and 99 too."""
    for number in (8, 9, 10, 99, 100):
        save_checkpoint(tmp_path, number, weights(number))
    assert names(tmp_path) == ["round-00099.safetensors", "round-00100.safetensors"]
    assert len(names(tmp_path)) == KEEP
    assert latest_checkpoint(tmp_path).round == 100


def test_later_rounds_than_asked_for_are_left_aside(tmp_path):
    """A round that the run record does not know is taken up from the one before; before the first, from nothing."""
    for number in (3, 4):
        save_checkpoint(tmp_path, number, weights(number))
    assert latest_checkpoint(tmp_path, up_to=4).round == 4
    assert latest_checkpoint(tmp_path, up_to=3).round == 3
    assert latest_checkpoint(tmp_path, up_to=2) is None


def test_a_round_that_is_repeated_replaces_its_checkpoint(tmp_path):
    """After a crash the same round is saved again."""
    save_checkpoint(tmp_path, 1, weights(1))
    save_checkpoint(tmp_path, 1, weights(2))
    assert latest_checkpoint(tmp_path).weights["b"][0] == 2


def test_a_write_that_fails_leaves_what_was_there(tmp_path):
    """Weights that cannot be written do not touch the checkpoint of before."""
    save_checkpoint(tmp_path, 1, weights(1))
    before = (tmp_path / "round-00001.safetensors").read_bytes()
    with pytest.raises(Exception, match="dtype"):
        save_checkpoint(tmp_path, 1, {"b": np.array(["text"])})
    assert (tmp_path / "round-00001.safetensors").read_bytes() == before


def test_a_half_written_file_is_no_checkpoint(tmp_path):
    """What a crash left under its temporary name is not taken for a round."""
    save_checkpoint(tmp_path, 1, weights(1))
    torn = tmp_path / ".round-00002.safetensors.123.part"
    torn.write_bytes(b"half")
    assert latest_checkpoint(tmp_path).round == 1
    save_checkpoint(tmp_path, 2, weights(1))
    assert not torn.exists()


@pytest.mark.parametrize("share", [0.0, 0.01, 0.5, 0.99])
def test_a_truncated_newest_falls_back_to_the_one_before(tmp_path, share):
    """A disk that lied about the newest costs one round, not the run."""
    save_checkpoint(tmp_path, 1, weights(1))
    newest = save_checkpoint(tmp_path, 2, weights(2))
    content = newest.read_bytes()
    newest.write_bytes(content[: int(share * len(content))])
    found = latest_checkpoint(tmp_path)
    assert (found.round, found.weights["b"][0]) == (1, 1)


def test_none_readable_names_folder_and_files(tmp_path):
    """Where every checkpoint is damaged, starting over silently would be wrong."""
    for number in (1, 2):
        save_checkpoint(tmp_path, number, weights(number)).write_bytes(b"\x00" * 20)
    with pytest.raises(DataError, match=r"no checkpoint can be read.*round-00002.*round-00001") as error:
        latest_checkpoint(tmp_path)
    assert str(tmp_path) in str(error.value)


def test_a_foreign_safetensors_file_is_refused(tmp_path):
    """Weights that do not say their round are no checkpoint."""
    from safetensors.numpy import save_file

    save_file(weights(1), tmp_path / "round-00001.safetensors")
    with pytest.raises(DataError, match="round-00001"):
        read_checkpoint(tmp_path / "round-00001.safetensors")


def test_a_person_who_withdraws_is_taken_out_of_what_is_said_beside_the_weights(tmp_path):
    """Names, counts and seats of theirs go, from every part's checkpoints; weights, round and the others stay."""
    progress = Progress({"s0": 3, "s1": 2}, {"s0": 2}, {"s0": Seat(1, ()), "s1": Seat(2, ())}, 1)
    for part in ("a", "b/c"):
        save(tmp_path / "checkpoints" / part, Checkpoint(3, 7, weights(1), progress))
    (tmp_path / "checkpoints/a/round-00002.safetensors").write_bytes(b"torn")
    assert knows(tmp_path, "s0")
    assert len(forget(tmp_path, "s0")) == 2
    assert forget(tmp_path, "s0") == []
    assert not knows(tmp_path, "s0")
    found = latest_checkpoint(tmp_path / "checkpoints/b/c")
    assert found.progress == Progress({"s1": 2}, {}, {"s1": Seat(2, ())}, 1)
    assert (found.round, found.seed, found.weights["b"][0]) == (3, 7, 1)
    assert b"s0" not in (tmp_path / "checkpoints/a/round-00003.safetensors").read_bytes()
