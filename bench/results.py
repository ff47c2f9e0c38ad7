# SPDX-License-Identifier: GPL-2.0-only
"""The benchmarks' results, read from their JSON files: medians, spreads and ratios.

Schedulers are compared within a round, which ran in one boot in an interleaved order: the ratio
of each round first, then the median of them, so that a drift of the machine cancels.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import Any, Self, TypeVar

DEFAULT = "default"
PYLAND = "pyland deadline"
RUSTLAND = "scx_rustland"
PARTS = ("BPF", "waiting for the user-space scheduler", "Python", "waiting for a CPU")

T = TypeVar("T")


class ResultsError(ValueError):
    """A file that does not hold what it should; the message names it."""


@dataclass(frozen=True)
class Spread:
    """Median, least and greatest of some runs' figures; quartiles would need more than five."""

    median: float
    low: float
    high: float
    runs: int

    @classmethod
    def of(cls, values: Iterable[float]) -> Self | None:
        """None when there are no values."""
        each = sorted(values)
        return cls(median(each), each[0], each[-1], len(each)) if each else None


@dataclass(frozen=True)
class Split:
    """Where tasks waited: sums in ns over `records`, and over `queue_waits` for the last."""

    records: int
    scheduler_wait_ns: int
    python_ns: int
    queue_wait_ns: int
    queue_waits: int


@dataclass(frozen=True)
class Cost:
    """What deciding cost in a run: CPU time of user space and of the BPF programs, in ns.

    `user_ns` is the deciding process's; what supervises it and prints is in `others_ns`.
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
        """The deciding process's ns per decision."""
        return self.user_ns / self.decisions

    @property
    def bpf(self) -> float | None:
        """BPF ns per decision; None where the kernel did not count them."""
        return self.bpf_ns / self.decisions if self.bpf_runs else None

    @property
    def user_each(self) -> float | None:
        """Ns of all its processes per dispatched task; None where those were not counted."""
        return (self.user_ns + self.others_ns) / self.dispatched if self.dispatched else None

    @property
    def bpf_each(self) -> float | None:
        """BPF ns per dispatched task; None where either was not counted."""
        return self.bpf_ns / self.dispatched if self.bpf_runs and self.dispatched else None

    @property
    def served(self) -> float | None:
        """Dispatched tasks per decision; None where they were not counted."""
        return self.dispatched / self.decisions if self.dispatched else None

    @property
    def all_each(self) -> float | None:
        """User-space and BPF ns per dispatched task; None where one was not counted."""
        if self.user_each is None or self.bpf_each is None:
            return None
        return self.user_each + self.bpf_each

    @property
    def rate(self) -> float:
        """Decisions per second."""
        return self.decisions / self.seconds

    @property
    def share(self) -> float:
        """CPU time of all its processes, as a part of one CPU."""
        return (self.user_ns + self.others_ns) / (self.seconds * 1e9)

    @property
    def batch(self) -> float | None:
        """Decisions per cycle; None where cycles are not counted."""
        return self.decisions / self.cycles if self.cycles else None

    @property
    def parts_us(self) -> tuple[float | None, ...] | None:
        """Mean µs of each of PARTS."""
        split = self.split
        if not split or not split.records:
            return None
        waited = split.queue_wait_ns / split.queue_waits if split.queue_waits else 0.0
        means = (split.scheduler_wait_ns / split.records, split.python_ns / split.records, waited)
        return (self.bpf and self.bpf / 1e3, *(ns / 1e3 for ns in means))


Places = Mapping[tuple[str, str], Sequence[Cost]]
"""Costs of runs by load or workload, and scheduler, in the order in which they are shown."""


@dataclass(frozen=True)
class Metric:
    """A figure of a workload; better is "lower" or "higher"."""

    better: str
    about: str


@dataclass(frozen=True)
class Workload:
    """What ran, whether it had more to do than CPUs, and its figures, the main one first."""

    about: str
    contended: bool
    metrics: Mapping[str, Metric]

    @property
    def main(self) -> str:
        """Name of the figure that stands for the workload."""
        return next(iter(self.metrics))


@dataclass(frozen=True)
class Run:
    """One run: of a workload, at a load, or with so many tasks on so many CPUs."""

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
    """One ring benchmark: µs per task of one part ("cycle" is all of it) of the round trip."""

    policy: str
    part: str
    batch: int
    queued: int
    us: float


