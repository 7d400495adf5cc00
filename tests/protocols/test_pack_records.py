"""Packs through real Flower objects, serialised and back."""

import hashlib

import numpy as np
import pytest
from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict
from packs import facts, make

from protocols.errors import DataError
from protocols.pack import read_manifest
from protocols.pack_records import (
    manifest_from_record,
    manifest_to_record,
    shards_from_record,
    shards_to_record,
)


def test_manifest_survives_flower(tmp_path):
    make(tmp_path / "pack")
    signed = read_manifest(tmp_path / "pack")
    record = ConfigRecord.inflate(manifest_to_record(signed).deflate())
    assert manifest_from_record(record) == signed


def test_shards_survive_flower(tmp_path):
    """Through Flower's own 5-MB chunks and back, byte for byte."""
    manifest = make(tmp_path / "pack")
    wanted = [info.sha256 for info in manifest.shards[1:3]]
    sent = shards_to_record(manifest, tmp_path / "pack", wanted)["shards"]
    arrays = {name: Array.inflate(array.deflate(), dict(array.slice_array())) for name, array in sent.items()}
    received = list(shards_from_record(RecordDict({"shards": ArrayRecord(arrays)})))
    assert [hashlib.sha256(content).hexdigest() for content in received] == wanted


def test_a_pack_for_this_machine_does_not_travel(tmp_path):
    manifest = make(tmp_path / "pack", manifest=facts(local_only=True, license="none stated"))
    wanted = [manifest.shards[0].sha256]
    with pytest.raises(DataError, match=r"made \(none stated\): made for this machine alone"):
        shards_to_record(manifest, tmp_path / "pack", wanted)
    assert (
        len(
            list(shards_from_record(shards_to_record(manifest, tmp_path / "pack", wanted, same_machine=True)))
        )
        == 1
    )


@pytest.mark.parametrize("name", ["0" * 64, "../manifest.json"])
def test_only_shards_of_the_pack_are_sent(tmp_path, name):
    manifest = make(tmp_path / "pack")
    with pytest.raises(DataError, match="is none of the"):
        shards_to_record(manifest, tmp_path / "pack", [name])


def test_messages_that_carry_no_shards_are_refused():
    with pytest.raises(DataError, match="expected 'shards'"):
        list(shards_from_record(RecordDict({"arrays": ArrayRecord()})))
    numpy_array = RecordDict({"shards": ArrayRecord({"0" * 64: Array(np.zeros(3))})})
    with pytest.raises(DataError, match="is no shard"):
        list(shards_from_record(numpy_array))
    with pytest.raises(DataError, match="expected the bytes of a manifest"):
        manifest_from_record(ConfigRecord({"manifest": "text"}))
