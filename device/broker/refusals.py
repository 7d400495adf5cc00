"""What Mosquitto refused, and why, out of what it says; no I/O.

It tells of rights that were denied at its most talkative level only, between two lines for every message.

Source:
    Mosquitto 2.0's src/handle_connect.c, handle_publish.c, handle_subscribe.c, net.c and loop.c.
"""

from __future__ import annotations

import re

# Lines of each message, which nobody wants to keep: 32 boards make 5,000 a second.
CHATTER = (b"Received ", b"Sending ", b"\t", b"No will ", b"Will message ")
# Bad user name or password, not authorised: MQTT 3.1.1 §3.2.2.3 and MQTT 5 §3.2.2.2; 133: client id.
NOT_LET_IN = {"2", "4", "5", "133", "134", "135"}

_CONNACK = re.compile(r"Sending CONNACK to (.+) \(\d+, (\d+)\)")
_ASKS, _TOPIC, _ANSWERED = (
    re.compile(r"Received SUBSCRIBE from (.+)"),
    re.compile(r"\t(.+) \(QoS \d\)"),
    re.compile(r"Sending SUBACK to (.+)"),
)
_TOLD = (
    (re.compile(r"Denied PUBLISH from (.+) \(d\d, q\d, r\d, m\d+, '(.*)', "), "{0} may not publish {1}"),
    (
        re.compile(r"Client (.+) disconnected due to oversize packet"),
        "{0} sent a message of more than 64 KiB and was cut off",
    ),
    (
        re.compile(r"Client connection from (\S+) failed: .*(?:wrong version number|http request)"),
        "{0} speaks no TLS here: expected mqtts://",
    ),
    (
        re.compile(r"Client connection from (\S+) failed: .*(?:unsupported protocol|no shared cipher)"),
        "{0} speaks an old TLS: expected 1.2 or newer",
    ),
    (
        re.compile(r"alert (?:unknown ca|bad certificate|certificate unknown|certificate expired)"),
        "somebody does not trust this broker's certificate: give it ca.crt of this folder, and a name that it holds",
    ),
)


class Refusals:
    """Reads line by line, and remembers what is being asked for."""

    def __init__(self) -> None:
        self._who = ""
        self._asked: list[str] = []

    def feed(self, line: str) -> list[str]:
        """What a line, without its end, tells of: none or more sentences."""
        if found := _ASKS.fullmatch(line):
            self._who, self._asked = found[1], []
        elif found := _TOPIC.fullmatch(line):
            self._asked.append(found[1])
        elif _ANSWERED.fullmatch(line):
            denied, self._asked = self._asked, []
            return [f"{self._who} may not read {topic}" for topic in denied]
        elif self._asked and line.startswith(f"{self._who} "):  # WHO QOS TOPIC: granted
            granted = line.removeprefix(f"{self._who} ")[2:]
            self._asked = [topic for topic in self._asked if topic != granted]
        return _at_once(line)


def _at_once(line: str) -> list[str]:
    if (found := _CONNACK.fullmatch(line)) and found[2] in NOT_LET_IN:
        return [
            f"{found[1]} is not let in: wrong user or password, or a client id that is not that board's own id"
        ]
    for pattern, text in _TOLD:
        if found := pattern.search(line):
            return [text.format(*found.groups())]
    return []
