# SPDX-License-Identifier: GPL-2.0-only
"""The machine that pyland schedules, read from and written to memory shared with BPF."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, NamedTuple

from pyland._native import ffi, lib
from pyland.domains import DomainSettings
from pyland.engine.domains import KernelDomains
from pyland.machine import CpuState, Machine, Slices
from pyland.stats.numbers import PolicyNumbers, Saved
from pyland.timers import Timers
from pyland.topology import Topology


class MachineSettings(NamedTuple):
    """What a policy has set, for `restore`."""

    performance: list[int]
    """The performance target of each CPU, plus 1; 0: none."""
    domains: list[DomainSettings]
    timers: Timers
    numbers: Saved


class KernelMachine(Machine):
    """This machine; no method makes a system call."""

    domains: KernelDomains

    def __init__(
        self,
        rings: Any,
        topology: Topology,
        slices: Slices,
        seed: int = 0,
        numbers: PolicyNumbers | None = None,
    ) -> None:
        """`rings` is a `struct pyland_rings *`."""
        self._rings = rings
        super().__init__(topology, slices, seed, numbers)
        self._batch = rings.batch
        self._cpus = rings.cpus
        self.tell_of_parts(lambda *_: None, lambda *_: None)
        self.reset()

    def _make_domains(self) -> KernelDomains:
        return KernelDomains(self.topology, self._rings)

    @property
    def now_ns(self) -> int:
        """When the scheduler last got a CPU, or its latest record was written."""
        return int(self._batch.now_ns)

    def is_idle(self, cpu: int) -> bool:
        """True if the CPU became idle at its last change between idle and busy, as BPF noted it."""
        self._check_cpu(cpu)
        return bool(self._cpus[cpu].idle)

    def cpu(self, cpu: int) -> CpuState:
        """See `Machine`. BPF wrote the figures when a task was last put on the CPU."""
        self._check_cpu(cpu)
        noted = self._cpus[cpu]
        return CpuState(
            noted.running_pid,
            noted.running_since_ns,
            noted.running_vtime_ns,
            noted.busy_ns,
            noted.nr_waiting,
        )

    @property
    def timer_interval_ns(self) -> int:
        """How often user space has to run for the policy's timers; 0 if it has none."""
        return self._timers.interval_ns

    @property
    def has_timers(self) -> bool:
        """True if the policy has ever made a timer."""
        return self._timers.were_made

    def run_timers(self) -> None:
        """Make the calls that are due."""
        now_ns = self._batch.now_ns
        if now_ns >= self._timers.due_ns:
            self._timers.run(now_ns)

    def set_performance(self, cpu: int, target: int) -> None:
        """See `Machine`. It has its effect when the CPU next looks for a task."""
        self._check_cpu(cpu)
        self._check_performance(target)
        self._cpus[cpu].performance = target + 1

    def _note_time_ns(self) -> int:
        """The time on the clock of traces; most kernels let user space read it without a call."""
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)

    def tell_of_parts(
        self,
        failed: Callable[[str, str, BaseException], None],
        replaced: Callable[[str, str, str, str], None],
    ) -> None:
        """Set what `part_failed` and `part_replaced` call, with their own arguments."""
        self._part_failed, self._part_replaced = failed, replaced

    def part_failed(self, part: str, policy: str, error: BaseException) -> None:
        """See `Machine`; the supervisor prints it."""
        self._part_failed(part, policy, error)

    def part_replaced(self, part: str, failed: str, why: str, policy: str) -> None:
        """See `Machine`; the supervisor prints it."""
        self._part_replaced(part, failed, why, policy)

    def leave_memory(self) -> None:
        """Refer to memory of its own from here on: BPF's is about to be unmapped."""
        self._batch = ffi.new("struct pyland_batch *")
        self._cpus = ffi.new("struct pyland_user_cpu[]", self.topology.nr_cpu_ids)
        self.domains.leave_memory()
        self._numbers.leave_memory()

    def settings(self) -> MachineSettings:
        """What the policy has set, for `restore`, which has to follow; its timers pause."""
        cpus = range(self.topology.nr_cpu_ids)
        # What is set from here on, until `restore`, is of another policy.
        timers, self._timers = self._timers, Timers()
        return MachineSettings(
            [self._cpus[cpu].performance for cpu in cpus],
            self.domains.save(),
            timers,
            self._numbers.save(),
        )

    def restore(self, settings: MachineSettings) -> None:
        """Set what `settings` returned."""
        for cpu, performance in enumerate(settings.performance):
            self._cpus[cpu].performance = performance
        self.domains.restore(settings.domains)
        self._timers = settings.timers
        self._numbers.restore(settings.numbers)

    def reset(self) -> None:
        """Undo what an earlier policy has set; a performance target becomes the highest."""
        self.outgoing.clear()
        self._numbers.clear()
        self.domains.reset()
        self._timers = Timers()
        for cpu in self.topology.cpus:
            if self._cpus[cpu.id].performance:
                self._cpus[cpu.id].performance = lib.PYLAND_FULL_PERFORMANCE + 1
