"""Write a knowledge pack shard by shard; a killed writer goes on where it stopped.

While a pack is in the making its folder holds `building.jsonl`: first the facts, then a line for each
finished shard. It is gone when the signed manifest is there.
"""

from __future__ import annotations

import hashlib
import json
import os
from dataclasses import asdict, dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from protocols.codec import kl_per_window, top1_per_window
from protocols.errors import ConfigError, DataError
from protocols.manifest import Manifest, ShardInfo, SignedManifest
from protocols.pack import MANIFEST_FILE, SIGNATURE_FILE, read_manifest, shard_fault
from protocols.shard import Segment, Shard

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]
    Predict = Callable[[FloatArray], FloatArray]

JOURNAL_FILE = "building.jsonl"


@dataclass(frozen=True, slots=True)
class FinishedShard:
    """A line of the journal: a shard and what its code lost, summed over its windows."""

    info: ShardInfo
    kl_sum: float
    top1_sum: float


def write_pack(
    facts: Manifest,
    segments: Iterable[Segment],
    predict: Predict,
    folder: Path,
    key: Ed25519PrivateKey,
    *,
    shard_windows: int = 4096,
    batch_size: int = 256,
    progress: Callable[[int], None] | None = None,
) -> Manifest:
    """Run a teacher over windows and keep what it says; memory is bounded by one shard.

    Started again with the same arguments after a kill, it keeps the finished shards, skips their windows
    without asking the teacher, and ends with the same bytes as an uninterrupted run.

    Args:
        facts: the manifest, still without shards and measurements.
        segments: stretches of EMG, in an order that does not change; a generator is best.
        predict: windows (n, C, T) float32 to logits (n, K) or (n, K, F) float32.
        folder: of the pack; made if needed.
        key: to sign with.
        shard_windows: windows a shard.
        batch_size: windows that the teacher sees at once.
        progress: told how many windows are done, after every batch.

    Raises:
        DataError: no window at all, a segment that does not fit the facts, or a non-finite output.
        ConfigError: the folder holds another pack, finished or not.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for torn in folder.glob(".*.shard.*"):  # a kill in the middle of a write leaves its file aside
        torn.unlink()
    if (finished := _finished_pack(folder, facts)) is not None:
        return finished
    journal = folder / JOURNAL_FILE
    done = _read_journal(journal, facts, shard_windows)
    num_done = sum(each.info.num_windows for each in done)
    groups = _groups(segments, facts, shard_windows)
    for number, group in enumerate(groups):
        if number < len(done):
            continue
        shard = Shard.of(facts, group)
        logits = _predict(shard, predict, batch_size, num_done, progress)
        done.append(_store(shard, logits, folder, journal))
        num_done += len(shard)
    return _finish(facts, done, folder, key)


def _groups(segments: Iterable[Segment], facts: Manifest, size: int) -> Iterator[list[Segment]]:
    """Segments, split where needed, in groups of exactly `size` windows; the last may hold fewer."""
    length, stride = facts.window_length, facts.window_stride
    group: list[Segment] = []
    room = size
    for segment in segments:
        _check_segment(segment, facts)
        first, stop = 0, segment.num_windows(length, stride)
        while first < stop:
            last = min(stop, first + room)
            group.append(segment.part(first, last, length, stride))
            first, room = last, room - (last - first)
            if room == 0:
                yield group
                group, room = [], size
    if group:
        yield group


def _check_segment(segment: Segment, facts: Manifest) -> None:
    codes, where = segment.codes, f"{segment.subject}, trial {segment.trial}"
    if codes.ndim != 2 or codes.shape[1] != facts.num_channels or codes.dtype.kind not in "iu":
        raise DataError(
            f"{where}: found {codes.dtype} {codes.shape}, expected integers (T, {facts.num_channels})"
        )
    if segment.scale.shape != (facts.num_channels,) or not np.isfinite(segment.scale).all():
        raise DataError(f"{where}: scale {segment.scale}, expected {facts.num_channels} finite numbers")


def _predict(
    shard: Shard, predict: Predict, batch_size: int, num_before: int, progress: Callable[[int], None] | None
) -> FloatArray:
    logits = np.empty((len(shard), *shard.manifest.outputs), np.float32)
    for start in range(0, len(shard), batch_size):
        rows = np.arange(start, min(start + batch_size, len(shard)))
        outputs = predict(shard.windows(rows))
        if outputs.shape != logits[rows].shape:
            raise DataError(f"teacher: outputs {outputs.shape}, the pack is for {logits[rows].shape}")
        logits[rows] = outputs
        if progress is not None:
            progress(num_before + int(rows[-1]) + 1)
    return logits


def _store(shard: Shard, logits: FloatArray, folder: Path, journal: Path) -> FinishedShard:
    content = shard.encode(logits)
    info = ShardInfo(hashlib.sha256(content).hexdigest(), len(shard), len(content))
    decoded = Shard.decode(content, shard.manifest, len(shard), where=info.filename).logits(slice(None))
    kind = shard.manifest.output_kind
    finished = FinishedShard(
        info,
        float(kl_per_window(logits, decoded, kind).sum()),
        float(top1_per_window(logits, decoded, kind).sum()),
    )
    replace_file(folder / info.filename, content)
    _append(journal, asdict(finished))
    return finished


def _finish(facts: Manifest, done: list[FinishedShard], folder: Path, key: Ed25519PrivateKey) -> Manifest:
    if not done:
        raise DataError(
            f"{facts.dataset}: no recording is as long as a window of {facts.window_length} samples"
        )
    num_windows = sum(each.info.num_windows for each in done)
    manifest = replace(
        facts,
        shards=tuple(each.info for each in done),
        kl_loss=sum(each.kl_sum for each in done) / num_windows,
        top1_agreement=sum(each.top1_sum for each in done) / num_windows,
    )
    signed = SignedManifest.of(manifest, key)
    replace_file(folder / SIGNATURE_FILE, signed.signature)
    replace_file(folder / MANIFEST_FILE, signed.content)  # last: a folder with a manifest is a whole pack
    (folder / JOURNAL_FILE).unlink()
    return manifest


def _finished_pack(folder: Path, facts: Manifest) -> Manifest | None:
    if not (folder / MANIFEST_FILE).exists():
        return None
    manifest = read_manifest(folder).verify()
    if replace(manifest, shards=(), kl_loss=0.0, top1_agreement=1.0) != facts:
        raise ConfigError(f"{folder}: holds another knowledge pack ({manifest.dataset}); name another folder")
    if any(shard_fault(folder / info.filename, info) for info in manifest.shards):
        raise ConfigError(f"{folder}: this pack is finished but damaged; remove the folder to build it anew")
    return manifest


def _read_journal(journal: Path, facts: Manifest, shard_windows: int) -> list[FinishedShard]:
    """The shards that an earlier run finished, up to the first damaged one; starts a journal if none."""
    head = {"facts": json.loads(facts.to_json()), "shard_windows": shard_windows}
    lines = list(_whole_lines(journal))
    if not lines:
        replace_file(journal, json.dumps(head).encode() + b"\n")
        return []
    if lines[0] != head:
        raise ConfigError(
            f"{journal.parent}: holds the beginnings of another pack; name another folder, or remove it"
        )
    done = [_finished(line) for line in islice(lines, 1, None)]
    sound = next((i for i, each in enumerate(done) if _fault(journal, each)), len(done))
    # Cuts a torn last line too, so that the next one starts on a line of its own.
    kept = [head, *(asdict(each) for each in done[:sound])]
    replace_file(journal, "".join(json.dumps(line) + "\n" for line in kept).encode())
    return done[:sound]


def _whole_lines(journal: Path) -> Iterator[dict[str, object]]:
    try:
        content = journal.read_bytes()
    except FileNotFoundError:
        return
    for line in content.split(b"\n")[:-1]:
        yield json.loads(line)


def _finished(line: dict[str, object]) -> FinishedShard:
    match line:
        case {"info": dict(info), "kl_sum": float(kl_sum), "top1_sum": float(top1_sum)}:
            return FinishedShard(ShardInfo(**info), kl_sum, top1_sum)
    raise DataError(f"{JOURNAL_FILE}: {str(line)[:80]!r} is no finished shard")


def _fault(journal: Path, finished: FinishedShard) -> str | None:
    return shard_fault(journal.parent / finished.info.filename, finished.info)


def _append(journal: Path, line: dict[str, object]) -> None:
    with journal.open("ab") as file:
        file.write(json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def replace_file(path: Path, content: bytes) -> None:
    """Write a file so that whoever looks, even after a crash, sees the old one or the whole new one."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    with aside.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    aside.replace(path)
