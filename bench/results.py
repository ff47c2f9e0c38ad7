# SPDX-License-Identifier: GPL-2.0-only
"""The benchmarks' results, read from their JSON files: medians, spreads and ratios.

Schedulers are compared within a round, which ran in one boot: first the ratio of each round, then
the median of the ratios, so that a drift of the machine cancels out.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from statistics import median
from typing import Any, TypeVar

from bench.figures import DEFAULT, PYLAND, Cost, Metric, Ring, Run, Split, Spread, Workload

T = TypeVar("T")


class ResultsError(ValueError):
    """A file with wrong contents; the message names the file."""


Places = Mapping[tuple[str, str], Sequence[Cost]]
"""Costs of runs by load or workload, and scheduler, in the order of the report."""
MANY = "kernel-8"
MACHINES = {2: "kernel", 8: MANY}
"""The lab's machines for the workloads by their CPUs, with the files of their results."""


@dataclass(frozen=True)
class Results:
    """The results in all files of a folder; empty where a file is missing."""

    files: Mapping[str, Mapping[str, Any]]
    workloads: Mapping[str, Workload]
    kernel: tuple[Run, ...]
    cost: tuple[Run, ...]
    scale: tuple[Run, ...]
    rings: tuple[Ring, ...]
    many: Results | None = None
    """The workloads on eight CPUs; None if they were not measured."""

    @property
    def runs(self) -> tuple[Run, ...]:
        """The runs of all files, but those on eight CPUs; the rings have no runs."""
        return self.kernel + self.cost + self.scale

    @property
    def loads(self) -> list[str]:
        """The loads of the runs that counted instructions, low before full."""
        return sorted({run.load for run in self.cost}, key=lambda name: (name != "low", name))

    @property
    def by_load(self) -> Places:
        """The cost of deciding in the runs that counted instructions."""
        return _by_place(self.cost, lambda run: run.load, self.loads)

    @property
    def by_workload(self) -> Places:
        """The cost of deciding during the workloads."""
        return _by_place(self.kernel, lambda run: run.workload, list(self.workloads))

    def schedulers(self) -> list[str]:
        """The schedulers that ran a workload, in the order of the report."""
        return ordered(run.scheduler for run in self.kernel)

    def _rounds(self, scheduler: str, workload: str, metric: str) -> dict[int, float]:
        """The figure of each round that did not fail."""
        rounds: dict[int, list[float]] = {}
        for run in self.kernel:
            if (run.scheduler, run.workload) == (scheduler, workload) and not run.error:
                value = (run.metrics or {}).get(metric)
                if value is not None:
                    rounds.setdefault(run.round, []).append(value)
        return {round_: median(values) for round_, values in rounds.items()}

    def figures(self, scheduler: str, workload: str, metric: str) -> Spread | None:
        """The spread of a figure over the rounds; None if there is none."""
        return Spread.of(self._rounds(scheduler, workload, metric).values())

    def ratio(
        self, scheduler: str, workload: str, metric: str, base: str = DEFAULT
    ) -> Spread | None:
        """How many times as good as the base in the same round: above 1 is better.

        A round does not count if one of the two runs failed, or if just one figure is 0.
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
    """Each name once: the default scheduler, pyland with `deadline`, its other policies, others."""

    def rank(name: str) -> tuple[bool, bool, bool, str]:
        return name != DEFAULT, name != PYLAND, not name.startswith("pyland"), name

    return sorted(set(schedulers), key=rank)


def deciding(runs: Iterable[Run], key: Callable[[Run], T]) -> dict[T, list[Cost]]:
    """The costs of the runs that decided anything, by this key."""
    groups: dict[T, list[Cost]] = {}
    for run in runs:
        if cost := run.deciding:
            groups.setdefault(key(run), []).append(cost)
    return groups


def middle(values: Iterable[float | None]) -> float | None:
    """The median of the values that are not None."""
    known = [value for value in values if value is not None]
    return median(known) if known else None


def splits(places: Places) -> dict[tuple[str, str], list[float | None]]:
    """Medians of `Cost.parts_us` over the runs that have them."""
    made = {}
    for pair, costs in places.items():
        if parts := [cost.parts_us for cost in costs if cost.parts_us]:
            made[pair] = [middle(each) for each in zip(*parts, strict=True)]
    return made


def _by_place(runs: Iterable[Run], place: Callable[[Run], str], places: Sequence[str]) -> Places:
    """The costs at these places, in their order."""
    groups = deciding(runs, lambda run: (place(run), run.scheduler))
    schedulers = ordered(scheduler for _, scheduler in groups)
    pairs = ((where, scheduler) for where in places for scheduler in schedulers)
    return {pair: groups[pair] for pair in pairs if pair in groups}


def _made(kind: type[T], data: Mapping[str, Any]) -> T:
    """A dataclass from the values for its fields; other values are ignored."""
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
    """A ring benchmark of pytest-benchmark; parameters replace missing extra_info."""
    known = {"part": "cycle", **(data.get("params") or {}), **data["extra_info"]}
    return Ring(
        policy=known.get("policy") or known.get("name") or PYLAND.split()[1],
        part=known["part"],
        batch=int(known.get("batch") or 1),
        queued=int(known.get("queued") or 0),
        us=float(known["us_per_task"]),
    )


def _read(folder: Path, files: Mapping[str, str]) -> Results:
    """The results of files by name, each read as the `kernel`, `cost`, ... that it stands for."""
    found: dict[str, Any] = {}
    made: dict[str, Any] = {"workloads": {}, "kernel": (), "cost": (), "scale": (), "rings": ()}
    for name, part in files.items():
        path = folder / f"{name}.json"
        if not path.exists():
            continue
        try:
            data = found[part] = json.loads(path.read_text(encoding="utf-8"))
            if part == "rings":
                every = (each for each in data["benchmarks"] if "us_per_task" in each["extra_info"])
                made[part] = tuple(_ring(each) for each in every)
                continue
            made[part] = tuple(_run(each) for each in data["runs"])
            for each, about in data.get("workloads", {}).items():
                made["workloads"][each] = _workload(about)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise ResultsError(f"{path}: {type(error).__name__}: {error}") from None
    return Results(files=found, **made)


def kernel_file(path: Path) -> Results:
    """The results of every scheduler under every workload on one machine; raises as `load`."""
    return _read(path.parent, {path.stem: "kernel"})


def load(folder: Path) -> Results:
    """All results of a folder; ResultsError for a file that cannot be read."""
    results = _read(folder, {name: name for name in ("kernel", "cost", "scale", "rings")})
    many = kernel_file(folder / f"{MANY}.json")
    if not many.files:
        return results
    return replace(results, files={**results.files, MANY: many.files["kernel"]}, many=many)
