# SPDX-License-Identifier: GPL-2.0-only
"""The gauges of an offline machine's domains."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pyland.domains import DomainGauges, Domains
from pyland.testing.task import OfflineTask
from pyland.topology import Topology


class OfflineDomains(Domains):
    """Domains whose gauges are counted from the machine's tasks when they are read."""

    def __init__(
        self,
        topology: Topology,
        tasks: Callable[[], Iterable[OfflineTask]],
        now_ns: Callable[[], int],
    ) -> None:
        """`tasks` returns all tasks, their CPU time counted up to now."""
        super().__init__(topology)
        self._tasks, self._now_ns = tasks, now_ns

    def _gauges(self, number: int) -> DomainGauges:
        place = -2 - number
        tasks = list(self._tasks())
        own = [task for task in tasks if task.place == place and task.runnable]
        waiting = [task.enqueue_ns for task in own if task.where == "queued"]
        return DomainGauges(
            nr_runnable=len(own),
            weight=sum(task.weight for task in own),
            used_ns=sum(task.used_by_place.get(place, 0) for task in tasks),
            nr_waiting=len(waiting),
            head_waits_ns=self._now_ns() - min(waiting) if waiting else 0,
        )
