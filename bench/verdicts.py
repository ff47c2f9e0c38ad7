# SPDX-License-Identifier: GPL-2.0-only
"""The targets for pyland's figures, as ratios within one boot, and whether they are reached."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from bench.figures import DEFAULT, PYLAND, RUSTLAND, Spread
from bench.results import Results, deciding
from bench.text import factor, mid, number


@dataclass(frozen=True)
class Verdict:
    """A target, the measured figure, and whether it was reached; None if it was not measured."""

    number: int
    target: str
    measured: str = "not measured"
    reached: bool | None = None


def _compared(
    results: Results, nr: int, workload: str, metric: str, base: str, least: float, target: str
) -> Verdict:
    """Whether pyland's figure is at least `least` times as good as that of the base."""
    target = f"{workload}, `{metric}`: {target}"
    ratio = results.ratio(PYLAND, workload, metric, base)
    if not ratio:
        return Verdict(nr, target)
    mine, other = (mid(results.figures(each, workload, metric)) for each in (PYLAND, base))
    text = f"{factor(ratio)} times as good: {mine} against {other}"
    return Verdict(nr, target, text, ratio.median >= least)


def _by_round(results: Results, level: str, scheduler: str, each: str) -> dict[int, float]:
    """An attribute of the cost at a load, by round."""
    runs = [run for run in results.cost if (run.load, run.scheduler) == (level, scheduler)]
    costs = ((run.round, run.deciding) for run in runs)
    return {at: value for at, cost in costs if cost and (value := getattr(cost, each))}


def _paid(results: Results) -> Iterator[Verdict]:
    """Target 1: the cost per dispatched task, and per decision (one may serve many tasks)."""
    for level in results.loads or ["low", "full"]:
        for what, each in (("dispatched task", "user_each"), ("decision", "user")):
            mine, theirs = (_by_round(results, level, name, each) for name in (PYLAND, RUSTLAND))
            ratio = Spread.of(mine[at] / theirs[at] for at in mine.keys() & theirs.keys())
            for most, text in ((1.0, f"at most {RUSTLAND}'s"), (0.5, "half of that")):
                target = f"user-space CPU per {what} at {level} load: {text}"
                got: tuple[str, bool] | tuple[()] = ()
                if ratio:
                    ns = [number(median(of.values())) for of in (mine, theirs)]
                    measured = f"{factor(ratio)} times: {ns[0]} ns against {ns[1]}"
                    got = (measured, ratio.median <= most)
                yield Verdict(1, target, *got)


def _felt(results: Results) -> Iterator[Verdict]:
    """Target 2: wakeups under full load, and the game's slowest frames."""
    p99 = r"p99(?!_?\d|\.)"
    wanted = (
        ("schbench", "wakeup p99", rf"wakeup.*{p99}", (RUSTLAND, DEFAULT)),
        ("game", "helpers' p99", rf"helper.*{p99}", (RUSTLAND, DEFAULT)),
        ("game", "1 % low frame rate", r"low.*fps|fps.*low|1pct.*fps", (DEFAULT,)),
    )
    for name, about, pattern, bases in wanted:
        named = {key: each for key, each in results.workloads.items() if name in key}
        full = {key: each for key, each in named.items() if each.contended} or named
        pairs = [(key, m) for key in full for m in full[key].metrics if re.search(pattern, m)]
        for base in bases:
            target = f"at least as good as {'the default' if base == DEFAULT else base}'s"
            for key, metric in pairs:
                yield _compared(results, 2, key, metric, base, 1.0, target)
            if not pairs:
                yield Verdict(2, f"{name}, {about}: {target}")


def _even(by_tasks: dict[int, list[float]], what: str) -> Verdict:
    """Target 4: the cost with 10,000 tasks against that with 10."""
    target = f"{what} with 10,000 tasks at most twice that with 10"
    few, many = by_tasks.get(10), by_tasks.get(10_000)
    if not few or not many:
        return Verdict(4, target)
    ratio = median(many) / median(few)
    text = f"{ratio:.2f} times: {number(median(many))} against {number(median(few))}"
    return Verdict(4, target, text, ratio <= 2)


def verdicts(results: Results) -> list[Verdict]:
    """All targets, also those that were not measured; first the cost, then latencies."""
    made = list(_paid(results))
    got: tuple[str, bool] | tuple[()]
    made += _felt(results)
    for name, each in results.workloads.items():
        metric = each.main
        higher = each.metrics[metric].better == "higher" and "fps" not in metric
        if higher or metric == "time_s":
            percent, where = (5, "contended") if each.contended else (2, "CPUs to spare")
            text = f"within {percent} % of {DEFAULT} ({where})"
            made.append(_compared(results, 3, name, metric, DEFAULT, 1 - percent / 100, text))
    by_tasks: dict[str, dict[int, list[float]]] = {}
    scaled = [run for run in results.scale if run.scheduler == PYLAND]
    for (cpus, tasks), costs in sorted(deciding(scaled, lambda run: (run.cpus, run.tasks)).items()):
        figures: dict[str, list[float | None]] = {
            "user-space CPU per decision": [cost.user for cost in costs],
            "all CPU per dispatched task": [cost.all_each for cost in costs],
        }
        for what, known in figures.items():
            if values := [value for value in known if value is not None]:
                by_tasks.setdefault(f"kernel, {cpus} CPUs: {what}", {})[tasks] = values
    for ring in results.rings:
        if ring.policy == "deadline" and ring.queued:
            key = f"rings, {ring.part} at batch {ring.batch}: cost per decision"
            by_tasks.setdefault(key, {}).setdefault(ring.queued, []).append(ring.us)
    several = {what: of for what, of in by_tasks.items() if len(of) > 1}
    made += [
        _even(of, what)
        for what, of in (several or {"kernel and rings: cost per decision": {}}).items()
    ]
    counted = [
        run.cost.page_faults
        for run in (*results.runs, *(results.many.runs if results.many else ()))
        if run.scheduler.startswith("pyland") and run.cost and run.cost.page_faults is not None
    ]
    got = (f"{number(sum(counted))} in {len(counted)} runs", not sum(counted)) if counted else ()
    made.append(Verdict(5, "no page fault of the deciding process over the whole set", *got))
    return made
