"""Knowledge packs as Flower carries them: the manifest in a ConfigRecord, shards in an ArrayRecord.

A shard travels as the bytes that its hash is of, never as a serialised numpy array: nothing has to be
parsed, or allocated by a number that the sender names, before the receiver has checked the hash.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from flwr.app import Array, ArrayRecord, ConfigRecord, RecordDict

from protocols.errors import DataError
from protocols.manifest import SHA256, Manifest, SignedManifest

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

SHARDS = "shards"  # the record's name in a message
STYPE = "myofed.shard"


def manifest_to_record(signed: SignedManifest) -> ConfigRecord:
    """A signed manifest, as it is on disk."""
    return ConfigRecord({"manifest": signed.content, "signature": signed.signature})


def manifest_from_record(record: ConfigRecord) -> SignedManifest:
    """The manifest that `manifest_to_record` put in; not verified yet.

    Raises:
        DataError: the record holds something else.
    """
    content, signature = record.get("manifest"), record.get("signature")
    if not isinstance(content, bytes) or not isinstance(signature, bytes):
        raise DataError(f"a record of {sorted(record)}, expected the bytes of a manifest and its signature")
    return SignedManifest(content, signature)


def shards_to_record(
    manifest: Manifest, folder: Path, hashes: Iterable[str], *, same_machine: bool = False
) -> RecordDict:
    """Some shards of a pack, for who lacks them.

    Args:
        manifest: of the pack.
        folder: where its shards lie.
        hashes: which shards, as `PackStore.missing` names them.
        same_machine: the receiver is a process of this machine, as in a simulation. Only then may a pack
            travel that was made for this machine alone.

    Raises:
        DataError: a pack for this machine alone, or a shard that the pack has not.
    """
    if manifest.local_only and not same_machine:
        raise DataError(
            f"knowledge pack of {manifest.dataset} ({manifest.license}): made for this machine alone, "
            "its windows must not be passed on"
        )
    known = {info.sha256: info for info in manifest.shards}
    wanted = list(hashes)
    if unknown := [name for name in wanted if name not in known]:
        raise DataError(f"shard {unknown[0][:64]!r} is none of the {len(known)} of this pack")
    arrays = {name: _array((folder / known[name].filename).read_bytes()) for name in wanted}
    return RecordDict({SHARDS: ArrayRecord(arrays)})


def shards_from_record(content: RecordDict) -> Iterator[bytes]:
    """The shards of a message, unchecked: `PackStore.add_shard` accepts those that its manifests name.

    Raises:
        DataError: the message holds no shards, or something that is none.
    """
    record = content.array_records.get(SHARDS)
    if record is None:
        raise DataError(f"a message of {sorted(content)}, expected {SHARDS!r}")
    for name, array in record.items():
        if array.stype != STYPE or SHA256.fullmatch(name) is None:
            raise DataError(f"{name[:64]!r} of type {array.stype!r} is no shard")
        yield array.data


def _array(content: bytes) -> Array:
    return Array(dtype="uint8", shape=(len(content),), stype=STYPE, data=content)
