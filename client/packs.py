"""Knowledge packs at a node: refused if they do not fit the task, kept across runs, opened for learning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from client.pack_store import PackStore
from distillation.prepare import SCALING, described_filters
from protocols.manifest import PackTask, fits

if TYPE_CHECKING:
    from client.node import NodeSpec
    from distillation.spec import SignalSpec
    from protocols.manifest import SignedManifest


def offered(node: NodeSpec, signed: SignedManifest, signal: SignalSpec) -> tuple[str, ...]:
    """Accept the pack that a task offers; the shards that this node still lacks.

    Raises:
        PackMismatch: it does not fit the task; the field is named.
        DataError: it is not signed by the key that this node trusts.
    """
    store = pack_store(node)
    if node.trusted_key:  # what does not fit leaves no trace in the store
        fits(signed.verify(node.trusted_key), pack_task(signal))
    return tuple(store.missing(store.accept(signed)))


def pack_task(signal: SignalSpec) -> PackTask:
    """What a pack must be to teach this task."""
    return PackTask(
        gestures=signal.gestures,
        output_kind="categorical",
        sample_rate_hz=signal.sample_rate_hz,
        channel_map=tuple(range(signal.channels)),
        window_length=signal.window,
        filters=described_filters(signal),
        scaling=SCALING,
    )


def pack_store(node: NodeSpec) -> PackStore:
    """The node's own store of knowledge packs."""
    folder = Path(node.store) / "packs"
    return PackStore(folder, trusted_key=node.trusted_key, max_bytes=node.limits.pack_bytes)
