# SPDX-License-Identifier: GPL-2.0-only
"""Where decided tasks wait on an offline machine, as in bpf/queues.bpf.h."""

from __future__ import annotations

from collections import defaultdict

from pyland.pool import TaskPool
from pyland.testing.task import OfflineTask


def cpu_queue(cpu: int) -> str:
    """A CPU's own queue."""
    return f"cpu {cpu}"


def domain_queue(domain: int) -> str:
    """The queue of a domain."""
    return f"domain {domain}"


class Queues:
    """One queue for each CPU and one for each domain, by vtime."""

    def __init__(self) -> None:
        """All queues are empty."""
        self._queues: defaultdict[str, TaskPool[OfflineTask]] = defaultdict(TaskPool)

    def put(self, queue: str, task: OfflineTask) -> None:
        """Put a task behind the tasks with the same or a lower vtime."""
        self._queues[queue].add(task, task.vtime_ns or 0)

    def nr_in(self, queue: str) -> int:
        """How many tasks wait there."""
        return len(self._queues[queue])

    def all_in(self, queue: str) -> list[OfflineTask]:
        """The tasks that wait there, the first one first."""
        return list(self._queues[queue])

    def drop(self, task: OfflineTask) -> None:
        """Take a task out of the queue where it waits."""
        for queue in self._queues.values():
            queue.remove(task.pid)

    def first(self, cpu: int, names: list[str]) -> OfflineTask | None:
        """The task with the lowest vtime, of those at the heads of these queues.

        A task that this CPU may not run hides no other.
        """
        heads = (next((t for t in self._queues[name] if cpu in t.cpus), None) for name in names)
        return min(filter(None, heads), key=lambda task: task.vtime_ns or 0, default=None)
