"""How many requests each caller may make: a bucket for each access token, in this process's memory."""

from collections import OrderedDict

_REMEMBERED = 10_000


class Rates:
    """Buckets that fill at a rate and hold ten seconds' worth.

    Args:
        per_second: requests that may go on for ever.
    """

    def __init__(self, per_second: float) -> None:
        self._rate, self._size = per_second, max(1.0, 10.0 * per_second)
        self._buckets: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def wait_seconds(self, caller: str, now: float) -> float:
        """Take one request's worth; 0 if it may go on, else in how many seconds it may come again.

        Args:
            caller: whose bucket.
            now: a clock that only goes forward, in seconds.
        """
        level = self._level(caller, now)
        self._buckets.pop(caller, None)
        allowed = level >= 1.0
        self._buckets[caller] = (level - 1.0 if allowed else level, now)
        if len(self._buckets) > _REMEMBERED:
            self._buckets.popitem(last=False)
        return 0.0 if allowed else (1.0 - level) / self._rate

    def would_wait_seconds(self, caller: str, now: float) -> float:
        """The same without taking anything."""
        return max(0.0, 1.0 - self._level(caller, now)) / self._rate

    def _level(self, caller: str, now: float) -> float:
        level, seen = self._buckets.get(caller, (self._size, now))
        return min(self._size, level + (now - seen) * self._rate)
