# SPDX-License-Identifier: GPL-2.0-only
"""Where decided tasks wait on an offline machine, as in bpf/queues.bpf.h."""

from __future__ import annotations

import heapq
from itertools import count

from pyland.testing.task import OfflineTask

SHARED = "shared"


class Queues:
    """One queue a CPU, one a domain, and the shared one, each by vtime."""

    def __init__(self) -> None:
        """All empty."""
        self._queues: dict[str, list[tuple[int, int, OfflineTask, int]]] = {}
        self._order = count()

    def put(self, queue: str, task: OfflineTask) -> None:
        """Behind those with the same or a lower vtime."""
        entry = (task.vtime_ns or 0, next(self._order), task, task.seq)
        heapq.heappush(self._queues.setdefault(queue, []), entry)

    def take(self, cpu: int, domain: int) -> OfflineTask | None:
        """What this CPU runs next: the lowest vtime of its own, its domain's and the shared."""
        names = [cpu_queue(cpu), domain_queue(domain), SHARED]
        heads = [(entry, name) for name in names if (entry := self._first(name, cpu))]
        if not heads:
            names = sorted(name for name in self._queues if name.startswith("domain"))
            heads = [(entry, name) for name in names if (entry := self._first(name, cpu))]
        if not heads:
            return None
        entry, name = min(heads, key=lambda head: head[0][:2])
        self._queues[name].remove(entry)
        heapq.heapify(self._queues[name])
        return entry[2]

    def waiting(self, cpu: int, domain: int) -> bool:
        """Is there anything that this CPU could take?"""
        names = (cpu_queue(cpu), domain_queue(domain), SHARED)
        return any(self._first(name, cpu) for name in names)

    def _first(self, name: str, cpu: int) -> tuple[int, int, OfflineTask, int] | None:
        queue = self._queues.get(name, [])
        queue[:] = [entry for entry in queue if _still(entry)]
        heapq.heapify(queue)
        usable = [entry for entry in queue if cpu in entry[2].cpus]
        return min(usable, key=lambda entry: entry[:2], default=None)


def cpu_queue(cpu: int) -> str:
    """A CPU's own queue."""
    return f"cpu {cpu}"


def domain_queue(domain: int) -> str:
    """The queue of a domain."""
    return f"domain {domain}"


def _still(entry: tuple[int, int, OfflineTask, int]) -> bool:
    _, _, task, seq = entry
    return task.where == "queued" and task.seq == seq
