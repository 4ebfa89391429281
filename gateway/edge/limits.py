"""Rate limits: one token bucket per caller and class of route, in memory and bounded.

Kept as GCRA, a single number per bucket (the time at which it is full again), which costs half a microsecond;
`limits` costs eight with its statistics, six percent of a whole view read.
Headers follow draft-ietf-httpapi-ratelimit-headers-10.
"""

import math
import time
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a request may pass and what the caller is told."""

    allowed: bool
    remaining: int
    full_in_s: int
    retry_after_s: int


class RateLimit:
    """`count` requests per `window_s` seconds and key: bursts up to `count`, refilled evenly.

    Args:
        tracked: buckets kept; beyond it the one unused longest is forgotten, which favours its owner.
    """

    def __init__(
        self, name: str, rate: str, *, tracked: int, clock: Callable[[], float] = time.monotonic
    ) -> None:
        count, window_s = (int(part) for part in rate.split("/"))
        self.name = name
        self.policy = f'"{name}";q={count};w={window_s}'.encode()
        self._window_s = float(window_s)
        self._each_s = window_s / count
        self._tracked = tracked
        self._clock = clock
        self._full_at: OrderedDict[Hashable, float] = OrderedDict()

    def take(self, key: Hashable) -> Verdict:
        """Take one token of the key's bucket, if there is one."""
        now = self._clock()
        full_at = self._full_at.get(key, now)
        full_at = (full_at if full_at > now else now) + self._each_s
        owed_s = full_at - now
        if owed_s > self._window_s + 1e-9:
            wait_s = owed_s - self._window_s
            return Verdict(False, 0, math.ceil(owed_s - self._each_s), max(1, math.ceil(wait_s)))
        self._full_at[key] = full_at
        self._full_at.move_to_end(key)
        if len(self._full_at) > self._tracked:
            self._full_at.popitem(last=False)
        remaining = int((self._window_s - owed_s) / self._each_s + 1e-6)
        return Verdict(True, remaining, math.ceil(owed_s), 0)

    def headers(self, verdict: Verdict) -> list[tuple[bytes, bytes]]:
        """The RateLimit and RateLimit-Policy fields."""
        state = f'"{self.name}";r={verdict.remaining};t={verdict.full_in_s}'
        return [(b"ratelimit", state.encode()), (b"ratelimit-policy", self.policy)]
