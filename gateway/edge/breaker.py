"""A circuit breaker per service: after failures in a row, refuse at once instead of waiting in vain.

Ours rather than a library's: pybreaker has no asyncio, aiobreaker is at rest since 2021, and purgatory lets
every caller through when it tries again, counts a caller that went away as a failure, and times by the wall
clock.
"""

import time
from collections.abc import Callable


class BreakerOpen(Exception):
    """The service failed too often lately; ask again after `retry_after_s`."""

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"open for {retry_after_s:.1f} s")
        self.retry_after_s = retry_after_s


class Breaker:
    """Closed until `failures` in a row; then open for `open_s`; then one probe decides.

    Every `admit` is followed by exactly one of `succeeded`, `failed` or `given_up`.
    """

    def __init__(self, failures: int, open_s: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit = failures
        self._open_s = open_s
        self._clock = clock
        self._in_a_row = 0
        self._open_until: float | None = None
        self._probing = False

    @property
    def state(self) -> str:
        """closed, open or probing."""
        if self._open_until is None:
            return "closed"
        return "probing" if self._probing else "open"

    def admit(self) -> None:
        """Let one call through.

        Raises:
            BreakerOpen: not now.
        """
        if self._open_until is None:
            return
        wait_s = self._open_until - self._clock()
        if wait_s > 0 or self._probing:
            raise BreakerOpen(max(wait_s, 0.1))
        self._probing = True

    def succeeded(self) -> None:
        """The service answered, whatever it said."""
        self._in_a_row = 0
        self._open_until = None
        self._probing = False

    def failed(self) -> None:
        """The service could not be reached or did not answer in time."""
        self._in_a_row += 1
        if self._probing or self._in_a_row >= self._limit:
            self._open_until = self._clock() + self._open_s
        self._probing = False

    def given_up(self) -> None:
        """The caller went away before there was an outcome: another call may probe."""
        self._probing = False
