# SPDX-License-Identifier: GPL-2.0-only
"""The sections of docs/performance.md: blocks of Markdown from the results."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from statistics import median
from typing import Any

from bench.cycle import Cycle
from bench.figures import DEFAULT, PARTS, Cost, Ring
from bench.results import MANY, Results, deciding, middle, ordered, splits
from bench.text import NONE, count, factor, mid, number, span, table

EMULATED = """**The processors are emulated, which is many times slower than real ones: figures
compare only within a table, row with row, and not with those of any other machine.**"""
COUNTED = """Counted, not timed: the virtual machine's clock advances one nanosecond with each
instruction (QEMU's `icount`), so a nanosecond here is an instruction."""
TURNS = """Its CPUs take turns, and what CPU time is said beside the workloads includes the others'
turns: the rows compare, the exact figures are those by load."""
MIGRATIONS = """Tasks that moved to another CPU, for each context switch of the machine, over a
whole run. As elsewhere, *times as good* is above 1 where fewer moved than by default."""
EIGHT_CPUS = """Two NUMA nodes, each with a last-level cache of its own, two cores, and two siblings
of each core. The columns of the schedulers have *times as good as default*."""
RINGS_COMMAND = "make bench BENCH_ARGS=--benchmark-json=build/bench/rings.json"
COST_TITLES = (
    "runs",
    "ns of all its processes per dispatched task",
    "BPF ns per dispatched task",
    "ns of the deciding one per decision",
    "dispatched tasks per decision",
    "decisions per second",
    "decisions per cycle",
    "user-space share of a CPU",
    "page faults",
)


def _word(value: object) -> str:
    """A fact about a machine as a word."""
    return {True: "yes", False: "no"}[value] if isinstance(value, bool) else str(value or NONE)


def machines(results: Results) -> Iterator[str]:
    """Each machine with the files that were measured on it, and a warning if it is emulated."""
    columns: list[tuple[dict[str, Any], list[str]]] = []
    for name, file in results.files.items():
        if machine := file.get("machine"):
            same = [names for each, names in columns if each == machine]
            if same:
                same[0].append(name)
            else:
                columns.append((machine, [name]))
    if columns:
        if any(machine.get("emulated") for machine, _ in columns):
            yield EMULATED
        keys = dict.fromkeys(key for machine, _ in columns for key in machine)
        rows = [
            [key.replace("_", " "), *(_word(machine.get(key)) for machine, _ in columns)]
            for key in keys
        ]
        yield table(["", *(", ".join(names) for _, names in columns)], rows, left=9)
    if rings := results.files.get("rings"):
        about = rings.get("machine_info") or {}
        cpu = about.get("cpu") or {}
        yield (
            f"The rings were measured on the host: {cpu.get('brand_raw', 'CPU not known')}, "
            f"{cpu.get('count', NONE)} CPUs, Linux {about.get('release', NONE)}, "
            f"Python {about.get('python_version', NONE)}."
        )


def repeat(results: Results) -> Iterator[str]:
    """The commands that repeat the measurements, as the files of results name them."""
    commands = [results.files[name].get("command") or RINGS_COMMAND for name in results.files]
    yield "\n".join(["```sh", *dict.fromkeys(commands), "python -m bench.report", "```"])
    for name in ("kernel", MANY):
        if kernel := results.files.get(name):
            yield (
                f"{name}.json is of {kernel.get('date', NONE)}: {kernel.get('rounds', NONE)} "
                f"rounds, each scheduler once in a round, {number(kernel.get('seconds'))} s for "
                "each workload."
            )


def _is_counted(results: Results) -> bool:
    """True if the workloads ran on a machine that counts instructions."""
    machine = (results.files.get("kernel") or {}).get("machine") or {}
    return machine.get("clock") == "instructions"


def workloads(results: Results) -> Iterator[str]:
    """A table of all schedulers for each workload."""
    if _is_counted(results):
        yield COUNTED
    for name, each in results.workloads.items():
        yield f"### {name}"
        yield f"{each.about} ({'every CPU contended' if each.contended else 'CPUs to spare'})"
        yield "\n".join(
            f"- `{key}`, {metric.better} is better: {metric.about}"
            for key, metric in each.metrics.items()
            if key in each.own
        )
        main, *others = each.own
        titles = ["scheduler", "runs", main, "min to max", "times as good as default", *others]
        rows = []
        for scheduler in results.schedulers():
            if spread := results.figures(scheduler, name, main):
                ratio = factor(results.ratio(scheduler, name, main))
                more = [mid(results.figures(scheduler, name, other)) for other in others]
                rows.append([scheduler, spread.runs, mid(spread), span(spread), ratio, *more])
        yield table(titles, rows) if rows else "No run came to its end."


def migrations(results: Results) -> Iterator[str]:
    """A table of tasks that moved by distance, for each workload and scheduler."""
    about = {
        name: of.metrics[name].about for of in results.workloads.values() for name in of.migrations
    }
    rows = []
    for name, each in results.workloads.items():
        if not each.migrations:
            continue
        main = each.migrations[0]
        for scheduler in results.schedulers():
            spread = results.figures(scheduler, name, main)
            if not spread:
                continue
            ratio = factor(results.ratio(scheduler, name, main))
            parts = [mid(results.figures(scheduler, name, part)) for part in [*about][1:]]
            rows.append([name, scheduler, spread.runs, mid(spread), ratio, *parts])
    if rows:
        main, *parts = about
        yield MIGRATIONS
        yield "\n".join(f"- `{name}`: {text}" for name, text in about.items())
        titles = ["workload", "scheduler", "runs", main, "times as good as default", *parts]
        yield table(titles, rows, left=2)


def many(results: Results | None) -> Iterator[str]:
    """The workloads on eight CPUs: every figure beside the default scheduler's, and migrations."""
    if not results:
        return
    yield EIGHT_CPUS
    if _is_counted(results):
        yield COUNTED
    others = [name for name in results.schedulers() if name != DEFAULT]
    rows = []
    for name, each in results.workloads.items():
        for metric in each.own:
            ratios = [factor(results.ratio(scheduler, name, metric)) for scheduler in others]
            base = results.figures(DEFAULT, name, metric)
            if base:
                rows.append([name, f"`{metric}`", base.runs, mid(base), *ratios])
    titles = ["workload", "figure", "runs", DEFAULT, *others]
    yield table(titles, rows, left=2) if rows else "No run came to its end."
    yield from migrations(results)


def left_out(results: Results) -> Iterator[str]:
    """A table of what was left out on either machine, and why."""
    rows = []
    for name, where in (("kernel", ""), (MANY, "eight CPUs: ")):
        reasons = (results.files.get(name) or {}).get("left_out") or {}
        rows += [[f"{where}{what}", why] for what, why in reasons.items()]
    yield table(["what", "why"], rows, 2) if rows else "Nothing."


def _cost_row(costs: Sequence[Cost]) -> list[str]:
    """Medians over the runs, but the sum of page faults; see COST_TITLES."""
    faults = [cost.page_faults for cost in costs if cost.page_faults is not None]
    names = ("user_each", "bpf_each", "user", "served", "rate", "batch")
    return [
        str(len(costs)),
        *(number(middle(getattr(cost, name) for cost in costs)) for name in names),
        f"{median(cost.share for cost in costs):.1%}",
        number(sum(faults) if faults else None),
    ]


def cost(results: Results) -> Iterator[str]:
    """The cost of deciding, by load and during each workload."""
    for what, groups in (("load", results.by_load), ("workload", results.by_workload)):
        if groups:
            counted = what == "load" or _is_counted(results)
            yield COUNTED if counted else "Timed, in the runs of the workloads above:"
            if counted and what == "workload":
                yield TURNS
            rows = [[*pair, *_cost_row(costs)] for pair, costs in groups.items()]
            yield table([what, "scheduler", *COST_TITLES], rows, left=2)


def split(results: Results) -> Iterator[str]:
    """Where tasks waited, by load and by workload: their clocks are of two kinds."""
    for what, groups in (("load", results.by_load), ("workload", results.by_workload)):
        if rows := splits(groups):
            counted = what == "load" or _is_counted(results)
            unit = "1 µs is 1,000 instructions here" if counted else "timed"
            yield f"Means per task of a run, medians over the runs; {unit}:"
            titles = [what, "scheduler", *(f"{part}, µs" for part in PARTS)]
            yield table(titles, [[*key, *map(number, row)] for key, row in rows.items()], left=2)


def scale(results: Results) -> Iterator[str]:
    groups = deciding(results.scale, lambda run: (run.scheduler, run.cpus, run.tasks))
    order = ordered(key[0] for key in groups)
    keys = sorted(groups, key=lambda key: (order.index(key[0]), *key[1:]))
    if keys:
        titles = ["scheduler", "CPUs", "tasks", *COST_TITLES]
        yield table(
            titles, [[key[0], key[1], count(key[2]), *_cost_row(groups[key])] for key in keys]
        )


def rings(results: Results) -> Iterator[str]:
    """µs per task: first batches side by side, then queue depths; each figure stands once."""
    left, parts = set(results.rings), list(dict.fromkeys(ring.part for ring in results.rings))
    for across, other in (("batch", "queued"), ("queued", "batch")):
        groups: dict[tuple[str, str, int], dict[int, Ring]] = {}
        for ring in results.rings:
            key = (ring.part, ring.policy, getattr(ring, other))
            groups.setdefault(key, {})[getattr(ring, across)] = ring
        kept = {
            key: of
            for key, of in groups.items()
            if len(of) > 1 or (across == "queued" and not left.isdisjoint(of.values()))
        }
        left -= {ring for of in kept.values() for ring in of.values()}
        if kept:
            columns = sorted({column for of in kept.values() for column in of})
            titles = [
                "part",
                "policy",
                other,
                *(f"{across} {count(column)}" for column in columns),
            ]
            rows = [
                [
                    part,
                    policy,
                    count(held),
                    *(number(of[c].us if c in of else None) for c in columns),
                ]
                for (part, policy, held), of in sorted(
                    kept.items(), key=lambda item: parts.index(item[0][0])
                )
            ]
            yield "µs of user space per task:"
            yield table(titles, rows, left=2)


def failures(results: Results) -> Iterator[str]:
    """Runs with an error; no figure includes them."""
    errors: dict[tuple[str, str], list[str]] = {}
    many = results.many.runs if results.many else ()
    on_both = [*((run, "") for run in results.runs), *((run, ", eight CPUs") for run in many)]
    for run, where in on_both:
        place = run.workload or (f"{run.load} load" if run.load else "")
        place = place or f"{run.tasks:,} tasks, {run.cpus} CPUs"
        errors.setdefault((place + where, run.scheduler), []).append(run.error)
    rows = [
        [*key, len(list(filter(None, of))), len(of), next(filter(None, of))[:200]]
        for key, of in errors.items()
        if any(of)
    ]
    yield table(["where", "scheduler", "failed", "of", "first error"], rows, 9) if rows else "None."


def cycle(cycle: Cycle | None) -> Iterator[str]:
    """A flame graph's figures."""
    if not cycle:
        return
    yield (
        f"Every instruction of {cycle.cycles} cycles of `pyland {cycle.options}` on one CPU, with "
        "three hogs and a task that sleeps, by its function: a called function hangs "
        "below its caller. Each cycle decides one or two tasks and carries that out "
        f"(`{cycle.COMMAND}`; code without a symbol has the name of its file)."
    )
    whole = cycle.instructions
    rows = [[name, f"{each:,.0f}", f"{each / whole:.0%}"] for name, each in cycle.parts().items()]
    yield table(["part", "instructions of a cycle", "share"], [*rows, ["all", f"{whole:,.0f}", ""]])
