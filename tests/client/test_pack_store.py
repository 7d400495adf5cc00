"""The client's store: missing shards only, broken downloads go on, nothing damaged is ever used."""

import errno
import os
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from client import pack_store
from client.pack_store import PackStore
from protocols.errors import DataError
from protocols.manifest import Manifest
from protocols.pack import KnowledgePack, read_manifest
from protocols.pack_writer import write_pack
from protocols.shard import Segment
from protocols.signing import load_or_create_key, public_key_of

C, T, K = 2, 8, 3


def build(folder, *, dataset="made", shared_trials=5, own_seed=None):
    """A pack of about five shards; packs with other `own_seed` share all but the last ones."""
    rng, last = np.random.default_rng(0), np.random.default_rng(own_seed)
    draws = [rng] * shared_trials + ([last] * 2 if own_seed is not None else [])
    source = [
        Segment("s", i, 0, r.integers(-99, 99, (8 * T, C)).astype(np.int8), np.ones(C, np.float32))
        for i, r in enumerate(draws)
    ]
    facts = Manifest(
        dataset=dataset,
        license="CC0-1.0",
        teacher_sha256="ab" * 32,
        gestures=("a", "b", "c"),
        output_kind="categorical",
        sample_rate_hz=200,
        channel_map=(0, 1),
        window_length=T,
        window_stride=T,
        codec="row-uint8",
    )
    key = load_or_create_key(folder.parent / "server.key")
    return write_pack(facts, source, lambda w: w.reshape(len(w), -1)[:, :K], folder, key, shard_windows=8)


@pytest.fixture
def offered(tmp_path):
    build(tmp_path / "pack")
    return tmp_path / "pack"


@pytest.fixture
def store(tmp_path, offered):
    return reopen(tmp_path)


def reopen(tmp_path, **options):
    key = public_key_of(load_or_create_key(tmp_path / "server.key"))
    return PackStore(tmp_path / "store", **({"trusted_key": key} | options))


def content_of(folder, sha256):
    return (folder / f"{sha256}.shard").read_bytes()


def fill(store, folder):
    manifest = store.accept(read_manifest(folder))
    for name in store.missing(manifest):
        store.add_shard(content_of(folder, name))
    return manifest


def test_a_pack_arrives_whole_and_stays_over_restarts(tmp_path, store, offered):
    manifest = store.accept(read_manifest(offered))
    assert store.missing(manifest) == [info.sha256 for info in manifest.shards]
    fill(store, offered)
    again = reopen(tmp_path)
    assert again.missing(manifest) == []
    indices = np.arange(manifest.num_windows)
    for found, sent in zip(
        again.open(manifest.sha256).take(indices), KnowledgePack.open(offered).take(indices), strict=True
    ):
        assert np.array_equal(found, sent)


def test_counters_say_what_came_and_what_was_spared(tmp_path, store, offered):
    manifest = fill(store, offered)
    assert (store.bytes_received, store.bytes_saved) == (manifest.num_bytes, 0)
    again = reopen(tmp_path)
    assert again.offer(read_manifest(offered).content, read_manifest(offered).signature) == ()
    assert (again.bytes_received, again.bytes_saved) == (manifest.num_bytes, manifest.num_bytes)


def test_two_packs_share_shards(tmp_path, store, offered):
    fill(store, offered)
    other = build(tmp_path / "other", own_seed=7)
    missing = store.missing(store.accept(read_manifest(tmp_path / "other")))
    assert missing == [info.sha256 for info in other.shards[5:]]
    assert len(missing) == 2


def test_a_broken_download_goes_on_after_a_restart(tmp_path, store, offered):
    manifest = store.accept(read_manifest(offered))
    name = manifest.shards[0].sha256
    content = content_of(offered, name)
    assert store.append_chunk(name, 0, content[:100]) == 100
    again = reopen(tmp_path)
    assert again.part_bytes(name) == 100
    assert name in again.missing(manifest)
    again.append_chunk(name, 100, content[100:])
    assert name not in again.missing(manifest)
    assert (again.part_bytes(name), again.bytes_received) == (0, len(content))


