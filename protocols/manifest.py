"""What a knowledge pack says about itself: one frozen value, one canonical text, one signature."""

from __future__ import annotations

import hashlib
import json
import math
import re
from dataclasses import asdict, dataclass, fields
from typing import TYPE_CHECKING, Any, Self

from protocols.codec import CODECS
from protocols.errors import DataError, PackMismatch, VersionMismatch
from protocols.signing import sign, verify

if TYPE_CHECKING:
    from collections.abc import Mapping

    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FORMAT_VERSION = 1
MAX_MANIFEST_BYTES = 16 << 20  # 100,000 shards; parsing stays bounded whoever sent it
MAX_WINDOW_VALUES = 1 << 24  # channels × samples of one window
SHA256 = re.compile(r"[0-9a-f]{64}")
KINDS = ("categorical", "independent")


@dataclass(frozen=True, slots=True)
class ShardInfo:
    """One shard: the SHA-256 of its file, its windows, its size."""

    sha256: str
    num_windows: int
    num_bytes: int

    def __post_init__(self) -> None:
        """Refuse what is no hash: the name of a shard becomes the name of a file."""
        _check("sha256", self.sha256, SHA256.fullmatch(self.sha256) is not None, "64 hexadecimal digits")
        _check("shards", self, self.num_windows > 0 and self.num_bytes > 0, "windows and bytes above 0")

    @property
    def filename(self) -> str:
        """Where the shard lies in its folder."""
        return f"{self.sha256}.shard"


