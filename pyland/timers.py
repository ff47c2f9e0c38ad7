# SPDX-License-Identifier: GPL-2.0-only
"""Calls of a policy at times that it asks for."""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count

Call = Callable[[], object]

NEVER = 1 << 63
"""Later than any time."""

_BEAT_NS = 50_000_000
"""How often user space runs for a single call, where nothing else lets it run."""


class Timer:
    """A planned call; `Machine.every` and `Machine.at` make it."""

    __slots__ = ("_call", "_timers", "interval_ns", "over")

    def __init__(self, timers: Timers, call: Call, interval_ns: int) -> None:
        """`interval_ns` is 0 for a single call."""
        self._timers, self._call, self.interval_ns = timers, call, interval_ns
        self.over = False
        """True if the call is not made again."""

    def cancel(self) -> None:
        """Cancel the call; no effect on a call that was cancelled before, or is over."""
        self._timers._cancel(self)


class Timers:
    """All planned calls of a policy, the next one first."""

    def __init__(self) -> None:
        """No call is planned."""
        self._heap: list[tuple[int, int, Timer]] = []
        self._numbers = count()
        self.due_ns = NEVER
        """When the next call is due."""
        self.were_made = False
        """True if there ever was one."""

    def add(self, call: Call, due_ns: int, interval_ns: int = 0) -> Timer:
        """Plan a call, and again after each interval."""
        timer = Timer(self, call, interval_ns)
        self.were_made = True
        self._push(timer, due_ns)
        return timer

    @property
    def interval_ns(self) -> int:
        """How often user space has to run for these calls; 0 if there are none."""
        return min((timer.interval_ns or _BEAT_NS for _, _, timer in self._heap), default=0)

    def run(self, now_ns: int) -> None:
        """Make the calls that are due, each once; an interval that was missed is not made up for.

        Raises what a call raises; the other calls come the next time.
        """
        begin = next(self._numbers)
        while self._heap and self._heap[0][0] <= now_ns:
            if self._heap[0][1] > begin:
                # One of these calls has planned this one for a time that has passed: next time.
                return
            _, _, timer = heapq.heappop(self._heap)
            if timer.interval_ns:
                self._push(timer, now_ns + timer.interval_ns)
            else:
                timer.over = True
            self.due_ns = self._heap[0][0] if self._heap else NEVER
            timer._call()

    def _push(self, timer: Timer, due_ns: int) -> None:
        heapq.heappush(self._heap, (due_ns, next(self._numbers), timer))
        self.due_ns = self._heap[0][0]

    def _cancel(self, timer: Timer) -> None:
        timer.over = True
        self._heap = [entry for entry in self._heap if entry[2] is not timer]
        heapq.heapify(self._heap)
        self.due_ns = self._heap[0][0] if self._heap else NEVER
