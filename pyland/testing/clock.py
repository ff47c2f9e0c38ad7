# SPDX-License-Identifier: GPL-2.0-only
"""A virtual clock, which makes calls at planned times."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count


class Clock:
    """Time passes only in `run`, from event to event."""

    def __init__(self, now_ns: int) -> None:
        """No event is planned."""
        self.now_ns = now_ns
        self._events: list[tuple[int, int, Callable[[], None]]] = []
        self._order = count()

    def after(self, in_ns: int, happen: Callable[[], None]) -> None:
        """Call `happen` when this time has passed; of one time, in the order of the calls."""
        heapq.heappush(self._events, (self.now_ns + in_ns, next(self._order), happen))

    def run(self, time_ns: int) -> None:
        """Let time pass."""
        end_ns = self.now_ns + time_ns
        while self._events and self._events[0][0] <= end_ns:
            self.now_ns, _, happen = heapq.heappop(self._events)
            happen()
        self.now_ns = end_ns
