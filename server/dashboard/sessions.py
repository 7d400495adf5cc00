"""Who is logged in: a signed cookie, nothing stored.

The key is derived from the password's hash: sessions outlive a restart, and all end with a change of the password.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LASTS_S = 14 * 24 * 3600


class Sessions:
    """Makes and recognises the cookies of one password.

    Attributes:
        cookie: its name, another one for each password: browsers share cookies among the ports of a host.
    """

    def __init__(self, digest: bytes, clock: Callable[[], float] = time.time) -> None:
        self._key = hmac.digest(digest, b"myofed watch: sessions", hashlib.sha256)
        self.cookie = f"myofed-{hmac.digest(self._key, b'name', hashlib.sha256).hex()[:8]}"
        self._clock = clock
        self._ended: dict[str, int] = {}  # logged out before their time, until a restart

    def new(self) -> str:
        """A session from now on."""
        facts = f"{int(self._clock()) + LASTS_S}.{secrets.token_hex(12)}"
        return f"{facts}.{self._signature(facts)}"

    def is_open(self, value: str) -> bool:
        """Whether a cookie is ours, not over and not logged out."""
        facts, _, signature = value.rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(facts).encode()):
            return False
        return int(facts.partition(".")[0]) > self._clock() and facts not in self._ended

    def end(self, value: str) -> None:
        """Log out; a value that is no session of ours changes nothing."""
        if self.is_open(value):
            now = self._clock()
            self._ended = {facts: until for facts, until in self._ended.items() if until > now}
            facts = value.rpartition(".")[0]
            self._ended[facts] = int(facts.partition(".")[0])

    def _signature(self, facts: str) -> str:
        return hmac.digest(self._key, facts.encode(errors="replace"), hashlib.sha256).hex()
