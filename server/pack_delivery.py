"""The pack on its way: each client gets the shards that it lacks, once."""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from flwr.app import Message

from protocols.errors import AggregationError
from protocols.pack import KnowledgePack, read_manifest
from protocols.pack_records import shards_to_record
from protocols.records import count_bytes
from server.cohort import match_replies

if TYPE_CHECKING:
    from collections.abc import Iterator

    from flwr.serverapp import Grid

    from protocols.manifest import Manifest, SignedManifest
    from server.cohort import Member
    from server.run_record import RunRecord

MESSAGE_BYTES = 20_000_000  # Flower carries more; a broken transfer then repeats less


@dataclass(frozen=True)
class OfferedPack:
    """The pack of a plan, read and verified once.

    Attributes:
        folder: where it lies.
        signed: its manifest as it travels.
    """

    folder: Path
    signed: SignedManifest

    @classmethod
    def open(cls, folder: str) -> OfferedPack | None:
        """The pack in a folder; None for a federation without one.

        Raises:
            DataError: it is missing or damaged.
        """
        return cls(Path(folder), read_manifest(Path(folder))) if folder else None

    @cached_property
    def manifest(self) -> Manifest:
        """Its facts, the signature checked."""
        return self.signed.verify()

    @cached_property
    def knowledge(self) -> KnowledgePack:
        """Its windows and outputs."""
        return KnowledgePack.open(self.folder)


def deliver(
    grid: Grid,
    members: list[Member],
    pack: OfferedPack,
    record: RunRecord,
    *,
    deadline_s: float,
    same_machine: bool,
) -> None:
    """Send every member the shards that it lacks, a few megabytes a message.

    Raises:
        AggregationError: a member could not take its shards.
        DataError: a shard of the pack is damaged, or the pack must not leave this machine.
    """
    started = time.perf_counter()
    sent = dict.fromkeys((m.subject for m in members), 0)
    for member, hashes in _batches(members, pack.manifest):
        content = shards_to_record(pack.manifest, pack.folder, hashes, same_machine=same_machine)
        asked = [Message(content, member.node_id, "query.shards")]
        sent[member.subject] += count_bytes(content)
        (reply,) = match_replies(asked, grid.send_and_receive(asked, timeout=deadline_s))
        if reply.content is None:
            raise AggregationError(f"{member.subject} could not take the knowledge pack: {reply.fault}")
    offered = pack.manifest.num_bytes * sum(m.plays("train") for m in members)
    record.append(
        "pack",
        pack=pack.manifest.sha256,
        bytes_down=sum(sent.values()),
        bytes_saved=max(0, offered - sum(sent.values())),
        seconds=round(time.perf_counter() - started, 3),
        **_in_short(pack.manifest),
    )


def _in_short(manifest: Manifest) -> dict[str, Any]:
    """What whoever looks at a run wants to know of its pack."""
    return {
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


def _batches(members: list[Member], manifest: Manifest) -> Iterator[tuple[Member, list[str]]]:
    """Who gets which shards in one message."""
    sizes = {info.sha256: info.num_bytes for info in manifest.shards}
    for member in members:
        batch: list[str] = []
        for name in member.introduction.missing_shards:
            if batch and sum(sizes[b] for b in batch) + sizes[name] > MESSAGE_BYTES:
                yield member, batch
                batch = []
            batch.append(name)
        if batch:
            yield member, batch
