"""How often a password may be tried."""

from __future__ import annotations

import ipaddress
import math
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

MAX_ADDRESSES = 4096  # remembered; the one that tried longest ago is forgotten first


@dataclass(slots=True)
class Bucket:
    """Tries that are left: each failure takes one, and one comes back every `refill_s`."""

    size: int
    refill_s: float
    left: float
    seen_s: float

    def wait_s(self, now_s: float) -> float:
        """Seconds until there is a try; 0 if there is one."""
        self.left = min(self.size, self.left + (now_s - self.seen_s) / self.refill_s)
        self.seen_s = now_s
        return max(0.0, (1 - self.left) * self.refill_s)


class RateLimit:
    """Tries per address and in all.

    An address that fails has 5 tries, then one in 12 s; all addresses together 30, then one in 2 s. Who came in from an
    address before is not held up by strangers, so nobody can lock them out. A right password costs nothing.

    Attributes:
        known: tries of a password that was right before, for where an address has none left: one a second in all, so
            that it is no way around the limits.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self.known = Bucket(10, 1.0, 10, clock())
        self._all = Bucket(30, 2.0, 30, clock())
        self._by_address: OrderedDict[str, Bucket] = OrderedDict()
        self._trusted: OrderedDict[str, None] = OrderedDict()

    def take(self, address: str) -> int:
        """Take a try: 0, or the whole seconds to wait where none is left."""
        origin, now_s = origin_of(address), self._clock()
        mine = self._by_address.setdefault(origin, Bucket(5, 12.0, 5, now_s))
        self._by_address.move_to_end(origin)
        if len(self._by_address) > MAX_ADDRESSES:
            self._by_address.popitem(last=False)
        buckets = [mine] if origin in self._trusted else [mine, self._all]
        wait_s = max(bucket.wait_s(now_s) for bucket in buckets)
        if wait_s == 0:
            for bucket in buckets:
                bucket.left -= 1
        return math.ceil(wait_s)

    def take_known(self) -> bool:
        """Whether a try may be compared with the password that was right before."""
        is_left = self.known.wait_s(self._clock()) == 0
        self.known.left -= is_left
        return is_left

    def give_back(self, address: str) -> None:
        """The password was right: forget what was taken."""
        origin = origin_of(address)
        self._by_address.pop(origin, None)
        if origin not in self._trusted:
            self._all.left += 1
            self._trusted[origin] = None
            if len(self._trusted) > MAX_ADDRESSES:
                self._trusted.popitem(last=False)


@lru_cache(MAX_ADDRESSES)
def origin_of(address: str) -> str:
    """One name for whoever holds an address: an IPv6 network of 64 bits belongs to one subscriber."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return "unknown"
    return str(ipaddress.ip_network((ip, 64), strict=False)) if ip.version == 6 else str(ip)
