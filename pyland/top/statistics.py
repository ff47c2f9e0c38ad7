# SPDX-License-Identifier: GPL-2.0-only
"""An answer of the statistics server, checked, as rates."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeGuard

from pyland.errors import UsageError
from pyland.stats.counters import TOTALS
from pyland.stats.numbers import GAUGE_MAX

_NAMES_MAX = 256
_BUCKETS_MAX = 64
_IN_TASKS = ("queue",)
LATENCIES = (
    ("decision", "from a question to its decision", "delay_ns", "user_dispatched"),
    ("queue", "in a queue, from enqueue or decision to a CPU", "wait_cpu_ns", "waited_cpu"),
    ("user space", "from a question until user space had a CPU", "wait_user_ns", "user_dispatched"),
)
"""Mean times that the counters have: name, meaning, and the counters of their sum and number."""


@dataclass(frozen=True, slots=True)
class Histogram:
    """Counts in log2 buckets: of 0, of 1, of [2, 4), of [4, 8) and so on."""

    name: str
    counts: tuple[int, ...]
    in_time: bool = True
    """True if the values are microseconds; else they are tasks."""

    def percentile(self, part: float) -> float:
        """The value that this part of all values does not exceed; exact to its bucket."""
        wanted, below = sum(self.counts) * part, 0
        for bucket, count in enumerate(self.counts):
            if count and below + count >= wanted:
                low = 1 << bucket - 1 if bucket else 0
                return low + low * max(wanted - below, 0) / count if bucket > 1 else low
            below += count
        return 0.0


@dataclass(frozen=True, slots=True)
class Statistics:
    """What pyland did in an interval."""

    interval_s: float
    policy: str
    """Its name, not escaped."""
    growth: Mapping[str, int]
    """What each counter has grown in the interval; gauges are as they are."""
    policy_gauges: Mapping[str, float] = field(default_factory=dict)
    policy_counts: Mapping[str, float] = field(default_factory=dict)
    """By their growth in the interval."""
    worker_pid: int = 0
    """The process that decides; 0 if the server does not say."""
    nr_notes: int = 0
    """How many notes about tasks the policy has written."""
    notes: Mapping[int, str] = field(default_factory=dict)
    """The policy's notes, by the task's number; empty if the server has none."""
    histograms: Sequence[Histogram] | None = None
    """The histograms, counted since they were first asked for; None if they were not asked for, or
    if this server does not keep them."""

    def per_s(self, name: str) -> float:
        """Growth of a counter in a second."""
        return self.growth[name] / self.interval_s

    def decisions(self) -> dict[str, float]:
        """The ways in which tasks became ready to run, by tasks a second."""
        fallback = ("fallback_full", "fallback_lag", "fallback_idle")
        return {
            "direct": self.per_s("direct") + self.per_s("kernel"),
            "python": self.per_s("user_dispatched"),
            "continued": self.per_s("continued"),
            "fallback": sum(map(self.per_s, fallback)),
        }

    def latencies(self) -> dict[str, float]:
        """The mean times of `LATENCIES` in ns, by name; 0 if nothing was measured."""
        return {
            name: self.growth[total] / self.growth[number] if self.growth[number] else 0.0
            for name, _, total, number in LATENCIES
        }


def checked(found: object, interval_s: float, path: Path) -> Statistics:
    """The statistics of an answer; raises UsageError if it is not one of pyland's."""
    if not isinstance(found, dict) or not all(_is_count(found.get(name)) for name in TOTALS):
        raise UsageError(f"{path}: the scheduler there is not pyland")
    policy = found.get("policy")
    return Statistics(
        interval_s=max(interval_s, 1e-3),
        policy=policy[:_NAMES_MAX] if isinstance(policy, str) else "?",
        growth={name: found[name] for name in TOTALS},
        policy_gauges=_own(found.get("policy_gauges"), "policy_gauge"),
        policy_counts=_own(found.get("policy_counts"), "policy_count"),
        worker_pid=pid if _is_count(pid := found.get("worker_pid")) else 0,
        nr_notes=nr if _is_count(nr := found.get("policy_notes")) else 0,
    )


def _is_count(value: object) -> TypeGuard[int]:
    return type(value) is int and 0 <= value < 1 << 64


def _own(found: object, name: str) -> dict[str, float]:
    """The policy's own numbers; values that are not valid are left out."""
    if not isinstance(found, dict):
        return {}
    return {
        key[:_NAMES_MAX]: value
        for key, struct in list(found.items())[:_NAMES_MAX]
        if isinstance(struct, dict)
        and isinstance(value := struct.get(name), int | float)
        and abs(value) <= GAUGE_MAX
    }


def histograms(found: object) -> tuple[Histogram, ...]:
    """The histograms of all tasks in an answer; those that are not valid are left out."""
    kept = found.get("all") if isinstance(found, dict) else None
    if not isinstance(kept, dict):
        return ()
    return tuple(
        Histogram(name[:_NAMES_MAX], tuple(buckets), in_time=name not in _IN_TASKS)
        for name, one in list(kept.items())[:_NAMES_MAX]
        if isinstance(one, dict)
        and isinstance(buckets := one.get("buckets"), list)
        and len(buckets) <= _BUCKETS_MAX
        and all(map(_is_count, buckets))
    )
