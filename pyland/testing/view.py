# SPDX-License-Identifier: GPL-2.0-only
"""What a policy can see of an offline machine, and set: tasks, CPUs and timers."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable
from typing import Any

from pyland.machine import CpuState, Machine, Slices
from pyland.stats.numbers import Numbers
from pyland.task import FIELDS
from pyland.testing.clock import Clock
from pyland.testing.cpus import Cpu, Cpus
from pyland.testing.domains import OfflineDomains
from pyland.testing.queues import Queues, cpu_queue
from pyland.testing.task import OfflineTask
from pyland.timers import NEVER, Timer
from pyland.topology import Topology

_BOOT_NS = 1_000_000_000
"""The first time on the virtual clock."""


class OfflineView(Machine):
    """A virtual clock and CPUs, as `Machine` shows them."""

    domains: OfflineDomains

    def __init__(self, topology: Topology, slices: Slices | None, seed: int) -> None:
        """A view of CPUs that idle."""
        super().__init__(topology, slices, seed)
        self._queues = Queues()
        self.tasks: dict[int, OfflineTask] = {}
        self._clock = Clock(_BOOT_NS)
        self._timers_run_ns = NEVER
        self._cpus = Cpus(topology, self._clock, self._turn_ends)
        self.domains.watch(self.tasks, self._cpus, self._queues, self._clock)
        self.part_failures: list[tuple[str, str, BaseException]] = []
        """Part, policy and exception of each failure in a composed policy."""
        self.parts_replaced: list[tuple[str, str, str]] = []
        """Part, the policy that failed, and the policy that replaced it."""

    def _make_domains(self) -> OfflineDomains:
        return OfflineDomains(self.topology)

    def add(
        self,
        name: str,
        *,
        weight: int = 100,
        cpus: Iterable[int] = (),
        runs_ns: int | None = None,
        sleeps_ns: int | None = None,
        **known: Any,
    ) -> OfflineTask:
        """A new task, asleep. `cpus` is its affinity, `known` sets fields such as `uid`.

        With `runs_ns` it sleeps after this much CPU time, with `sleeps_ns` it wakes up by
        itself after this time.
        """
        allowed = frozenset(cpus or self.topology.online)
        wrong = [*(set(known) - set(FIELDS)), *(n for n in allowed if n not in self._cpus)]
        if wrong:
            raise ValueError(f"{name}: there is no {min(map(str, wrong))}")
        pid = 100 + len(self.tasks)
        task = OfflineTask(name, pid, weight, allowed, runs_ns, sleeps_ns, known, min(allowed))
        self.tasks[pid] = task
        return task

    @abstractmethod
    def _turn_ends(self, cpu: Cpu) -> None:
        """The slice of the running task is used up, or the task wants to sleep."""

    @property
    def now_ns(self) -> int:
        """The virtual clock."""
        return self._clock.now_ns

    def is_idle(self, cpu: int) -> bool:
        """True if no task runs there."""
        self._check_cpu(cpu)
        return self._cpus[cpu].task is None

    def cpu(self, cpu: int) -> CpuState:
        """What runs and waits on a CPU. It is exact, because time does not pass meanwhile."""
        self._check_cpu(cpu)
        found = self._cpus[cpu]
        nr_waiting = self._queues.nr_in(cpu_queue(cpu))
        if found.task is None:
            return CpuState(0, 0, 0, found.busy_ns, nr_waiting)
        key_ns = found.task.vtime_ns or self._cpus.vtime_now_ns + self.slices.longest_ns
        return CpuState(found.task.pid, found.task.start_ns, key_ns, found.busy_ns, nr_waiting)

    @abstractmethod
    def _act(self) -> None:
        """Carry out what a timer or a tick of the policy has decided."""

    def _planned(self, timer: Timer) -> Timer:
        self._plan_timers()
        return timer

    def _plan_timers(self) -> None:
        if self._timers.due_ns < self._timers_run_ns:
            self._timers_run_ns = self._timers.due_ns
            self._clock.after(max(self._timers.due_ns - self.now_ns, 1), self._run_timers)

    def _run_timers(self) -> None:
        self._timers_run_ns = NEVER
        self._timers.run(self.now_ns)
        self._plan_timers()
        self._act()

    def set_performance(self, cpu: int, target: int) -> None:
        """Note the target, for `performance`; it has no effect."""
        self._check_cpu(cpu)
        self._check_performance(target)
        self._cpus[cpu].performance = target

    def performance(self, cpu: int) -> int | None:
        """The target that was set for a CPU, None if there is none."""
        return self._cpus[cpu].performance

    def part_failed(self, part: str, policy: str, error: BaseException) -> None:
        """Note it in `part_failures`."""
        self.part_failures.append((part, policy, error))

    def part_replaced(self, part: str, failed: str, why: str, policy: str) -> None:
        """Note it in `parts_replaced`."""
        self.parts_replaced.append((part, failed, policy))

    @property
    def numbers(self) -> Numbers:
        """The policy's own gauges and counters, as statistics and metrics would show them."""
        return self._numbers.read()

    @property
    def notes(self) -> dict[int, str]:
        """The policy's notes, by the task's `pid`, as statistics would show them."""
        return {one.pid: one.text for one in self._numbers.read_notes() if one.text}