@dataclass(frozen=True, slots=True)
class Manifest:
    """The facts of a knowledge pack.

    Args:
        dataset: name of the public set, or of the person's own recordings.
        license: the set's licence, carried along with its windows.
        local_only: made for this machine: Flower must not carry it (docs/packs.md, "Licences").
        includes_windows: whether shards hold the windows, or outputs and references alone.
        teacher_sha256: fingerprint of the teacher's weights (`protocols.fingerprint`).
        temperature: that the teacher's owner suggests for the loss; the outputs are plain logits.
        gestures: one name per output K.
        output_kind: "categorical" (one of K) or "independent" (any of K).
        num_frames: F for event streams with outputs (N, K, F); 0 for one output (N, K) a window.
        sample_rate_hz: of the windows.
        channel_map: for each channel of a window, the channel of the recording that it was.
        window_length: samples.
        window_stride: samples between neighbouring windows of a trial.
        filters: the filter chain, in the order applied, before scaling.
        scaling: what a value of 1.0 means, such as "per-person channel RMS".
        augmentation_seed: of the augmentation that the teacher's windows went through; None: as recorded.
        codec: one of `protocols.codec.CODECS`.
        kl_loss: measured at the building: mean KL of decoded from exact outputs, nats a window.
        top1_agreement: measured: share of windows whose best output is still the best.
        shards: in the order of their windows.
        format_version: of this layout.
    """

    dataset: str
    license: str
    teacher_sha256: str
    gestures: tuple[str, ...]
    output_kind: str
    sample_rate_hz: float
    channel_map: tuple[int, ...]
    window_length: int
    window_stride: int
    codec: str
    filters: tuple[str, ...] = ()
    scaling: str = "none"
    includes_windows: bool = True
    local_only: bool = False
    num_frames: int = 0
    temperature: float = 1.0
    augmentation_seed: int | None = None
    kl_loss: float = 0.0
    top1_agreement: float = 1.0
    shards: tuple[ShardInfo, ...] = ()
    format_version: int = FORMAT_VERSION

    def __post_init__(self) -> None:
        """Refuse facts that contradict each other or the format."""
        for name in ("sample_rate_hz", "temperature", "kl_loss", "top1_agreement"):
            # 200 and 200.0 are the same fact, and must be the same text.
            object.__setattr__(self, name, float(getattr(self, name)))
        _check(
            "teacher_sha256", self.teacher_sha256, SHA256.fullmatch(self.teacher_sha256) is not None, "64 hex"
        )
        _check("gestures", self.gestures, len(set(self.gestures)) == len(self.gestures) > 0, "distinct names")
        _check("output_kind", self.output_kind, self.output_kind in KINDS, " or ".join(KINDS))
        _check("codec", self.codec, self.codec in CODECS, ", ".join(CODECS))
        _check(
            "channel_map", self.channel_map, len(self.channel_map) > 0 <= min(self.channel_map), "channels"
        )
        size = self.window_length * len(self.channel_map)
        _check("window_length", self.window_length, 0 < size <= MAX_WINDOW_VALUES, "samples of one window")
        _check(
            "window_stride",
            self.window_stride,
            0 < self.window_stride <= MAX_WINDOW_VALUES,
            "samples above 0",
        )
        _check("num_frames", self.num_frames, self.num_frames >= 0, "0 or a number of frames")
        for name in ("sample_rate_hz", "temperature"):
            value = getattr(self, name)
            _check(name, value, math.isfinite(value) and value > 0, "a positive number")
        for name in ("kl_loss", "top1_agreement"):
            _check(name, getattr(self, name), math.isfinite(getattr(self, name)), "a finite number")
        hashes = [shard.sha256 for shard in self.shards]
        _check("shards", len(hashes), len(set(hashes)) == len(hashes), "each shard once")

    @property
    def num_windows(self) -> int:
        """Windows of the whole pack."""
        return sum(shard.num_windows for shard in self.shards)

    @property
    def num_bytes(self) -> int:
        """Size of all shards."""
        return sum(shard.num_bytes for shard in self.shards)

    @property
    def num_channels(self) -> int:
        """C."""
        return len(self.channel_map)

    @property
    def outputs(self) -> tuple[int, ...]:
        """Shape of one window's outputs: (K,), or (K, F)."""
        return (len(self.gestures), self.num_frames) if self.num_frames else (len(self.gestures),)

    @property
    def sha256(self) -> str:
        """What a round names the pack by."""
        return hashlib.sha256(self.to_json()).hexdigest()

    def to_json(self) -> bytes:
        """The canonical text that is signed: equal facts give equal bytes."""
        facts = asdict(self) | {"num_windows": self.num_windows}
        return json.dumps(facts, sort_keys=True, separators=(",", ":"), allow_nan=False).encode()

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Read a manifest; check the signature first (`SignedManifest.verify`).

        Raises:
            VersionMismatch: another version of the format.
            DataError: a key that is missing, unknown or of the wrong type; values that contradict.
        """
        facts = _load(content)
        version = facts.get("format_version")
        if version != FORMAT_VERSION:
            raise VersionMismatch(
                f"knowledge pack: format version {version!r}, this program reads version {FORMAT_VERSION}"
            )
        num_windows = facts.pop("num_windows", None)
        manifest = cls(**_typed(facts, cls, "manifest"))
        _check(
            "num_windows",
            num_windows,
            num_windows == manifest.num_windows,
            f"{manifest.num_windows}, the sum",
        )
        if manifest.to_json() != content:
            raise DataError("manifest: not in its canonical form, so its hash would name another text")
        return manifest


@dataclass(frozen=True, slots=True)
class PackTask:
    """What a learner needs a pack to be; the names are those of the manifest."""

    gestures: tuple[str, ...]
    output_kind: str
    sample_rate_hz: float
    channel_map: tuple[int, ...]
    window_length: int
    filters: tuple[str, ...] = ()
    scaling: str = "none"


def fits(manifest: Manifest, task: PackTask) -> None:
    """Refuse a pack that does not fit the task.

    Raises:
        PackMismatch: names the first field that differs, with what was found and what was expected.
        VersionMismatch: another version of the format.
    """
    if manifest.format_version != FORMAT_VERSION:
        raise VersionMismatch(
            f"knowledge pack: format version {manifest.format_version}, expected {FORMAT_VERSION}"
        )
    for field in fields(task):
        found, expected = getattr(manifest, field.name), getattr(task, field.name)
        if found != expected:
            raise PackMismatch(field.name, found, expected)


@dataclass(frozen=True, slots=True)
class SignedManifest:
    """A manifest as it travels: its bytes, unread, and the signature over them."""

    content: bytes
    signature: bytes

    @classmethod
    def of(cls, manifest: Manifest, key: Ed25519PrivateKey) -> Self:
        """Sign a manifest."""
        content = manifest.to_json()
        return cls(content, sign(key, content))

    def verify(self, public_key: str | None = None) -> Manifest:
        """The manifest, once its signer is known; see `protocols.signing.verify`."""
        verify(self.content, self.signature, public_key=public_key)
        return Manifest.from_json(self.content)


def _load(content: bytes) -> dict[str, Any]:
    if len(content) > MAX_MANIFEST_BYTES:
        raise DataError(f"a manifest of {len(content)} bytes, at most {MAX_MANIFEST_BYTES} are read")
    try:
        facts = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise DataError(f"manifest: no JSON ({error})") from None
    if not isinstance(facts, dict):
        raise DataError(f"manifest: expected an object, found {type(facts).__name__}")
    return facts


def _typed(facts: Mapping[str, Any], kind: type, where: str) -> dict[str, Any]:
    """The facts of a dataclass, each of the type that its annotation names."""
    names = {field.name: str(field.type) for field in fields(kind)}
    if facts.keys() != names.keys():
        odd = ", ".join(sorted(facts.keys() ^ names.keys()))
        raise DataError(f"{where}: keys missing or unknown: {odd}")
    return {name: _value(facts[name], annotation, name) for name, annotation in names.items()}


def _value(value: Any, annotation: str, name: str) -> Any:
    if annotation.startswith("tuple"):
        _check(name, value, isinstance(value, list), "a list")
        inner = annotation.removeprefix("tuple[").removesuffix(", ...]")
        return tuple(_value(item, inner, name) for item in value)
    if annotation == "ShardInfo":
        _check(name, value, isinstance(value, dict), "an object per shard")
        return ShardInfo(**_typed(value, ShardInfo, f"manifest: {name}"))
    # bool is an int to Python, not to us; a float may be written without a point.
    allowed = {"float": (float, int), "int | None": (int, type(None))}.get(annotation) or (
        {"str": str, "int": int, "bool": bool}[annotation],
    )
    _check(name, value, type(value) in allowed, annotation)
    return float(value) if annotation == "float" else value


def _check(name: str, found: object, ok: bool, expected: str) -> None:  # noqa: FBT001
    if not ok:
        raise DataError(f"manifest: {name} is {str(found)[:80]!r}, expected {expected}")
