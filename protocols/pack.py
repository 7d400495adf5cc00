"""Knowledge packs: a folder of immutable shards named by SHA-256, and one signed manifest.

manifest.json         the facts and the list of shards, canonical JSON
manifest.sig          32 bytes public key, 64 bytes Ed25519 signature over the manifest
<sha256>.shard        windows and teacher outputs, mapped into memory where they lie
"""

from __future__ import annotations

import hashlib
from functools import lru_cache
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from protocols.errors import DataError
from protocols.manifest import Manifest, PackTask, ShardInfo, SignedManifest, fits
from protocols.shard import Segment, Shard
from protocols.tensors import map_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    FloatArray = NDArray[np.float32]
    # A holder of the public set: subject and trial to prepared EMG (T, C), scaled as the teacher saw it.
    TrialSource = Callable[[str, int], FloatArray]

__all__ = [
    "KnowledgePack",
    "Manifest",
    "PackTask",
    "Segment",
    "Shard",
    "ShardInfo",
    "SignedManifest",
    "fits",
    "read_manifest",
    "shard_fault",
]

MANIFEST_FILE, SIGNATURE_FILE = "manifest.json", "manifest.sig"


class KnowledgePack:
    """Windows and what the teacher said about them, read where they lie on disk.

    Args:
        manifest: its facts, already verified.
        shards: in the manifest's order, already verified.
        trials: for a pack without windows, the holder's own copy of the set.
    """

    def __init__(
        self, manifest: Manifest, shards: tuple[Shard, ...], trials: TrialSource | None = None
    ) -> None:
        self.manifest = manifest
        self._shards = shards
        self._trials = trials
        self._stops = np.fromiter(accumulate(map(len, shards)), np.int64)

    @classmethod
    def open(cls, folder: Path, *, public_key: str | None = None, trials: TrialSource | None = None) -> Self:
        """Verify the signature and every shard, then map the pack.

        Args:
            folder: of the pack.
            public_key: whom to trust; None takes any signer, which proves only that nothing was damaged.
            trials: for a pack without windows, the holder's own copy of the set.

        Raises:
            DataError: another signer, or a shard that is missing, damaged or foreign, by name.
            VersionMismatch: another version of the format.
        """
        return cls.from_shards(read_manifest(folder).verify(public_key), folder, trials=trials)

    @classmethod
    def from_shards(cls, manifest: Manifest, folder: Path, *, trials: TrialSource | None = None) -> Self:
        """As `open`, for a manifest that was verified already and shards in any folder."""
        return cls(manifest, tuple(_open_shard(folder, info, manifest) for info in manifest.shards), trials)

    def __len__(self) -> int:
        """Windows of the pack."""
        return self.manifest.num_windows

    def take(self, indices: NDArray[np.integer[Any]]) -> tuple[FloatArray, FloatArray]:
        """Some windows and the teacher's logits for them; any order, repeats allowed.

        Args:
            indices: (n,) from 0 to len(self) - 1.

        Returns:
            windows (n, C, T) and logits (n, K) or (n, K, F), float32.

        Raises:
            IndexError: an index outside the pack.
            DataError: a pack without windows, and nobody who holds the set.
        """
        manifest = self.manifest
        windows = np.empty((len(indices), manifest.num_channels, manifest.window_length), np.float32)
        logits = np.empty((len(indices), *manifest.outputs), np.float32)
        for shard, places, rows in self._by_shard(indices):
            windows[places] = shard.windows(rows) if manifest.includes_windows else self._held(shard, rows)
            logits[places] = shard.logits(rows)
        return windows, logits

    def windows(self, index: int) -> FloatArray:
        """One window (C, T)."""
        return np.asarray(self.take(np.array([index]))[0][0])

    def logits(self, indices: NDArray[np.integer[Any]]) -> FloatArray:
        """The teacher's logits (n, K) or (n, K, F) alone; those of `row-uint8` have 0 as their best."""
        logits = np.empty((len(indices), *self.manifest.outputs), np.float32)
        for shard, places, rows in self._by_shard(indices):
            logits[places] = shard.logits(rows)
        return logits

    def people(self) -> NDArray[np.int64]:
        """(N,) a number for the public person of each window; equal numbers are the same person."""
        names = sorted({name for shard in self._shards for name in shard.subjects})
        number = {name: i for i, name in enumerate(names)}
        return np.concatenate(
            [
                np.array([number[name] for name in shard.subjects])[
                    shard.tensors["segment_subject"][shard.segment]
                ]
                for shard in self._shards
            ]
        ).astype(np.int64)

    def reference(self, index: int) -> tuple[str, int, int]:
        """Where a window was cut: subject, trial, first sample in that trial."""
        ((shard, _, rows),) = self._by_shard(np.array([index]))
        return shard.reference(int(rows[0]))

    def batches(self, rng: np.random.Generator, batch_size: int) -> Iterator[tuple[FloatArray, FloatArray]]:
        """Every window once, shuffled over the whole pack; the last batch may be smaller."""
        order = rng.permutation(len(self))
        for start in range(0, len(order), batch_size):
            yield self.take(order[start : start + batch_size])

    def _by_shard(
        self, indices: NDArray[np.integer[Any]]
    ) -> Iterator[tuple[Shard, NDArray[np.intp], NDArray[np.intp]]]:
        """Each shard that is asked for, the places in the answer, and the rows of the shard."""
        index = np.asarray(indices, np.int64)
        if len(index) and not 0 <= index.min() <= index.max() < len(self):
            raise IndexError(f"windows {index.min()} to {index.max()} of a pack of {len(self)}")
        shard_of = np.searchsorted(self._stops, index, side="right")
        for number in np.unique(shard_of):
            places, shard = np.flatnonzero(shard_of == number), self._shards[number]
            yield shard, places, index[places] - (self._stops[number] - len(shard))

    def _held(self, shard: Shard, rows: NDArray[np.intp]) -> FloatArray:
        """Windows that the pack only refers to, from the holder's own copy."""
        if self._trials is None:
            raise DataError(
                f"knowledge pack: holds no windows of {self.manifest.dataset} ({self.manifest.license}): "
                "it serves who holds that set, and was opened without it"
            )
        return np.stack([_cut(self._trials, *shard.reference(int(row)), self.manifest) for row in rows])


