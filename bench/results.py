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
from typing import Any, TypeVar

from bench.figures import DEFAULT, PYLAND, Cost, Metric, Ring, Run, Split, Spread, Workload

T = TypeVar("T")


class ResultsError(ValueError):
    """A file that does not hold what it should; the message names it."""


Places = Mapping[tuple[str, str], Sequence[Cost]]
"""Costs of runs by load or workload, and scheduler, in the order in which they are shown."""


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
