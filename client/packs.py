"""Knowledge packs at a node: refused if they do not fit the task, kept across runs, opened for learning."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from client.pack_store import PackStore
from distillation.prepare import filter_chain
from protocols.manifest import PackTask, fits

if TYPE_CHECKING:
    from client.node import NodeSpec
    from distillation.spec import SignalSpec
    from protocols.manifest import SignedManifest

SCALING = "per-person channel RMS"
