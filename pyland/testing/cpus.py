# SPDX-License-Identifier: GPL-2.0-only
"""The CPUs of an offline machine: which task runs on each, and for how long."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator

from pyland.testing.clock import Clock
from pyland.testing.task import OfflineTask
from pyland.topology import Topology


class Cpu:
    """One CPU."""

    def __init__(self, number: int) -> None:
        """A CPU that idles."""
        self.number = number
        self.performance: int | None = None
        self.task: OfflineTask | None = None
        self.turn = 0
        """Goes up with each slice: the planned end of an earlier one is void."""
        self.busy_ns = 0
        """CPU time of all tasks, up to the last that stopped."""
        self.charged_ns = 0
        """The task's CPU time is counted up to here."""


class Cpus:
    """All CPUs. They know tasks and time, and nothing of queues or policies."""

    def __init__(self, topology: Topology, clock: Clock, turn_ends: Callable[[Cpu], None]) -> None:
        """All CPUs idle. `turn_ends` is called when a slice is over, or a task wants to sleep."""
        self._clock, self._turn_ends = clock, turn_ends
        self._cpus = {cpu.id: Cpu(cpu.id) for cpu in topology.cpus}
        self._siblings = {
            cpu.id: [n for n in cpu.smt_siblings if n in self._cpus] for cpu in topology.cpus
        }
        self.used_ns: Counter[int] = Counter()
        """CPU time by the place of the task, as a decision has it."""
        self.vtime_now_ns = 0
        """The highest key with which a task has run."""

    def __iter__(self) -> Iterator[Cpu]:
        return iter(self._cpus.values())

    def __getitem__(self, number: int) -> Cpu:
        return self._cpus[number]

    def __contains__(self, number: int) -> bool:
        return number in self._cpus

    def idle_of(self, task: OfflineTask, masks: Iterable[int]) -> Cpu | None:
        """An idle CPU of these sets that the task may use; None if all are busy.

        Of each set its previous CPU comes first, then CPUs whose siblings idle, too.
        """
        for mask in masks:
            idle = [n for n in sorted(task.cpus) if mask >> n & 1 and not self[n].task]
            cores = [n for n in idle if all(not self[s].task for s in self._siblings[n])]
            for numbers in (cores, idle):
                if numbers:
                    return self[task.cpu if task.cpu in numbers else numbers[0]]
        return None

    def start(self, cpu: Cpu, task: OfflineTask) -> None:
        """Run a task on an idle CPU until its slice is used up."""
        now_ns = self._clock.now_ns
        if task.enqueue_ns > task.start_ns:
            task.longest_wait_ns = max(task.longest_wait_ns, now_ns - task.enqueue_ns)
        cpu.task, task.cpu, task.where = task, cpu.number, "running"
        self.vtime_now_ns = max(self.vtime_now_ns, task.vtime_ns or 0)
        task.start_ns = cpu.charged_ns = now_ns
        self._plan_end(cpu, task)

    def extend(self, cpu: Cpu, task: OfflineTask, slice_ns: int) -> None:
        """Give the running task a new slice."""
        task.slice_left_ns = slice_ns
        self._plan_end(cpu, task)

    def stop(self, cpu: Cpu) -> OfflineTask:
        """Take the running task off its CPU."""
        task = cpu.task
        assert task
        self.charge(cpu)
        cpu.busy_ns += self._clock.now_ns - task.start_ns
        cpu.task = None
        cpu.turn += 1
        task.enq_flags = 0
        return task

    def charge(self, cpu: Cpu) -> None:
        """Count the CPU time of the running task up to now."""
        if cpu.task:
            ran_ns = self._clock.now_ns - cpu.charged_ns
            cpu.task.ran(ran_ns)
            self.used_ns[cpu.task.place] += ran_ns
        cpu.charged_ns = self._clock.now_ns

    def _plan_end(self, cpu: Cpu, task: OfflineTask) -> None:
        until_ns = task.slice_left_ns
        if task.awake_left_ns is not None:
            until_ns = min(until_ns, max(task.awake_left_ns, 0))
        cpu.turn += 1
        turn = cpu.turn
        self._clock.after(until_ns, lambda: self._end(cpu, turn))

    def _end(self, cpu: Cpu, turn: int) -> None:
        if cpu.task and cpu.turn == turn:
            self.charge(cpu)
            self._turn_ends(cpu)