@pytest.mark.parametrize(("offset", "stop"), [(0, 50), (101, 150), (100, 100), (100, None)])
def test_a_chunk_that_does_not_follow_is_refused(store, offered, offset, stop):
    manifest = store.accept(read_manifest(offered))
    name = manifest.shards[0].sha256
    content = content_of(offered, name) + b"beyond"
    store.append_chunk(name, 0, content[:100])
    with pytest.raises(DataError, match="from byte 100 on"):
        store.append_chunk(name, offset, content[offset:stop])
    assert store.part_bytes(name) == 100


def test_chunks_are_bounded(store, offered, monkeypatch):
    monkeypatch.setattr(pack_store, "CHUNK_BYTES", 10)
    name = store.accept(read_manifest(offered)).shards[0].sha256
    with pytest.raises(DataError, match="at most 10"):
        store.append_chunk(name, 0, content_of(offered, name)[:11])


def test_a_corrupted_download_is_dropped_and_asked_for_again(store, offered):
    manifest = store.accept(read_manifest(offered))
    name = manifest.shards[0].sha256
    content = bytearray(content_of(offered, name))
    content[-1] ^= 1
    with pytest.raises(DataError, match=f"{name}.shard: its SHA-256"):
        store.append_chunk(name, 0, bytes(content))
    assert store.part_bytes(name) == 0
    assert name in store.missing(manifest)


@pytest.mark.parametrize("content", [b"", b"anything"])
def test_a_shard_of_no_accepted_pack_is_refused(store, offered, content):
    store.accept(read_manifest(offered))
    with pytest.raises(DataError, match="no accepted knowledge pack"):
        store.add_shard(content)
    for name in ("0" * 64, "../../evil"):
        with pytest.raises(DataError, match="no accepted knowledge pack"):
            store.append_chunk(name, 0, b"x")


def test_damage_on_disk_is_found_at_open_and_asked_for_again(tmp_path, store, offered):
    manifest = fill(store, offered)
    victim = tmp_path / "store" / "shards" / manifest.shards[2].filename
    content = bytearray(victim.read_bytes())
    content[40] ^= 1
    victim.write_bytes(content)
    with pytest.raises(DataError, match=manifest.shards[2].sha256):
        store.open(manifest.sha256)
    assert store.missing(manifest) == [manifest.shards[2].sha256]
    fill(store, offered)
    assert len(store.open(manifest.sha256)) == manifest.num_windows


def test_only_the_trusted_signer_is_accepted(tmp_path, offered):
    signed = read_manifest(offered)
    with pytest.raises(DataError, match="trusts no key"):
        reopen(tmp_path, trusted_key="").accept(signed)
    stranger = public_key_of(load_or_create_key(tmp_path / "stranger.key"))
    with pytest.raises(DataError, match="signed by key"):
        reopen(tmp_path, trusted_key=stranger).accept(signed)


def test_a_new_trusted_key_leaves_old_packs_unused_not_in_the_way(tmp_path, store, offered):
    old = fill(store, offered)
    (tmp_path / "server.key").rename(tmp_path / "old.key")
    build(tmp_path / "new", own_seed=3)
    renewed = reopen(tmp_path)
    with pytest.raises(DataError, match="signed by key"):
        renewed.open(old.sha256)
    assert len(renewed.open(fill(renewed, tmp_path / "new").sha256)) > 0


@pytest.mark.parametrize("pack", ["0" * 64, "", "../manifests/x"])
def test_an_unknown_pack_is_refused(store, pack):
    with pytest.raises(DataError, match=r"never offered|expected the hash"):
        store.open(pack)


