"""Which recordings may be passed on inside a knowledge pack.

A list of what is allowed, not of what is forbidden: a licence that nobody thought of stays at home.
"""

from __future__ import annotations

from protocols.errors import ConfigError

# SPDX names and what people write for them; each allows redistribution to anyone for any purpose, with no
# demand on what it is passed on with. GPL asks for corresponding source, -NC forbids some, -ND and -SA bind
# what is made of it: their windows stay out.
MAY_PASS_ON = frozenset(
    {
        "APACHE-2.0",
        "APACHE-LICENSE-2.0",
        "BSD-2-CLAUSE",
        "BSD-3-CLAUSE",
        "CC-BY",
        "CC-BY-2.0",
        "CC-BY-3.0",
        "CC-BY-4.0",
        "CC0",
        "CC0-1.0",
        "CDLA-PERMISSIVE-2.0",
        "MIT",
        "ODC-BY-1.0",
        "PDDL-1.0",
    }
)


def may_pass_on(license_name: str) -> bool:
    """Whether windows under this licence may leave this machine; a remark in brackets is no part of it."""
    name = license_name.split("(", 1)[0].strip().upper()
    return "-".join(name.split()) in MAY_PASS_ON


def window_rights(license_name: str, *, wanted: bool | None, simulation: bool) -> tuple[bool, bool]:
    """Whether a pack holds windows, and whether it is for this machine alone.

    Args:
        license_name: of the recordings.
        wanted: True and False as asked for; None: windows where they may be passed on.
        simulation: all clients are processes of this machine, so nothing is passed on.

    Returns:
        includes_windows and local_only of the manifest.

    Raises:
        ConfigError: windows are wanted that must not be passed on.
    """
    if may_pass_on(license_name):
        return wanted is not False, False
    if simulation:
        return wanted is not False, wanted is not False
    if wanted:
        raise ConfigError(
            f"include-windows: licence {license_name or 'none stated'!r} does not allow passing windows on "
            f"(those that do: {', '.join(sorted(MAY_PASS_ON))}); without it the pack holds outputs alone, "
            "and with --simulation it stays on this machine"
        )
    return False, False
