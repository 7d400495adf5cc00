"""The client's own store of knowledge packs: kept across runs, filled with what is missing only.

    manifests/<sha256>.json, .sig    what packs are made of, by the hash of the manifest
    shards/<sha256>.shard            whole shards; packs that share one store it once
    parts/<sha256>.part              the beginning of a shard whose download broke off
    counters.json                    bytes received, and bytes that need not be sent again

Every file appears whole or not at all, so a kill at any instant costs at most the chunk in flight.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from distillation.atomic import replacing
from protocols.errors import DataError, VersionMismatch
from protocols.manifest import SHA256, Manifest, ShardInfo, SignedManifest
from protocols.pack import KnowledgePack, shard_fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from protocols.pack import TrialSource

CHUNK_BYTES = 5_000_000  # what Flower cuts arrays into: a broken download repeats at most this much


class PackStore:
    """Knowledge packs on this device's disk.

    Args:
        folder: of the store; made if needed.
        trusted_key: public key (64 hexadecimal digits) whose packs are accepted; empty: none.
        max_bytes: limit for all shards; beyond it those least recently used go.
    """

    def __init__(self, folder: Path, *, trusted_key: str, max_bytes: int = 2_000_000_000) -> None:
        self._shards, self._parts, self._manifests = (folder / n for n in ("shards", "parts", "manifests"))
        for each in (self._shards, self._parts, self._manifests):
            each.mkdir(parents=True, exist_ok=True)
        self._counters = folder / "counters.json"
        self._trusted_key = trusted_key
        self._max_bytes = max_bytes

    @property
    def bytes_received(self) -> int:
        """Bytes of shards that came in, over the life of the store."""
        return self._counts()["received"]

    @property
    def bytes_saved(self) -> int:
        """Bytes of shards that were here already when a pack was offered, over the life of the store."""
        return self._counts()["saved"]

    @property
    def num_bytes(self) -> int:
        """Bytes on disk, of shards and of parts."""
        return sum(path.stat().st_size for path in self._files())

    def accept(self, signed: SignedManifest) -> Manifest:
        """Take note of a pack that a server offers; `missing` then tells what to ask for.

        Raises:
            DataError: not signed by the trusted key, or larger than the store may be or the disk has room for.
            VersionMismatch: another version of the format.
        """
        if not self._trusted_key:
            raise DataError("knowledge pack: this node trusts no key yet, so it accepts no pack")
        manifest = signed.verify(self._trusted_key)
        if manifest.num_bytes > self._max_bytes:
            raise DataError(
                f"knowledge pack of {manifest.num_bytes} bytes: this store holds at most {self._max_bytes}"
            )
        missing = set(self.missing(manifest))
        held = sum(i.num_bytes for i in manifest.shards if i.sha256 not in missing)
        held += sum(map(self.part_bytes, missing))
        self._check_disk(manifest.num_bytes - held)
        _put(self._manifests / f"{manifest.sha256}.sig", signed.signature)
        _put(self._manifests / f"{manifest.sha256}.json", signed.content)
        self._count(saved=held)
        return manifest

    def offer(self, content: bytes, signature: bytes) -> tuple[str, ...]:
        """As `accept`, from the bytes of a message; returns what is missing."""
        return tuple(self.missing(self.accept(SignedManifest(content, signature))))

    def missing(self, manifest: Manifest) -> list[str]:
        """The shards that are not here, or damaged, in the manifest's order."""
        return [info.sha256 for info in manifest.shards if shard_fault(self._path(info), info) is not None]

    def part_bytes(self, sha256: str) -> int:
        """How much of a shard is here from a download that broke off: where to go on."""
        try:
            return self._part(sha256).stat().st_size
        except FileNotFoundError:
            return 0

    def add_shard(self, content: bytes) -> None:
        """Store a whole shard of an accepted pack.

        Raises:
            DataError: no accepted pack has such a shard.
        """
        info = self._expected(hashlib.sha256(content).hexdigest())
        if shard_fault(self._path(info), info) is None:
            return  # sent once more: nothing to write
        self._make_room(info)
        _put(self._path(info), content)
        self._part(info.sha256).unlink(missing_ok=True)
        self._count(received=len(content))

    def append_chunk(self, sha256: str, offset: int, content: bytes) -> int:
        """Store the next stretch of a shard; the last one is checked and completes it.

        Args:
            sha256: of the whole shard.
            offset: where the stretch begins; must be what `part_bytes` says.
            content: at most CHUNK_BYTES.

        Returns:
            Bytes of the shard that are here now.

        Raises:
            DataError: not the next stretch of an accepted shard, or the whole does not have its hash: then
                the part is dropped, and the shard is missing from its beginning.
        """
        info, held = self._expected(sha256), self.part_bytes(sha256)
        end = offset + len(content)
        if offset != held or end > info.num_bytes or not 0 < len(content) <= CHUNK_BYTES:
            raise DataError(
                f"shard {sha256[:16]}: bytes {offset} to {end} of {info.num_bytes}, "
                f"expected at most {CHUNK_BYTES} from byte {held} on"
            )
        if not held:
            self._make_room(info)
        with self._part(sha256).open("ab") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        self._count(received=len(content))
        if end == info.num_bytes:
            self._complete(info)
        return end

    def open(self, pack: str, *, trials: TrialSource | None = None) -> KnowledgePack:
        """Open a whole pack for learning; every shard is checked.

        Args:
            pack: hash of the manifest, as a round names it.
            trials: for a pack without windows, the holder's own copy of the set.

        Raises:
            DataError: an unknown pack, or shards that are missing or damaged. Damaged ones are dropped, so
                that `missing` asks for them again.
        """
        manifest = self.manifest(pack)
        for info in manifest.shards:
            fault = shard_fault(self._path(info), info)
            if fault is not None:
                self._path(info).unlink(missing_ok=True)
                raise DataError(f"knowledge pack {pack[:16]}: shard {info.filename}: {fault}; fetch it again")
            now_ns = time.time_ns()  # the file system's own clock is coarser
            os.utime(self._path(info), ns=(now_ns, now_ns))
        return KnowledgePack.from_shards(manifest, self._shards, trials=trials)

    def manifest(self, pack: str) -> Manifest:
        """A pack that was accepted earlier, by the hash of its manifest.

        Raises:
            DataError: there is none, or it is not signed by the key that is trusted now.
        """
        if SHA256.fullmatch(pack) is None:
            raise DataError(f"knowledge pack {pack[:64]!r}: expected the hash of a manifest")
        path = self._manifests / f"{pack}.json"
        try:
            signed = SignedManifest(path.read_bytes(), path.with_suffix(".sig").read_bytes())
        except FileNotFoundError:
            raise DataError(f"knowledge pack {pack[:16]}: never offered to this store") from None
        return signed.verify(self._trusted_key)

    def _expected(self, sha256: str) -> ShardInfo:
        """A shard that an accepted pack names: nobody can fill the disk with anything else."""
        for manifest in self._accepted():
            for info in manifest.shards:
                if info.sha256 == sha256:
                    return info
        raise DataError(f"shard {sha256[:64]!r}: no accepted knowledge pack has it")

    def _accepted(self) -> Iterator[Manifest]:
        """All packs; those of a key that is no longer trusted, or of an older format, are passed over."""
        for path in self._manifests.glob("*.json"):
            with suppress(DataError, VersionMismatch):
                yield self.manifest(path.stem)

    def _complete(self, info: ShardInfo) -> None:
        part = self._part(info.sha256)
        fault = shard_fault(part, info)
        if fault is not None:
            part.unlink()
            raise DataError(f"shard {info.filename}: {fault} after the download; fetch it again")
        part.replace(self._path(info))

    def _check_disk(self, wanted: int) -> None:
        """DataError unless that many bytes more have room, beside what the store may drop for them."""
        idle = self.num_bytes + wanted - self._max_bytes  # what `_make_room` drops
        free = shutil.disk_usage(self._shards).free + max(0, idle)
        if wanted > free:
            raise DataError(
                f"knowledge pack: {wanted} bytes of it are missing, the disk of this device has {free} free; make room"
            )

    def _make_room(self, wanted: ShardInfo) -> None:
        """Drop what was least recently used, but nothing of a pack that the wanted shard belongs to."""
        kept = {info.sha256 for pack in self._accepted() if wanted in pack.shards for info in pack.shards}
        idle = sorted(
            (path for path in self._files() if path.stem not in kept),
            key=lambda path: path.stat().st_mtime_ns,
        )
        excess = self.num_bytes + wanted.num_bytes - self._max_bytes
        for path in idle:
            if excess <= 0:
                return
            excess -= path.stat().st_size
            path.unlink()

    def _files(self) -> Iterator[Path]:
        yield from self._shards.iterdir()
        yield from self._parts.iterdir()

    def _path(self, info: ShardInfo) -> Path:
        return self._shards / info.filename

    def _part(self, sha256: str) -> Path:
        return self._parts / f"{sha256}.part"

    def _counts(self) -> dict[str, int]:
        try:
            counts = json.loads(self._counters.read_text())
            return {name: int(counts[name]) for name in ("received", "saved")}
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return {"received": 0, "saved": 0}  # only statistics: never a reason to stop

    def _count(self, *, received: int = 0, saved: int = 0) -> None:
        counts = self._counts()
        counts["received"] += received
        counts["saved"] += saved
        _put(self._counters, json.dumps(counts).encode())


def _put(path: Path, content: bytes) -> None:
    """A file that is there whole or not at all, also where the disk is full."""
    with replacing(path) as scratch:
        scratch.write_bytes(content)