def test_the_least_recently_used_goes_first(tmp_path, offered):
    size = read_manifest(offered).verify().num_bytes
    build(tmp_path / "b", shared_trials=0, own_seed=1)
    build(tmp_path / "c", shared_trials=0, own_seed=2)
    store = reopen(tmp_path, max_bytes=size + read_manifest(tmp_path / "b").verify().num_bytes + 100)
    old, newer = fill(store, offered), fill(store, tmp_path / "b")
    assert len(store.open(newer.sha256)) > 0
    store.open(old.sha256)  # used last, so the newer one goes
    newest = fill(store, tmp_path / "c")
    assert store.missing(old) == store.missing(newest) == []
    assert len(store.missing(newer)) > 0
    assert store.num_bytes <= store._max_bytes


def test_a_pack_larger_than_the_store_is_refused(tmp_path, offered):
    with pytest.raises(DataError, match="holds at most 1000"):
        reopen(tmp_path, max_bytes=1000).accept(read_manifest(offered))


def test_kill_9_in_the_middle_leaves_a_store_that_goes_on(tmp_path, store, offered):
    """A real process, killed after its second chunk."""
    name = store.accept(read_manifest(offered)).shards[0].sha256
    program = (
        "import os, signal, sys; from pathlib import Path; from client.pack_store import PackStore\n"
        "folder, key, name, shard = sys.argv[1:]\n"
        "store, content = PackStore(Path(folder), trusted_key=key), Path(shard).read_bytes()\n"
        "store.append_chunk(name, 0, content[:64]); store.append_chunk(name, 64, content[64:96])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    key = public_key_of(load_or_create_key(tmp_path / "server.key"))
    arguments = [tmp_path / "store", key, name, offered / f"{name}.shard"]
    root = {"PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run([sys.executable, "-c", program, *arguments], env=os.environ | root, check=False)
    assert killed.returncode == -signal.SIGKILL
    again = reopen(tmp_path)
    assert again.part_bytes(name) == 96
    again.append_chunk(name, 96, content_of(offered, name)[96:])
    assert len(again.open(fill(again, offered).sha256)) > 0


def test_unreadable_counters_stop_nothing(tmp_path, store, offered):
    (tmp_path / "store" / "counters.json").write_text("{torn")
    fill(store, offered)
    assert store.bytes_received > 0


def test_a_pack_that_the_disk_has_no_room_for_is_refused_before_it_is_sent(store, offered, monkeypatch):
    monkeypatch.setattr(pack_store.shutil, "disk_usage", lambda _: SimpleNamespace(free=100))
    with pytest.raises(DataError, match="the disk of this device has 100 free"):
        store.accept(read_manifest(offered))
    with pytest.raises(DataError, match="no accepted knowledge pack"):
        store.add_shard(content_of(offered, read_manifest(offered).verify().shards[0].sha256))


def test_a_shard_that_is_here_is_not_written_again(tmp_path, store, offered):
    manifest = fill(store, offered)
    info, received = manifest.shards[0], store.bytes_received
    path = tmp_path / "store/shards" / info.filename
    before = path.stat().st_ino
    store.add_shard(content_of(offered, info.sha256))
    assert (path.stat().st_ino, store.bytes_received) == (before, received)


def test_a_full_disk_costs_only_what_was_being_written(tmp_path, store, offered, monkeypatch):
    """Written by halves, then ENOSPC: the shards before stay, and no scratch file takes up the rest."""
    manifest = store.accept(read_manifest(offered))
    first, second = (content_of(offered, info.sha256) for info in manifest.shards[:2])
    store.add_shard(first)

    def full(path, content):
        with path.open("wb") as file:
            file.write(content[: len(content) // 2])
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "write_bytes", full)
        with pytest.raises(OSError, match="No space"):
            store.add_shard(second)
    assert store.missing(manifest) == [info.sha256 for info in manifest.shards[1:]]
    assert not [path for path in (tmp_path / "store").rglob(".*") if path.is_file()]
    store.add_shard(second)
    assert len(store.missing(manifest)) == len(manifest.shards) - 2
