# SPDX-License-Identifier: GPL-2.0-only
"""CPUs and domains as lines: the more CPUs, the less is said about each."""

from __future__ import annotations

from collections.abc import Sequence

from pyland.top.machine import CpuSeen, DomainSeen, MachineSeen
from pyland.top.screen import Screen
from pyland.top.text import (
    BAD,
    DIM,
    GOOD,
    WARN,
    Line,
    Piece,
    bar,
    clean,
    cut,
    duration,
    fit,
    line,
    number,
    percent,
)

_CELL_MIN = 38
"""The least width of a CPU with its task, in cells; the small form has `_SMALL` cells."""
_SMALL = 14
_NAME = 10


def cpu_lines(machine: MachineSeen, screen: Screen) -> list[Line]:
    """All CPUs in at most `screen.rows` lines: bars with tasks, bars alone, or a digit for each."""
    cpus = machine.cpus
    per_line = max(screen.columns // _CELL_MIN, 1)
    if len(cpus) <= per_line * screen.rows:
        cells = screen.columns // min(per_line, max(len(cpus), 1))
        return _grid([_full(cpu, min(cells, 60) - 1, screen) for cpu in cpus], per_line)
    per_line = max(screen.columns // _SMALL, 1)
    if len(cpus) <= per_line * screen.rows:
        return _grid([_small(cpu) for cpu in cpus], per_line)
    return _digits(cpus, screen)


def domain_lines(machine: MachineSeen, rows: int) -> list[Line]:
    """The domains in at most `rows` lines; if there is no room for all, those that wait most."""
    domains = machine.domains
    if len(domains) <= rows:
        return [_domain(one) for one in domains]
    worst = sorted(domains, key=lambda one: -(one.waiting or 0.0))[: rows - 1]
    told = f"{len(domains) - len(worst)} more domains, in which fewer tasks wait"
    return [*map(_domain, worst), line(Piece(told, DIM))]


def _grid(cells: Sequence[Line], per_line: int) -> list[Line]:
    """The cells in columns, from top to bottom."""
    rows = -(-len(cells) // per_line)
    lines = []
    for row in range(rows):
        pieces: list[Piece] = []
        for cell in cells[row::rows]:
            pieces += [*cell, Piece(" ")]
        lines.append(tuple(pieces))
    return lines


def _busy_style(busy: float) -> str:
    return BAD if busy >= 0.9 else WARN if busy >= 0.6 else GOOD


def _waits(waiting: float | None) -> str:
    """How many tasks wait, in four cells; without a number if the kernel does not say."""
    return fit("-" if waiting is None else f"{number(waiting)}w", 5, right=True)


def _full(cpu: CpuSeen, cells: int, screen: Screen) -> Line:
    bar_cells = cells - len("CPU   0[] 100%  0.0w ") - _NAME
    return (
        Piece(f"CPU{cpu.id:4d}["),
        Piece(bar(cpu.busy, bar_cells), _busy_style(cpu.busy)),
        Piece(f"]{fit(percent(cpu.busy), 5, right=True)}{_waits(cpu.waiting)} "),
        Piece(fit(clean(cpu.runs_task, screen.encoding) or "-", _NAME)),
    )


def _small(cpu: CpuSeen) -> Line:
    return (
        Piece(f"{cpu.id:3d}["),
        Piece(bar(cpu.busy, 4), _busy_style(cpu.busy)),
        Piece(f"]{fit(percent(cpu.busy), 4, right=True)}"),
    )


def _digits(cpus: Sequence[CpuSeen], screen: Screen) -> list[Line]:
    """A digit for each CPU: its load in tenths, `.` for none and `#` for all."""
    room = screen.columns - len("CPUs 0000 ")
    lines: list[Line] = []
    for begin in range(0, len(cpus), room):
        part = cpus[begin : begin + room]
        text = "".join(
            "." if cpu.busy < 0.05 else "#" if cpu.busy >= 0.95 else f"{int(cpu.busy * 10)}"
            for cpu in part
        )
        lines.append(line(Piece(f"CPUs {part[0].id:4d} ", DIM), text))
    if len(lines) > screen.rows:
        left = len(cpus) - room * (screen.rows - 1)
        lines = [*lines[: screen.rows - 1], line(Piece(f"{left} more CPUs", DIM))]
    return lines


def _domain(one: DomainSeen) -> Line:
    told = "-" if one.waiting is None else number(one.waiting)
    wait = "-" if one.waiting is None else duration(one.mean_wait_ns)
    return line(
        f"domain {one.id:<2d} CPUs {fit(_ranges(one.cpus), 9)} busy {percent(one.busy):>4}  ",
        Piece(f"waiting {told:>4}", WARN if (one.waiting or 0) > len(one.cpus) else ""),
        f"  mean wait {wait:>6}  runs/s {number(one.runs_per_s)}",
    )


def _ranges(cpus: Sequence[int]) -> str:
    """Such as `0-3,8`."""
    parts: list[list[int]] = []
    for cpu in cpus:
        if parts and cpu == parts[-1][1] + 1:
            parts[-1][1] = cpu
        else:
            parts.append([cpu, cpu])
    return cut(",".join(f"{a}-{b}" if a != b else f"{a}" for a, b in parts), 40)
