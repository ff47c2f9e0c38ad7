# SPDX-License-Identifier: GPL-2.0-only
"""The third page: how long tasks waited, as means and, where pyland keeps them, as histograms."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import zip_longest

from pyland.top.keys import Choices
from pyland.top.machine import MachineSeen
from pyland.top.screen import Screen, summary
from pyland.top.seen import Seen
from pyland.top.statistics import LATENCIES, Histogram
from pyland.top.text import BOLD, DIM, Line, Piece, bar, clean, cut, duration, fit, line, number

_BLOCK_MIN = 64
"""Columns that a histogram needs."""
_PARTS = (("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999))


def lines(seen: Seen, choices: Choices, screen: Screen) -> list[Line]:
    """The page; the histograms can be scrolled."""
    top = summary(seen, screen)
    found = seen.statistics
    rows: list[Line] = [line(Piece("Mean wait before each run, by CPU (from the kernel)", BOLD))]
    rows += _by_cpu(seen.machine, screen)
    if found is not None:
        rows += [line(Piece("Mean of a decision's times (from pyland)", BOLD))]
        means_ns = found.latencies()
        for name, meaning, _, _ in LATENCIES:
            rows.append(line(f"  {name:10} {duration(means_ns[name]):>6}  ", Piece(meaning, DIM)))
        rows += _histograms(found.histograms, screen)
    room = screen.rows - len(top)
    first = min(choices.scrolled, max(len(rows) - room, 0))
    return [*top, *rows[first : first + room]]


def _by_cpu(machine: MachineSeen, screen: Screen) -> list[Line]:
    if machine.mean_wait_ns is None:
        return [line(Piece("  this kernel has no /proc/schedstat", DIM))]
    means_ns = {cpu.id: cpu.delay_ns / max(cpu.runs, 1) for cpu in machine.cpus}
    worst_ns = max(means_ns.values()) or 1
    return [
        line(f"  CPU{cpu:4d} {duration(mean_ns):>6} ", bar(mean_ns / worst_ns, screen.columns // 3))
        for cpu, mean_ns in means_ns.items()
    ]


def _histograms(found: Sequence[Histogram] | None, screen: Screen) -> list[Line]:
    """The histograms, side by side where there is room."""
    if found is None:
        return [line(Piece("this pyland keeps no histograms", DIM))]
    filled = [one for one in found if any(one.counts)]
    rows = [line(Piece("Histograms of all tasks (from pyland, since this page is open)", BOLD))]
    if not filled:
        rows.append(line(Piece("  nothing was counted yet", DIM)))
    per_line = max(screen.columns // _BLOCK_MIN, 1)
    cells = screen.columns // per_line
    for begin in range(0, len(filled), per_line):
        blocks = [_block(one, cells - 2, screen) for one in filled[begin : begin + per_line]]
        rows += [
            line("".join(fit(text, cells) for text in row))
            for row in zip_longest(*blocks, fillvalue="")
        ]
    return rows


def _block(one: Histogram, cells: int, screen: Screen) -> list[str]:
    """The lines of a histogram: a title, and the buckets from the first to the last filled one."""
    parts = "  ".join(f"{name} {_value(one, one.percentile(part))}" for name, part in _PARTS)
    found = [cut(f"  {clean(one.name, screen.encoding)}  {parts}", cells)]
    filled = [bucket for bucket, count in enumerate(one.counts) if count]
    most = max(one.counts)
    for bucket in range(filled[0], filled[-1] + 1):
        low = _value(one, 1 << bucket - 1 if bucket else 0)
        count = one.counts[bucket]
        begin = f"  {low:>6} {count:9d} "
        found.append(f"{begin}{bar(count / most, cells - len(begin))}")
    return found


def _value(one: Histogram, value: float) -> str:
    return duration(value * 1000) if one.in_time else number(value)