@dataclass(frozen=True)
class Results:
    """All files of a folder; those without a file are empty."""

    files: Mapping[str, Mapping[str, Any]]
    workloads: Mapping[str, Workload]
    kernel: tuple[Run, ...]
    cost: tuple[Run, ...]
    scale: tuple[Run, ...]
    rings: tuple[Ring, ...]

    @property
    def runs(self) -> tuple[Run, ...]:
        """Those of all files but the rings'."""
        return self.kernel + self.cost + self.scale

    @property
    def loads(self) -> list[str]:
        """Of the runs under instruction counting, low before full."""
        return sorted({run.load for run in self.cost}, key=lambda name: (name != "low", name))

    @property
    def by_load(self) -> Places:
        """What deciding cost under instruction counting."""
        return _by_place(self.cost, lambda run: run.load, self.loads)

    @property
    def by_workload(self) -> Places:
        """What deciding cost beside the workloads."""
        return _by_place(self.kernel, lambda run: run.workload, list(self.workloads))

    def schedulers(self) -> list[str]:
        """All that ran a workload, in the order in which they are shown."""
        return ordered(run.scheduler for run in self.kernel)

    def _rounds(self, scheduler: str, workload: str, metric: str) -> dict[int, float]:
        """Rounds that did not fail, and their figure."""
        rounds: dict[int, list[float]] = {}
        for run in self.kernel:
            if (run.scheduler, run.workload) == (scheduler, workload) and not run.error:
                value = (run.metrics or {}).get(metric)
                if value is not None:
                    rounds.setdefault(run.round, []).append(value)
        return {round_: median(values) for round_, values in rounds.items()}

    def figures(self, scheduler: str, workload: str, metric: str) -> Spread | None:
        """A figure over the rounds; None when there is none."""
        return Spread.of(self._rounds(scheduler, workload, metric).values())

    def ratio(
        self, scheduler: str, workload: str, metric: str, base: str = DEFAULT
    ) -> Spread | None:
        """How many times as good as the base of the same round: above 1 is better.

        A round in which either failed, or only one of both figures is 0, does not count.
        """
        mine, theirs = (self._rounds(each, workload, metric) for each in (scheduler, base))
        ratios = []
        for round_ in mine.keys() & theirs.keys():
            good, bad = mine[round_], theirs[round_]
            if self.workloads[workload].metrics[metric].better != "higher":
                good, bad = bad, good
            if good == bad:
                ratios.append(1.0)
            elif good > 0 and bad > 0:
                ratios.append(good / bad)
        return Spread.of(ratios)


def ordered(schedulers: Iterable[str]) -> list[str]:
    """Each once: the default one, pyland's with the default policy first, then the others."""

    def rank(name: str) -> tuple[bool, bool, bool, str]:
        return name != DEFAULT, name != PYLAND, not name.startswith("pyland"), name

    return sorted(set(schedulers), key=rank)


def deciding(runs: Iterable[Run], key: Callable[[Run], T]) -> dict[T, list[Cost]]:
    """The costs of runs that decided something, by this key."""
    groups: dict[T, list[Cost]] = {}
    for run in runs:
        if cost := run.deciding:
            groups.setdefault(key(run), []).append(cost)
    return groups


def middle(values: Iterable[float | None]) -> float | None:
    """The median of those that are there."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def splits(places: Places) -> dict[tuple[str, str], list[float | None]]:
    """Medians over the runs of `Cost.parts_us`, where those are known."""
    made = {}
    for pair, costs in places.items():
        if parts := [cost.parts_us for cost in costs if cost.parts_us]:
            made[pair] = [middle(each) for each in zip(*parts, strict=True)]
    return made


def _by_place(runs: Iterable[Run], place: Callable[[Run], str], places: Sequence[str]) -> Places:
    """In the order of these places, without others."""
    groups = deciding(runs, lambda run: (place(run), run.scheduler))
    schedulers = ordered(scheduler for _, scheduler in groups)
    pairs = ((where, scheduler) for where in places for scheduler in schedulers)
    return {pair: groups[pair] for pair in pairs if pair in groups}


def _made(kind: type[T], data: Mapping[str, Any]) -> T:
    """A dataclass from the values of its fields' names; what else there is does not matter."""
    names = {field.name for field in fields(kind)}  # type: ignore[arg-type]
    return kind(**{name: value for name, value in data.items() if name in names})


def _run(data: Mapping[str, Any]) -> Run:
    made = dict(data, error=data.get("error") or "")
    if cost := data.get("cost"):
        split = cost.get("split")
        made["cost"] = _made(Cost, dict(cost, split=_made(Split, split) if split else None))
    values = data.get("metrics") or {}
    made["metrics"] = {name: float(each) for name, each in values.items() if each is not None}
    return _made(Run, made)


def _workload(data: Mapping[str, Any]) -> Workload:
    metrics = {name: _made(Metric, each) for name, each in data["metrics"].items()}
    return Workload(data["about"], data["contended"], metrics)


def _ring(data: Mapping[str, Any]) -> Ring:
    """One of pytest-benchmark's; parameters stand in for what a benchmark does not say."""
    known = {"part": "cycle", **(data.get("params") or {}), **data["extra_info"]}
    return Ring(
        policy=known.get("policy") or known.get("name") or PYLAND.split()[1],
        part=known["part"],
        batch=int(known.get("batch") or 1),
        queued=int(known.get("queued") or 0),
        us=float(known["us_per_task"]),
    )


def load(folder: Path) -> Results:
    """All results of a folder; ResultsError for a file that cannot be read as what it is."""
    files: dict[str, Any] = {}
    made: dict[str, Any] = {"workloads": {}}
    for name in ("kernel", "cost", "scale", "rings"):
        path = folder / f"{name}.json"
        made[name] = ()
        if not path.exists():
            continue
        try:
            data = files[name] = json.loads(path.read_text(encoding="utf-8"))
            if name == "rings":
                every = (each for each in data["benchmarks"] if "us_per_task" in each["extra_info"])
                made[name] = tuple(_ring(each) for each in every)
                continue
            made[name] = tuple(_run(each) for each in data["runs"])
            for each, about in data.get("workloads", {}).items():
                made["workloads"][each] = _workload(about)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ResultsError(f"{path}: {type(error).__name__}: {error}") from None
    return Results(files=files, **made)
