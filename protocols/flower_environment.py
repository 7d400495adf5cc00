"""What every process of Flower's is started with, on a server, a client or in a simulation."""

from __future__ import annotations

import os
import sys
from pathlib import Path


def flower_environment(home: Path, **more: str) -> dict[str, str]:
    """No telemetry, no update checks, no installs; the apps that the process starts find our code.

    Args:
        home: folder of Flower's own settings and caches.
        more: variables of this process alone.
    """
    code = [str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    return os.environ | {
        "FLWR_HOME": str(home),
        "FLWR_TELEMETRY_ENABLED": "0",
        "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1",
        "NO_COLOR": "1",
        "PYTHONUNBUFFERED": "1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        "PYTHONPATH": os.pathsep.join(filter(None, code)),
        **more,
    }
