# SPDX-License-Identifier: GPL-2.0-only
"""Where a task of an offline machine may run and waits, as in bpf/domains.bpf.h."""

from __future__ import annotations

from collections.abc import Iterator

from pyland.cpumask import mask_of
from pyland.decision import CPU_ANY
from pyland.domains import NR_DOMAINS, Domains, DomainSettings
from pyland.testing.cpus import Cpu, Cpus
from pyland.testing.queues import Queues, cpu_queue, domain_queue
from pyland.testing.task import OfflineTask

_ASK_ANEW_NS = 500_000_000  # ASK_ANEW_NS of bpf/idle.bpf.h


class Placement:
    """Tasks, their domains, and the queues that a CPU looks into."""

    def __init__(self, cpus: Cpus, domains: Domains, queues: Queues) -> None:
        """`domains` has the policy's settings."""
        self._cpus, self._domains, self._queues = cpus, domains, queues

    def idle_for(self, task: OfflineTask) -> Cpu | None:
        """An idle CPU for a task that wakes up: at home, then where its domain spills to."""
        number = self._domain_of(task)
        if number is None:
            return self._cpus.idle_of(task, [mask_of(task.cpus)])
        settings = self._domains[number].settings
        previous = self._cpus[task.cpu]
        if self._asks(task, settings) or self._preempts_first(task):
            return None
        if self._stays(task, settings):
            return None if previous.task else previous
        near = settings.search == "previous" or settings.preempt_first
        if near and not previous.task and settings.cpus >> task.cpu & 1 and task.cpu in task.cpus:
            return previous
        return self._cpus.idle_of(task, [settings.cpus, settings.spill])

    def asks_first(self, task: OfflineTask) -> bool:
        """True if the policy is asked about the task before it goes to an idle CPU."""
        number = self._domain_of(task)
        return number is not None and self._asks(task, self._domains[number].settings)

    def _asks(self, task: OfflineTask, settings: DomainSettings) -> bool:
        # After so much CPU time the task may belong to another domain.
        computed_ns = task.total_runtime_ns - task.asked_runtime_ns
        return not settings.direct or computed_ns > _ASK_ANEW_NS

    def queue_of(self, task: OfflineTask) -> str:
        """Where the task waits: its place, else its domain; by its affinity if that has no CPU."""
        if len(task.cpus) == 1:
            return cpu_queue(min(task.cpus))
        if task.place >= 0:
            return cpu_queue(task.place)
        number = self._domain_of(task)
        if number is None or self._stays(task, self._domains[number].settings):
            return cpu_queue(task.cpu)
        return domain_queue(number)

    def checked(self, cpu: int, task: OfflineTask) -> tuple[int, str]:
        """A decision's place for the task; and the counter of its mistake, if any."""
        if cpu == CPU_ANY:
            return cpu, ""
        if cpu in self._cpus:
            return (cpu, "") if cpu in task.cpus else (CPU_ANY, "bounced")
        number = domain_place(0) - cpu
        if 0 <= number < NR_DOMAINS:
            return (cpu, "") if self._has_cpu(number, task) else (CPU_ANY, "bounced")
        return CPU_ANY, "bad_decisions"

    def take(self, cpu: int) -> OfflineTask | None:
        """The task that this CPU runs next, out of its queue."""
        for names in (*self._looks(cpu), self._spilled(cpu)):
            if task := self._queues.first(cpu, names):
                self._queues.drop(task)
                return task
        return None

    def may_take(self, cpu: int, task: OfflineTask) -> bool:
        """True if its affinity and its domain let this CPU run the task."""
        if cpu not in task.cpus:
            return False
        number = self._domain_of(task)
        if number is None:
            return True
        settings = self._domains[number].settings
        return bool((settings.cpus | settings.spill) >> cpu & 1)

    def waits_for(self, cpu: int) -> bool:
        """True if a task waits in a queue that this CPU serves."""
        return any(self._queues.first(cpu, names) for names in self._looks(cpu))

    def outranks(self, running: OfflineTask, task: OfflineTask) -> bool:
        """True if the domain of the running task has the higher rank."""
        return self._rank_of(running) > self._rank_of(task)

    def of_lower_rank(self, task: OfflineTask) -> int | None:
        """The CPU that `task` may take by rank: the one whose task has the lowest rank, if lower.

        None if there is none, or if the domain of `task` does not preempt.
        """
        number = domain_place(0) - task.place
        if number < 0 or not self._domains[number].settings.preempt:
            return None
        if self._preempts_first(task):
            return task.cpu
        running = [
            (self._rank_of(cpu.task), cpu.number)
            for cpu in self._cpus
            if cpu.task and self.may_take(cpu.number, task)
        ]
        rank, lowest = min(running, default=(0, None))
        return lowest if rank < self._rank_of(task) else None

    def _stays(self, task: OfflineTask, settings: DomainSettings) -> bool:
        """True if the task takes no CPU but its previous one; one that has not run has none."""
        ran_here = bool(task.total_runtime_ns) and task.cpu in task.cpus
        return settings.search == "stay" and ran_here and bool(settings.cpus >> task.cpu & 1)

    def _preempts_first(self, task: OfflineTask) -> bool:
        """True if a task that wakes up preempts that of its previous CPU although others idle."""
        number = domain_place(0) - task.place
        if number < 0 or not self._domains[number].settings.preempt_first:
            return False
        if all(cpu.task for cpu in self._cpus):
            return False
        running = self._cpus[task.cpu].task
        preempts = self._domains[number].settings.preempt
        lower = running and self._rank_of(running) < self._rank_of(task)
        return bool(preempts and lower and self.may_take(task.cpu, task))

    def _rank_of(self, task: OfflineTask) -> int:
        number = domain_place(0) - task.place
        return self._domains[number].settings.rank if number >= 0 else 0

    def _looks(self, cpu: int) -> Iterator[list[str]]:
        """The queues that a CPU looks into, by rank; its own goes with each rank that waits."""
        own = cpu_queue(cpu)
        ranks: dict[int, list[str]] = {}
        for number in self._domains.served(cpu):
            rank = self._domains[number].settings.rank
            ranks.setdefault(rank, []).append(domain_queue(number))
        for names in ranks.values():
            if self._queues.first(cpu, names):
                yield [own, *names]
        yield [own]

    def _spilled(self, cpu: int) -> list[str]:
        return [
            domain_queue(domain.number)
            for domain in self._domains.known()
            if (domain.settings.cpus | domain.settings.spill) >> cpu & 1
        ]

    def _domain_of(self, task: OfflineTask) -> int | None:
        number: int | None = domain_place(0) - task.place
        if task.place > domain_place(0):
            number = self._domains.unplaced(task.cpu)
        return number if number is not None and self._has_cpu(number, task) else None

    def _has_cpu(self, number: int, task: OfflineTask) -> bool:
        settings = self._domains[number].settings
        return bool((settings.cpus | settings.spill) & mask_of(task.cpus))


def domain_place(number: int) -> int:
    """A task's place in a domain, as a decision has it."""
    return -2 - number
