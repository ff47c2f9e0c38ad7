# SPDX-License-Identifier: GPL-2.0-only
"""The plots of docs/performance.md: each is drawn into a PNG if there is data for it.

The colours are those of Okabe and Ito, which the colour-blind can tell apart, with their grey and a
dark red of Paul Tol for a ninth and a tenth series.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from statistics import median

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter, NullLocator

from bench.figures import DEFAULT, PARTS, PYLAND, RUSTLAND
from bench.results import Results, deciding, middle, ordered, splits

COLOURS = (
    *("#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7"),
    *("#56B4E9", "#000000", "#F0E442", "#999999", "#661100"),
)
MARKERS = "osD^vPX*"
DPI = 100
PLAIN = FuncFormatter(lambda value, _: f"{value:,g}")


def _figure(rows: float, columns: int = 1) -> tuple[Figure, list[Axes]]:
    """A figure with its axes, high enough for this many rows of bars."""
    figure = Figure(figsize=(7.5, min(12.0, max(2.4, 1.2 + 0.2 * rows))), layout="constrained")
    FigureCanvasAgg(figure)
    axes = [figure.add_subplot(1, columns, each + 1) for each in range(columns)]
    for each in axes:
        each.spines[["top", "right"]].set_visible(False)
        each.set_axisbelow(True)
    return figure, axes


def _save(figure: Figure, path: Path) -> bool:
    path.parent.mkdir(parents=True, exist_ok=True)
    # Without the version of the program: the same results give the same file.
    figure.savefig(path, dpi=DPI, metadata={"Software": None})
    return True


def _colours(names: Sequence[str]) -> dict[str, str]:
    """A colour for each; pyland and scx_rustland have the same colour in every plot."""
    fixed = {PYLAND: COLOURS[0], RUSTLAND: COLOURS[3]}
    free = (colour for colour in COLOURS * len(names) if colour not in fixed.values())
    return {name: fixed[name] if name in fixed else next(free) for name in names}


def _legend(figure: Figure, axes: Axes) -> None:
    """The legend above all axes, in rows of five."""
    handles, labels = axes.get_legend_handles_labels()
    columns = min(5, len(labels))
    figure.legend(handles, labels, loc="outside upper center", ncols=columns, frameon=False)


def ratio(results: Results, path: Path) -> bool:
    """How many times as good as the default scheduler: bars from 1, by workload and scheduler."""
    schedulers = [name for name in results.schedulers() if name != DEFAULT]
    bars = [
        (place, index, found)
        for place, (name, each) in enumerate(results.workloads.items())
        for index, scheduler in enumerate(schedulers)
        if (found := results.ratio(scheduler, name, each.main))
    ]
    if not bars:
        return False
    figure, (axes,) = _figure(len(results.workloads) * (len(schedulers) + 1))
    height, colours = 0.8 / len(schedulers), _colours(schedulers)
    for index, scheduler in enumerate(schedulers):
        mine = [(place, found) for place, which, found in bars if which == index]
        middles = [found.median for _, found in mine]
        axes.barh(
            [place + (index - (len(schedulers) - 1) / 2) * height for place, _ in mine],
            [value - 1 for value in middles],
            height,
            left=1,
            xerr=[
                [found.median - found.low for _, found in mine],
                [found.high - found.median for _, found in mine],
            ],
            error_kw={"elinewidth": 0.8, "ecolor": "#555555"},
            color=colours[scheduler],
            label=scheduler,
        )
    axes.axvline(1, color="black", linewidth=0.8)
    axes.set_xscale("log")
    axes.xaxis.set_major_formatter(PLAIN)
    low = min(found.low for *_, found in bars)
    high = max(found.high for *_, found in bars)
    axes.set_xlim(min(low, 0.8) * 0.95, max(high, 1.25) * 1.05)
    few = high / low < 12
    axes.xaxis.set_minor_formatter(PLAIN if few else NullFormatter())
    axes.tick_params(axis="x", which="minor", labelsize=8)
    axes.set_yticks(range(len(results.workloads)), list(results.workloads))
    axes.set_ylim(len(results.workloads) - 0.4, -0.6)
    axes.set_xlabel("times as good as the default scheduler (right of 1: better; min to max)")
    axes.grid(axis="x", alpha=0.3)
    _legend(figure, axes)
    return _save(figure, path)


def _stacked(
    labels: Sequence[str], parts: Sequence[tuple[str, Sequence[float]]], unit: str, path: Path
) -> bool:
    """Horizontal bars, the parts of a bar beside each other."""
    figure, (axes,) = _figure(len(labels) * 1.3)
    begins = [0.0] * len(labels)
    for index, (part, values) in enumerate(parts):
        axes.barh(labels, values, 0.7, left=begins, color=COLOURS[index], label=part)
        begins = [begin + value for begin, value in zip(begins, values, strict=True)]
    for label, end in zip(labels, begins, strict=True):
        axes.annotate(
            f"{end:,.0f}" if end >= 100 else f"{end:.3g}",
            (end, label),
            xytext=(4, 0),
            textcoords="offset points",
            va="center",
            fontsize=8,
        )
    axes.margins(x=0.1)
    axes.set_xlim(left=0)
    axes.invert_yaxis()
    axes.xaxis.set_major_formatter(PLAIN)
    axes.set_xlabel(unit)
    axes.grid(axis="x", alpha=0.3)
    _legend(figure, axes)
    return _save(figure, path)


def cost(results: Results, path: Path) -> bool:
    """User-space and BPF cost per dispatched task, by load and scheduler."""
    groups = results.by_load
    if not groups:
        return False
    labels = [f"{level} load, {scheduler}" for level, scheduler in groups]
    parts = [
        (name, [middle(getattr(each, field) for each in of) or 0.0 for of in groups.values()])
        for name, field in (("user space", "user_each"), ("BPF", "bpf_each"))
    ]
    return _stacked(labels, parts, "instructions per dispatched task", path)


def split(results: Results, path: Path) -> bool:
    """Where a task's time goes: by workload, or by load if that was not measured."""
    timed = {pair: of for pair, of in splits(results.by_workload).items() if pair[1] == PYLAND}
    found = timed or splits(results.by_load)
    if not found:
        return False
    labels = [place if timed else f"{place} load, {scheduler}" for place, scheduler in found]
    parts = [(part, [each[at] or 0.0 for each in found.values()]) for at, part in enumerate(PARTS)]
    return _stacked(labels, parts, f"µs per task{f', {PYLAND}' if timed else ''}", path)


