# SPDX-License-Identifier: GPL-2.0-only
"""Complaints about a policy, found in the counters; each is told once per policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

Counts = Mapping[str, int]

# A good policy also causes a few of these counts: tasks move on while it decides.
_SOME = 100
_DISTRUSTED = 16
# At most so many tasks can wait for the policy's answer: the rings take no more.
_ON_THEIR_WAY = 4096


def _bounced(counts: Counts) -> int:
    return _many(counts["bounced"], counts)


def _late(counts: Counts) -> int:
    # The policy is not to blame for decisions that came after BPF gave the task to a CPU itself.
    taken = sum(counts[name] for name in ("fallback_lag", "fallback_idle"))
    return _many(counts["late"] - taken - 2 * counts["handed_over"], counts)


def _many(wrong: int, counts: Counts) -> int:
    return wrong if wrong > max(_SOME, counts["user_dispatched"] // 4) else 0


def _undecided(counts: Counts) -> int:
    # After this many in a second, BPF holds no task for the policy for a while (bpf/trust.bpf.h).
    if counts["undecided"] >= _DISTRUSTED:
        return counts["undecided"]
    # If a policy decides nothing, CPUs that would idle take the tasks before they wait for long.
    missing = counts["forwarded"] - counts["user_dispatched"] - counts["late"]
    return missing if missing > max(_ON_THEIR_WAY, counts["forwarded"] // 2) else 0


_RULES: dict[str, tuple[Callable[[Counts], int], str]] = {
    "bad": (
        lambda counts: counts["bad_decisions"],
        "{} decisions named a CPU, a slice or an enqueue that there is not: BPF chose instead",
    ),
    "bounced": (
        _bounced,
        "{} decisions named CPUs outside their tasks' affinity: BPF chose instead",
    ),
    "late": (
        _late,
        "{} decisions found no task: decided twice, too late, or for a task that never was",
    ),
    "undecided": (
        _undecided,
        "{} tasks that it knew of had no decision in time: they ran without it",
    ),
    "thrashing": (
        lambda counts: counts["put_off"] if counts["put_off"] > _SOME else 0,
        "{} times it preempted a task that had just begun: that has a shortest slice first",
    ),
}


class Complaints:
    """Compares the counters with those at the policy's start."""

    def __init__(self) -> None:
        """The first policy starts with all counters at zero."""
        self._before: dict[str, int] = {}
        self._told: set[str] = set()

    def start_anew(self, counts: Counts) -> None:
        """Forget the last policy; another one starts with these counters."""
        self._before = dict(counts)
        self._told.clear()

    def new(self, counts: Counts) -> Iterator[str]:
        """The complaints about this policy that were not told before."""
        grown = {name: value - self._before.get(name, 0) for name, value in counts.items()}
        for name, (wrong, text) in _RULES.items():
            if name not in self._told and (nr := wrong(grown)):
                self._told.add(name)
                yield text.format(nr)
