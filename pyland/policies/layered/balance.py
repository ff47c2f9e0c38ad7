# SPDX-License-Identifier: GPL-2.0-only
"""Evens out the tasks of a layer between the caches where it has CPUs."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


class Move:
    """How many of the next tasks of one domain go to another one."""

    __slots__ = ("left", "target")

    def __init__(self, target: int, left: int) -> None:
        """`target` is the number of a domain."""
        self.target, self.left = target, left


def moves(layers: Iterable[Sequence[tuple[int, int, int]]]) -> dict[int, Move]:
    """What to move between the domains of each layer: their numbers, runnable tasks and CPUs.

    From the domain with most tasks for each CPU to that with fewest, as many as make them even,
    and only while tasks wait there. A CPU that idles takes tasks by itself.
    """
    found = {}
    for domains in layers:
        if len(domains) < 2:
            continue
        full = max(domains, key=lambda one: one[1] / one[2])
        empty = min(domains, key=lambda one: one[1] / one[2])
        number, tasks, cpus = full
        target, fewer, others = empty
        surplus = (tasks * others - fewer * cpus) // (cpus + others)
        if surplus > 0 and tasks > cpus:
            found[number] = Move(target, surplus)
    return found
