# SPDX-License-Identifier: GPL-2.0-only
"""The figures of one run of a benchmark, and those that follow from them."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from statistics import median
from typing import Self

DEFAULT = "default"
PYLAND = "pyland deadline"
RUSTLAND = "scx_rustland"
MIGRATIONS = "migrations_per_switch"
"""The figure of all migrations. The name of a figure for one distance ends in this name."""
PARTS = ("BPF", "waiting for the user-space scheduler", "Python", "waiting for a CPU")


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest figure of some runs; quartiles would need more than five."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        """The spread of these values; None if there are none."""
        each = sorted(values)
        return cls(median(each), each[0], each[-1], len(each)) if each else None


@dataclass(frozen=True)
class Split:
    """Where tasks waited: sums in ns over `records`; `queue_wait_ns` over `queue_waits`."""

    records: int
    scheduler_wait_ns: int
    python_ns: int
    queue_wait_ns: int
    queue_waits: int


@dataclass(frozen=True)
class Cost:
    """The cost of deciding in a run: CPU time of user space and of the BPF programs, in ns.

    `user_ns` is that of the deciding process, `others_ns` that of the scheduler's other processes.
    """

    seconds: float
    decisions: int
    user_ns: int
    bpf_ns: int
    bpf_runs: int
    cycles: int | None = None
    dispatched: int | None = None
    page_faults: int | None = None
    others_ns: int = 0
    split: Split | None = None

    @property
    def user(self) -> float:
        """Ns of the deciding process per decision."""
        return self.user_ns / self.decisions

    @property
    def bpf(self) -> float | None:
        """BPF ns per decision; None if the kernel did not count them."""
        return self.bpf_ns / self.decisions if self.bpf_runs else None

    @property
    def user_each(self) -> float | None:
        """Ns of all processes per dispatched task; None if those tasks were not counted."""
        return (self.user_ns + self.others_ns) / self.dispatched if self.dispatched else None

    @property
    def bpf_each(self) -> float | None:
        """BPF ns per dispatched task; None if either was not counted."""
        return self.bpf_ns / self.dispatched if self.bpf_runs and self.dispatched else None

    @property
    def served(self) -> float | None:
        """Dispatched tasks per decision; None if they were not counted."""
        return self.dispatched / self.decisions if self.dispatched else None

    @property
    def all_each(self) -> float | None:
        """User-space and BPF ns per dispatched task; None if either was not counted."""
        if self.user_each is None or self.bpf_each is None:
            return None
        return self.user_each + self.bpf_each

    @property
    def rate(self) -> float:
        """Decisions per second."""
        return self.decisions / self.seconds

    @property
    def share(self) -> float:
        """CPU time of all processes, as a part of one CPU."""
        return (self.user_ns + self.others_ns) / (self.seconds * 1e9)

    @property
    def batch(self) -> float | None:
        """Decisions per cycle; None if cycles were not counted."""
        return self.decisions / self.cycles if self.cycles else None

    @property
    def parts_us(self) -> tuple[float | None, ...] | None:
        """Mean µs of each of PARTS; None if they were not counted."""
        split = self.split
        if not split or not split.records:
            return None
        waited = split.queue_wait_ns / split.queue_waits if split.queue_waits else 0.0
        means = (split.scheduler_wait_ns / split.records, split.python_ns / split.records, waited)
        return (self.bpf and self.bpf / 1e3, *(ns / 1e3 for ns in means))


@dataclass(frozen=True)
class Metric:
    """A figure of a workload; `better` is "lower" or "higher"."""

    better: str
    about: str


@dataclass(frozen=True)
class Workload:
    """What ran, whether it had more work than CPUs, and its figures, the main one first."""

    about: str
    contended: bool
    metrics: Mapping[str, Metric]

    @property
    def main(self) -> str:
        """The name of the figure that stands for the workload."""
        return next(iter(self.metrics))

    @property
    def own(self) -> list[str]:
        """The names of the figures that are not migrations."""
        return [name for name in self.metrics if not name.endswith(MIGRATIONS)]

    @property
    def migrations(self) -> list[str]:
        """The names of the figures of migrations, the total first; empty if not counted."""
        return [name for name in self.metrics if name.endswith(MIGRATIONS)]


@dataclass(frozen=True)
class Run:
    """One run of a scheduler: with a workload, a load, or a number of tasks and CPUs."""

    scheduler: str
    workload: str = ""
    load: str = ""
    cpus: int = 0
    tasks: int = 0
    round: int = 0
    metrics: Mapping[str, float] | None = None
    cost: Cost | None = None
    error: str = ""

    @property
    def deciding(self) -> Cost | None:
        """The cost, unless the run failed or decided nothing."""
        return self.cost if self.cost and self.cost.decisions and not self.error else None


@dataclass(frozen=True)
class Ring:
    """One ring benchmark: µs per task of a part of the round trip ("cycle" is the whole)."""

    policy: str
    part: str
    batch: int
    queued: int
    us: float
