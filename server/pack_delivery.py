"""The pack on its way: each client gets the shards that it lacks, once, a few megabytes a message."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from protocols.pack import KnowledgePack, read_manifest
from protocols.pack_records import shards_to_record

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from flwr.app import RecordDict

    from protocols.manifest import Manifest, SignedManifest

MESSAGE_BYTES = 5_000_000  # what a broken transfer repeats at most; Flower's own chunks are as large


@dataclass(frozen=True)
class OfferedPack:
    """The pack of a plan, read and verified once.

    Attributes:
        folder: where it lies.
        signed: its manifest as it travels.
        same_machine: all nodes are processes of this machine.
    """

    folder: Path
    signed: SignedManifest
    same_machine: bool = False

    @classmethod
    def open(cls, folder: str, *, same_machine: bool = False) -> OfferedPack | None:
        """The pack in a folder; None for a federation without one.

        Raises:
            DataError: it is missing or damaged.
        """
        return cls(Path(folder), read_manifest(Path(folder)), same_machine) if folder else None

    @cached_property
    def manifest(self) -> Manifest:
        """Its facts, the signature checked."""
        return self.signed.verify()

    @cached_property
    def knowledge(self) -> KnowledgePack:
        """Its windows and outputs."""
        return KnowledgePack.open(self.folder)

    def parcels(self, missing: Iterable[str]) -> Iterator[RecordDict]:
        """The contents of the messages that bring these shards, each of a few megabytes and at least one shard.

        Raises:
            DataError: a shard of the pack is damaged, or the pack must not leave this machine.
        """
        for hashes in _batches(missing, {info.sha256: info.num_bytes for info in self.manifest.shards}):
            yield shards_to_record(self.manifest, self.folder, hashes, same_machine=self.same_machine)

    def delivered(self, num_clients: int, sent_bytes: int, seconds: float) -> dict[str, Any]:
        """What the run record says of a delivery to so many clients."""
        manifest = self.manifest
        return {
            "pack": manifest.sha256,
            "bytes_down": sent_bytes,
            "bytes_saved": max(0, manifest.num_bytes * num_clients - sent_bytes),
            "seconds": round(seconds, 3),
            "windows": manifest.num_windows,
            "shards": len(manifest.shards),
            "num_bytes": manifest.num_bytes,
            "codec": manifest.codec,
            "kl_loss": manifest.kl_loss,
            "top1_agreement": manifest.top1_agreement,
            "dataset": manifest.dataset,
            "license": manifest.license,
            "teacher": manifest.teacher_sha256[:12],
        }


def _batches(names: Iterable[str], sizes: dict[str, int]) -> Iterator[list[str]]:
    """Which shards travel in one message."""
    batch: list[str] = []
    for name in names:
        if batch and sum(sizes[b] for b in batch) + sizes[name] > MESSAGE_BYTES:
            yield batch
            batch = []
        batch.append(name)
    if batch:
        yield batch
