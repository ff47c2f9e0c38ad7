# SPDX-License-Identifier: GPL-2.0-only
"""Migrations of tasks between CPUs by distance, counted by the kernel's own trace event.

The kernel counts pairs of CPUs itself (a histogram of the event), so nothing is read meanwhile.
"""

from __future__ import annotations

import contextlib
import re
import subprocess
from collections import Counter
from enum import IntEnum
from itertools import combinations
from pathlib import Path
from typing import Self

from pyland.topology import Cpu, Topology, read_topology

TRACING = Path("/sys/kernel/tracing")
_EVENT = "events/sched/sched_migrate_task"
_ENTRY = re.compile(r"orig_cpu:\s+(\d+), dest_cpu:\s+(\d+) \} hitcount:\s+(\d+)")
# The sizes of a histogram that the kernel takes.
_LEAST_SIZE, _GREATEST_SIZE = 1 << 7, 1 << 17


class Distance(IntEnum):
    """The smallest part of the machine that has both CPUs."""

    CORE = 0
    CACHE = 1
    """Two cores of one last-level cache."""
    NODE = 2
    """Two caches of one NUMA node."""
    MACHINE = 3
    """Two NUMA nodes."""


FAR = (Distance.NODE, Distance.MACHINE)
"""The distances of moves that leave the last-level cache."""


def distance(one: Cpu, other: Cpu) -> Distance:
    """How far apart two CPUs are. A cache that spans nodes counts as one cache."""
    if other.id in one.smt_siblings:
        return Distance.CORE
    if one.llc == other.llc:
        return Distance.CACHE
    return Distance.NODE if one.node == other.node else Distance.MACHINE


def distances(topology: Topology) -> list[Distance]:
    """The distances that there are between CPUs of this machine, near before far."""
    return sorted({distance(*pair) for pair in combinations(topology.cpus, 2)})


def count(histogram: str, topology: Topology) -> Counter[Distance]:
    """Migrations by distance of a histogram's text.

    Those from or to a CPU that was offline when the topology was read have none, and do not count.
    """
    cpus = {cpu.id: cpu for cpu in topology.cpus}
    moved: Counter[Distance] = Counter()
    for entry in _ENTRY.findall(histogram):
        begin, end, nr = map(int, entry)
        if begin in cpus and end in cpus:
            moved[distance(cpus[begin], cpus[end])] += nr
    return moved


def _context_switches() -> int:
    text = Path("/proc/stat").read_text(encoding="ascii")
    return int(text[text.index("ctxt ") :].split()[1])


class Migrations:
    """Counts within a `with` block, of all tasks of the machine; OSError if the kernel cannot.

    It mounts tracefs if that is not mounted, and leaves it mounted.
    """

    def __init__(self) -> None:
        self.moved: Counter[Distance] = Counter()
        self.switches = 0
        """Context switches meanwhile."""
        self.topology = read_topology()
        pairs = self.topology.nr_cpu_ids**2
        size = min(max(1 << (pairs - 1).bit_length(), _LEAST_SIZE), _GREATEST_SIZE)
        self._keys = f"hist:keys=orig_cpu,dest_cpu:size={size}"

    @property
    def nr(self) -> int:
        """All migrations."""
        return self.moved.total()

    @property
    def far(self) -> int:
        """The migrations between CPUs with different last-level caches."""
        return sum(self.moved[each] for each in FAR)

    def __enter__(self) -> Self:
        event = TRACING / _EVENT
        if not event.exists():
            mount = ("mount", "-t", "tracefs", "tracefs", str(TRACING))
            made = subprocess.run(mount, check=False, capture_output=True, text=True)
            if made.returncode:
                said = " ".join(made.stderr.split()) or f"status {made.returncode}"
                raise OSError(f"no tracefs at {TRACING}: {said}")
        self._trigger = event / "trigger"
        # One that a killed process has left has counts of its own.
        with contextlib.suppress(OSError):
            self._trigger.write_text("!" + self._keys, encoding="ascii")
        try:
            self._trigger.write_text(self._keys, encoding="ascii")
        except OSError as error:
            raise OSError(f"{self._trigger} takes no histogram: {error.strerror}") from None
        self._before = _context_switches()
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self.switches = _context_switches() - self._before
            histogram = self._trigger.with_name("hist").read_text(encoding="ascii")
            self.moved = count(histogram, self.topology)
        finally:
            self._trigger.write_text("!" + self._keys, encoding="ascii")


def missing() -> str:
    """Why migrations cannot be counted here, in one line; empty if they can."""
    try:
        with Migrations():
            return ""
    except OSError as error:
        return str(error)