def _lines(axes: Axes, lines: Mapping[str, Mapping[int, float]]) -> None:
    """A line for each scheduler or policy, with a tick at each measured place."""
    colours = _colours(list(lines))
    for marker, (label, points) in zip(itertools.cycle(MARKERS), lines.items(), strict=False):
        xs = sorted(points)
        ys = [points[x] for x in xs]
        axes.plot(xs, ys, marker=marker, color=colours[label], label=label, markersize=5)
    axes.set_xscale("log")
    measured = sorted({x for points in lines.values() for x in points})
    axes.set_xticks(measured, [f"{x:,}" for x in measured])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(PLAIN)
    axes.grid(alpha=0.3)


def scale(results: Results, path: Path) -> bool:
    """User space per decision by tasks, and by CPUs, at the most frequent number of the other."""
    runs = [run for run in results.scale if run.deciding]
    if not runs:
        return False
    figure, panels = _figure(12, columns=2)
    for axes, field, other in zip(panels, ("tasks", "cpus"), ("cpus", "tasks"), strict=True):
        xs_at: dict[int, set[int]] = {}
        for run in runs:
            xs_at.setdefault(getattr(run, other), set()).add(getattr(run, field))
        held = max(xs_at, key=lambda value: (len(xs_at[value]), -value))
        groups = deciding(
            (run for run in runs if getattr(run, other) == held),
            lambda run, field=field: (run.scheduler, getattr(run, field)),  # type: ignore[misc]
        )
        lines: dict[str, dict[int, float]] = {
            each: {} for each in ordered(r.scheduler for r in runs)
        }
        for (scheduler, x), costs in groups.items():
            lines[scheduler][x] = median(each.user for each in costs)
        _lines(axes, lines)
        axes.set_ylim(0, 1.08 * max(y for points in lines.values() for y in points.values()))
        names = {"tasks": "tasks", "cpus": "CPUs"}
        axes.set_xlabel(f"{names[field]} ({held:,} {names[other]})")
    panels[0].set_ylabel("ns of user space per decision")
    _legend(figure, panels[0])
    return _save(figure, path)


def rings(results: Results, path: Path) -> bool:
    """User-space cost per task of the whole cycle, by batch and policy."""
    lines: dict[str, dict[int, float]] = {}
    # The depth with the most batches; the other depths are another series of measurements.
    depths: dict[int, set[int]] = {}
    cycles = [ring for ring in results.rings if ring.part == "cycle"]
    for ring in cycles:
        depths.setdefault(ring.queued, set()).add(ring.batch)
    depth = max(depths, key=lambda queued: (len(depths[queued]), -queued), default=0)
    for ring in cycles:
        if ring.queued == depth:
            lines.setdefault(ring.policy, {})[ring.batch] = ring.us
    if not lines:
        return False
    figure, (axes,) = _figure(13)
    _lines(axes, lines)
    axes.set_yscale("log")
    axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.yaxis.set_major_formatter(PLAIN)
    axes.yaxis.set_minor_locator(NullLocator())
    axes.set_xlabel("batch, tasks")
    axes.set_ylabel("user space, µs per task")
    _legend(figure, axes)
    return _save(figure, path)


PLOTS: tuple[Callable[[Results, Path], bool], ...] = (ratio, cost, split, scale, rings)


def draw(results: Results, folder: Path) -> list[Path]:
    """Draws the plots that have data; the files are named after their functions."""
    paths = {plot: folder / f"{plot.__name__}.png" for plot in PLOTS}
    return [path for plot, path in paths.items() if plot(results, path)]