def read_manifest(folder: Path) -> SignedManifest:
    """The manifest of a pack's folder, not verified yet.

    Raises:
        DataError: the folder holds no whole pack.
    """
    try:
        return SignedManifest((folder / MANIFEST_FILE).read_bytes(), (folder / SIGNATURE_FILE).read_bytes())
    except FileNotFoundError as error:
        raise DataError(f"{folder}: no knowledge pack, {error.filename} is missing") from None


def shard_fault(path: Path, info: ShardInfo) -> str | None:
    """What is wrong with a shard's file: missing, of another size, of another content; None: nothing."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return "missing"
    if stat.st_size != info.num_bytes:
        return f"{stat.st_size} bytes, expected {info.num_bytes}"
    if (found := _file_sha256(path, stat.st_size, stat.st_mtime_ns, stat.st_ino)) != info.sha256:
        return f"its SHA-256 is {found[:16]}…"
    return None


@lru_cache(maxsize=65536)
def _file_sha256(path: Path, _size: int, _mtime_ns: int, _inode: int) -> str:
    """Hash a file; an unchanged one is not hashed again by this process."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _open_shard(folder: Path, info: ShardInfo, manifest: Manifest) -> Shard:
    path = folder / info.filename
    if (fault := shard_fault(path, info)) is not None:
        raise DataError(f"shard {info.filename} in {folder}: {fault}")
    return Shard.decode(map_file(path), manifest, info.num_windows, where=info.filename)


def _cut(trials: TrialSource, subject: str, trial: int, start: int, manifest: Manifest) -> FloatArray:
    window = trials(subject, trial)[start : start + manifest.window_length].T
    if window.shape != (manifest.num_channels, manifest.window_length):
        raise DataError(
            f"{manifest.dataset}: subject {subject}, trial {trial} has no window at sample {start}: "
            "not the recordings that the teacher saw"
        )
    return window
