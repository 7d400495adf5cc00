"""When this device works: on mains only, and not in its quiet hours.

Asked before a task is begun, not while it is worked on: a task takes seconds to minutes. The answer is then an error
that says why, which the server counts as a device that dropped out of the round.

Source:
    Linux, Documentation/ABI/testing/sysfs-class-power: type, online, status, scope.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from datetime import datetime, time
from pathlib import Path
from typing import TYPE_CHECKING

from distillation.spec import Settings
from protocols.errors import ConfigError

if TYPE_CHECKING:
    from flwr.app import Context, Message
    from flwr.clientapp.typing import ClientAppCallable

POWER = Path("/sys/class/power_supply")
HOURS = re.compile(r"([01]\d|2[0-3]):([0-5]\d)-([01]\d|2[0-3]):([0-5]\d)")
# Flower's MessageType. Greetings cost nothing, and missing one misses the whole run.
# Who would not train gives no keys either: a secure round counts on whoever did.
TASKS = ("train", "evaluate", "query.secure_keys")


@dataclass(frozen=True, slots=True)
class Conditions(Settings):
    """What must hold for a task to be worked on.

    Attributes:
        only_when_charging: not on battery; a machine without a battery is always on mains.
        quiet_hours: HH:MM-HH:MM by this machine's clock, in which nothing is done, also over midnight; empty: none.
    """

    only_when_charging: bool = False
    quiet_hours: str = ""

    def __post_init__(self) -> None:
        if self.quiet_hours and not HOURS.fullmatch(self.quiet_hours):
            raise ConfigError(f"--quiet-hours: found {self.quiet_hours!r}, expected HH:MM-HH:MM")

    def text(self) -> str:
        """In plain words."""
        power = " on mains only" if self.only_when_charging else ""
        return (f"not at {self.quiet_hours}" if self.quiet_hours else "at any time") + power

    def hindrance(self, now: time, power: Path = POWER) -> str:
        """Why nothing is done now; empty if something may be."""
        if self.only_when_charging and on_battery(power):
            return "on battery"
        if self.quiet_hours and _within(self.quiet_hours, now):
            return f"quiet hours, {self.quiet_hours}"
        return ""


def when_allowed(message: Message, context: Context, call_next: ClientAppCallable) -> Message:
    """A Flower mod: ConfigError instead of a task where the node's config names conditions that do not hold."""
    if "conditions" in context.node_config and message.metadata.message_type in TASKS:
        conditions = Conditions.from_json(
            json.loads(Path(str(context.node_config["conditions"])).read_text())
        )
        hindrance = conditions.hindrance(datetime.now().time())  # noqa: DTZ005  (the person's own clock)
        if hindrance:
            raise ConfigError(f"not now: {hindrance}")
    return call_next(message, context)


def on_battery(power: Path = POWER) -> bool:
    """Whether this machine has a battery of its own and runs on it; `power` is Linux's folder of supplies."""
    supplies = sorted(power.iterdir()) if power.is_dir() else []
    if any(_word(supply, "online") == "1" for supply in supplies if _word(supply, "type") != "Battery"):
        return False
    batteries = [s for s in supplies if _word(s, "type") == "Battery" and _word(s, "scope") != "Device"]
    return any(_word(battery, "status") == "Discharging" for battery in batteries)


def _word(supply: Path, name: str) -> str:
    try:
        return (supply / name).read_text().strip()
    except OSError:  # not every supply says everything
        return ""


def _within(hours: str, now: time) -> bool:
    begin, end = (time.fromisoformat(word) for word in hours.split("-"))
    return begin <= now < end if begin <= end else now >= begin or now < end
