"""The pack on its way: only what fits, only from whom one trusts, each shard once."""

from dataclasses import replace

import numpy as np
import pytest
from small_federation import GESTURES, SIGNAL, events, make_nodes, make_plan, run, write_pack_of

from client.app import app
from protocols.errors import AggregationError, DataError
from server import pack_delivery
from server.pack_delivery import OfferedPack
from simulations.engine import InProcessGrid


class Counting(InProcessGrid):
    """Notes the type of every message that is sent."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        Counting.sent = []

    def push_messages(self, messages):
        messages = list(messages)
        Counting.sent += [m.metadata.message_type for m in messages]
        return super().push_messages(messages)


def test_everybody_who_trains_gets_the_whole_pack(tmp_path, dataset, pack):
    """After delivery each training node's store holds every shard; others were sent none."""
    run(tmp_path, dataset, pack=pack, rounds=1)
    manifest = OfferedPack.open(str(pack.folder)).manifest
    assert len(manifest.shards) > 1
    for subject in ("s0", "s1", "s2"):
        stored = {p.stem for p in (tmp_path / "stores" / subject / "packs" / "shards").iterdir()}
        assert stored == {info.sha256 for info in manifest.shards}
    assert not (tmp_path / "stores" / "s4" / "packs").exists()


def test_bytes_on_record_are_those_of_the_shards(tmp_path, dataset, pack):
    """Three times the pack, with at most the hashes as names on top."""
    run(tmp_path, dataset, pack=pack, rounds=1)
    manifest = OfferedPack.open(str(pack.folder)).manifest
    (event,) = events(tmp_path, "pack")
    assert event["pack"] == manifest.sha256
    assert event["bytes_down"] == 3 * (manifest.num_bytes + 64 * len(manifest.shards))
    assert event["bytes_saved"] == 0


def test_shards_that_are_held_are_not_sent_again(tmp_path, dataset, pack):
    """A second federation with the same stores sends no shard, and says what that saved."""
    nodes = make_nodes(dataset, tmp_path, key=pack.key)
    run(tmp_path / "first", dataset, pack=pack, nodes=nodes, rounds=1)
    run(tmp_path / "second", dataset, pack=pack, nodes=nodes, rounds=1, grid=Counting)
    (event,) = events(tmp_path / "second", "pack")
    assert event["bytes_down"] == 0
    assert event["bytes_saved"] == 3 * OfferedPack.open(str(pack.folder)).manifest.num_bytes
    assert "query.shards" not in Counting.sent


def test_large_packs_travel_in_several_messages(tmp_path, dataset, pack, monkeypatch):
    """A message holds at most MESSAGE_BYTES, but always one shard."""
    monkeypatch.setattr(pack_delivery, "MESSAGE_BYTES", 1)
    run(tmp_path, dataset, pack=pack, rounds=1, grid=Counting)
    shards = OfferedPack.open(str(pack.folder)).manifest.shards
    assert Counting.sent.count("query.shards") == 3 * len(shards)


@pytest.mark.parametrize(
    ("field", "signal"),
    [
        ("gestures", {"gestures": tuple(reversed(GESTURES))}),
        ("sample_rate_hz", {"sample_rate_hz": 400.0, "window_ms": 100.0}),
        ("filters", {"remove_mean": True}),
    ],
)
def test_a_pack_that_does_not_fit_is_refused_at_the_introduction(tmp_path, dataset, pack, field, signal):
    """Before round 1; PackMismatch names the field that differs."""
    other = write_pack_of(dataset, tmp_path / "pack", signal=replace(SIGNAL, **signal))
    with pytest.raises(AggregationError, match=f"PackMismatch: knowledge pack: {field} is"):
        run(tmp_path, dataset, pack=other)
    assert {e["event"] for e in events(tmp_path)} == {"refused"}


@pytest.mark.parametrize(("key", "reason"), [("", "trusts no key"), ("ab" * 32, "signed by key")])
def test_a_pack_of_an_untrusted_key_is_refused(tmp_path, dataset, pack, key, reason):
    """A node accepts packs of the key in its own spec alone."""
    with pytest.raises(AggregationError, match=f"DataError: .*{reason}"):
        run(tmp_path, dataset, pack=pack, nodes=make_nodes(dataset, tmp_path, key=key))


def test_a_pack_for_one_machine_does_not_travel(tmp_path, dataset):
    """Windows whose licence keeps them here are not sent unless all nodes are processes of this machine."""
    local = write_pack_of(dataset, tmp_path / "pack", license_name="CC-BY-NC-4.0", simulation=True)
    assert OfferedPack.open(str(local.folder)).manifest.local_only
    with pytest.raises(DataError, match="made for this machine alone"):
        run(tmp_path, dataset, pack=local, rounds=1)
    assert list((tmp_path / "stores" / "s0" / "packs" / "shards").iterdir()) == []
    run(tmp_path, dataset, pack=local, rounds=1, same_machine=True)
    assert events(tmp_path, "stop")


def test_a_node_that_cannot_take_its_shards_is_named(tmp_path, dataset, pack):
    """A full disk at one node is that node's fault, by name."""

    def full(message, context):
        if message.metadata.message_type == "query.shards":
            raise OSError("no space left on device")
        return app(message, context)

    with pytest.raises(
        AggregationError, match="s0 could not take the knowledge pack: OSError: no space left"
    ):
        run(tmp_path, dataset, pack=pack, client=full)


def test_a_damaged_shard_is_found_before_it_is_learned_from(tmp_path, dataset, pack):
    """One flipped bit in the server's pack, and nobody learns from it."""
    import shutil

    shutil.copytree(pack.folder, tmp_path / "pack")
    shard = next(iter(sorted((tmp_path / "pack").glob("*.shard"))))
    content = bytearray(shard.read_bytes())
    content[-1] ^= 1
    shard.write_bytes(content)
    with pytest.raises((DataError, AggregationError), match="shard"):
        run(tmp_path, dataset, pack=replace(pack, folder=tmp_path / "pack"))
    assert events(tmp_path, "client") == []


def test_no_folder_means_no_pack(tmp_path):
    """A federation without a teacher has no pack; a folder without a manifest is an error."""
    assert OfferedPack.open("") is None
    with pytest.raises(DataError, match="no knowledge pack"):
        OfferedPack.open(str(tmp_path))


def test_a_warm_start_begins_where_the_pack_leads(tmp_path, dataset, pack):
    """The weights of round 0 are distilled from the pack alone: the same for any clients, other than without."""
    from server.federation import initial_weights

    offered, plan = OfferedPack.open(str(pack.folder)), make_plan(tmp_path, pack=pack)
    warm, again, cold = (
        initial_weights(plan, offered),
        initial_weights(plan, offered),
        initial_weights(plan, None),
    )
    assert all(np.array_equal(warm[name], again[name]) for name in warm)
    assert not all(np.array_equal(warm[name], cold[name]) for name in warm)
