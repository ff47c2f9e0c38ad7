# SPDX-License-Identifier: GPL-2.0-only
"""What rusty knows of tasks between their records: domain and duty cycle.

Two generations: a task of which no record came for two of them is forgotten, so that nothing grows
and no task has to be followed until it exits. The young one is also scx_rusty's list of tasks that
ran since the last round of the balancer.
"""

from __future__ import annotations

from collections.abc import Iterable

from pyland.policies.rusty.latency import interactive_below_ns, rank_of
from pyland.policies.rusty.load import decayed

FOLD_NS = 50_000_000
"""Time is added up for this long before it goes into the average: that computes a power."""
SEEN_MAX = 8192
"""With this many tasks a generation ends early."""


class Seen:
    """One task. Plain attributes: they are written for every record."""

    __slots__ = (
        "allowed",
        "average_at_ns",
        "domain",
        "duty",
        "fixed",
        "fold_at_ns",
        "interactive_ns",
        "moved",
        "rank",
        "restricted",
        "runnable_ns",
        "since_ns",
        "sleeps_ns",
        "wakes_ns",
        "weight",
    )

    def __init__(self, domain: int, now_ns: int) -> None:
        """A task that is seen for the first time has no duty cycle yet."""
        self.domain = domain
        self.duty = 0.0
        self.average_at_ns = self.since_ns = now_ns
        self.fold_at_ns = now_ns + FOLD_NS
        self.runnable_ns = 0
        self.weight = 100
        self.sleeps_ns = self.wakes_ns = self.rank = self.interactive_ns = 0
        self.allowed = 0
        self.moved = self.fixed = self.restricted = False

    def note_intervals(self, sleeps_ns: int, wakes_ns: int, weight: int) -> None:
        """Note the task's intervals and weight, and what follows from them."""
        self.sleeps_ns, self.wakes_ns, self.weight = sleeps_ns, wakes_ns, weight
        self.rank = rank_of(sleeps_ns, wakes_ns, weight)
        self.interactive_ns = interactive_below_ns(self.rank, weight)

    def fold(self, now_ns: int, half_life_ns: int) -> None:
        """Bring the time that was added up until `now_ns` into the average."""
        passed_ns = now_ns - self.average_at_ns
        if passed_ns > 0:
            # Clocks of two CPUs differ a little, and a record's CPU time may be older.
            duty = min(max(self.runnable_ns, 0) / passed_ns, 1.0)
            self.duty = decayed(self.duty, duty, passed_ns, half_life_ns)
            self.average_at_ns, self.fold_at_ns = now_ns, now_ns + FOLD_NS
        self.runnable_ns = 0


class Generations:
    """The tasks by pid."""

    def __init__(self) -> None:
        """No task is known."""
        self.young: dict[int, Seen] = {}
        self._old: dict[int, Seen] = {}

    def __len__(self) -> int:
        return len(self.young) + len(self._old)

    def knows(self, pid: int) -> bool:
        """True if a record of the task came in one of the generations."""
        return pid in self.young or pid in self._old

    def running_old(self, pids: Iterable[int]) -> list[Seen]:
        """Of these tasks, those that had no record in the present generation."""
        return [self._old[pid] for pid in pids if pid in self._old]

    def find(self, pid: int) -> Seen | None:
        """Move a task of the old generation into the young one; None if no generation has it."""
        seen = self._old.pop(pid, None)
        if seen is not None:
            self.young[pid] = seen
        return seen

    def add(self, pid: int, seen: Seen) -> None:
        """Add a task that was not known."""
        if len(self.young) >= SEEN_MAX:
            self.age()
        self._old.pop(pid, None)
        self.young[pid] = seen

    def age(self) -> None:
        """A generation ends: tasks of the old one are forgotten, and the young is the old one."""
        # In place, because `decide` may have the young dictionary in use during this call.
        self._old = dict(self.young)
        self.young.clear()
