# SPDX-License-Identifier: GPL-2.0-only
"""The domains of an offline machine, with gauges that are always exact."""

from __future__ import annotations

from collections.abc import Mapping

from pyland.domains import DomainGauges, Domains
from pyland.testing.clock import Clock
from pyland.testing.cpus import Cpus
from pyland.testing.placement import domain_place
from pyland.testing.queues import Queues, domain_queue
from pyland.testing.task import OfflineTask
from pyland.topology import Topology


class OfflineDomains(Domains):
    """Domains whose gauges count the tasks that were decided for them, as on a kernel."""

    def __init__(self, topology: Topology) -> None:
        """The domains as a new policy finds them."""
        self._tasks: Mapping[int, OfflineTask] = {}
        super().__init__(topology)

    def watch(
        self, tasks: Mapping[int, OfflineTask], cpus: Cpus, queues: Queues, clock: Clock
    ) -> None:
        """Take the gauges from these objects; until this call all gauges are 0."""
        self._tasks, self._cpus, self._queues, self._clock = tasks, cpus, queues, clock

    def _gauges(self, number: int) -> DomainGauges:
        if not self.nr or not self._tasks:
            return DomainGauges()
        place, queue = domain_place(number), domain_queue(number)
        for cpu in self._cpus:
            self._cpus.charge(cpu)
        mine = [task for task in self._tasks.values() if task.place == place and task.runnable]
        waiting = [task.enqueue_ns for task in self._queues.all_in(queue)]
        now_ns = self._clock.now_ns
        return DomainGauges(
            nr_runnable=len(mine),
            weight=sum(task.weight for task in mine),
            used_ns=self._cpus.used_ns[place],
            nr_waiting=len(waiting),
            head_waits_ns=now_ns - waiting[0] if waiting else 0,
        )
