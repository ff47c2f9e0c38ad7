# SPDX-License-Identifier: GPL-2.0-only
"""The third page: how long tasks waited, as means and, where pyland keeps them, as histograms."""

from __future__ import annotations

from pyland.top.keys import Choices
from pyland.top.machine import MachineSeen
from pyland.top.screen import Screen, summary
from pyland.top.seen import Seen
from pyland.top.statistics import LATENCIES, Histogram
from pyland.top.text import BOLD, DIM, Line, Piece, bar, clean, duration, line, number

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
        for one in found.histograms:
            rows += _histogram(one, screen)
        if not found.histograms:
            rows.append(line(Piece("  this pyland keeps no histograms", DIM)))
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


def _histogram(one: Histogram, screen: Screen) -> list[Line]:
    """A line for each bucket between the first and the last that has a value."""
    total = sum(one.counts)
    parts = "  ".join(f"{name} {duration(one.percentile(part))}" for name, part in _PARTS)
    found = [line(Piece(clean(one.name, screen.encoding), BOLD), f"  {number(total)}  {parts}")]
    filled = [index for index, count in enumerate(one.counts) if count]
    most = max(one.counts)
    for index in range(filled[0], filled[-1] + 1) if filled else ():
        low = duration(1 << index - 1) if index else "0"
        found.append(
            line(
                f"  {low:>6} to {duration(1 << index):>6} {one.counts[index]:8d} ",
                bar(one.counts[index] / most, screen.columns // 2),
            )
        )
    return found
