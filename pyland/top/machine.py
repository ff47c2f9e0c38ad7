# SPDX-License-Identifier: GPL-2.0-only
"""What each CPU and each domain does, and the machine's memory and load."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil

from pyland.top.tasks import TaskSeen
from pyland.topology import Topology, read_topology

_PROC, _SYSFS = Path("/proc"), Path("/sys/devices/system")


@dataclass(frozen=True, slots=True)
class CpuSeen:
    """A CPU in the last interval."""

    id: int
    domain: int
    busy: float
    """Its part of the interval in which it did not idle."""
    waiting: float | None
    """How many tasks waited for it, on average; None if the kernel does not count it."""
    runs_per_s: float
    """Times that it began to run a task."""
    delay_ns: int
    """Sum of the waits that ended there."""
    runs: int
    runs_task: str = ""
    """The name of the known task that ran most there, not escaped; empty if there is none."""


@dataclass(frozen=True, slots=True)
class DomainSeen:
    """The CPUs that share a last-level cache."""

    id: int
    cpus: tuple[int, ...]
    busy: float
    """The mean of its CPUs."""
    waiting: float | None
    mean_wait_ns: float
    """The mean wait of a task before it ran there."""
    runs_per_s: float


@dataclass(frozen=True, slots=True)
class MachineSeen:
    """The machine in the last interval."""

    cpus: tuple[CpuSeen, ...] = ()
    domains: tuple[DomainSeen, ...] = ()
    load: tuple[float, float, float] = (0.0, 0.0, 0.0)
    memory_used: int = 0
    memory_total: int = 0
    swap_used: int = 0
    swap_total: int = 0

    @property
    def mean_wait_ns(self) -> float | None:
        """The mean wait of all tasks that began to run, on any CPU; None if it is not counted."""
        if all(cpu.waiting is None for cpu in self.cpus):
            return None
        runs = sum(cpu.runs for cpu in self.cpus)
        return sum(cpu.delay_ns for cpu in self.cpus) / runs if runs else 0.0


class Machine:
    """Looks at the machine; each look is compared with the one before."""

    def __init__(self, proc: Path = _PROC, sysfs: Path = _SYSFS) -> None:
        """The first look has no rates."""
        self._schedstat = proc / "schedstat"
        self._sysfs = sysfs
        self._online = ""
        self._topology = Topology((), 0)
        self._times: dict[int, tuple[float, float]] = {}
        self._waits: dict[int, tuple[int, int]] = {}
        self._at_s = 0.0

    def look(self, leave_out: TaskSeen | None = None) -> MachineSeen:
        """The machine since the last look.

        The waits of the task `leave_out` do not count. The kernel does not say on which CPUs it
        waited, so the same part is left out of the waits of each CPU of its domain.
        """
        topology = self._know_topology()
        now_s = time.monotonic()
        passed_s, self._at_s = max(now_s - self._at_s, 1e-3), now_s
        times = self._cpu_times(topology.online)
        waits = self._cpu_waits()
        shared, kept_delay, kept_runs = self._without(leave_out, topology, waits)
        cpus = []
        for cpu in topology.cpus:
            busy = _busy(times.get(cpu.id), self._times.get(cpu.id))
            delay_ns, runs = _growth(waits.get(cpu.id), self._waits.get(cpu.id))
            if leave_out and cpu.llc == shared:
                delay_ns, runs = round(delay_ns * kept_delay), round(runs * kept_runs)
            waiting = delay_ns / passed_s / 1e9 if cpu.id in waits else None
            cpus.append(CpuSeen(cpu.id, cpu.llc, busy, waiting, runs / passed_s, delay_ns, runs))
        self._times, self._waits = times, waits
        memory, swap = psutil.virtual_memory(), psutil.swap_memory()
        return MachineSeen(
            cpus=tuple(cpus),
            domains=_domains(cpus),
            load=psutil.getloadavg(),
            memory_used=memory.total - memory.available,
            memory_total=memory.total,
            swap_used=swap.used,
            swap_total=swap.total,
        )

    def _without(
        self, task: TaskSeen | None, topology: Topology, waits: dict[int, tuple[int, int]]
    ) -> tuple[int, float, float]:
        """The task's domain, and which parts of that domain's waits and runs are of other tasks."""
        found = {cpu.id: cpu.llc for cpu in topology.cpus}
        domain = found.get(task.cpu, -1) if task else -1
        grown = [
            _growth(waits.get(c), self._waits.get(c)) for c, llc in found.items() if llc == domain
        ]
        delay_ns, runs = sum(one[0] for one in grown), sum(one[1] for one in grown)
        if task is None or not delay_ns or not runs:
            return -1, 1.0, 1.0
        return domain, max(1 - task.waited_ns / delay_ns, 0), max(1 - task.nr_runs / runs, 0)

    def _know_topology(self) -> Topology:
        """The topology; it is read anew when a CPU came or went."""
        try:
            online = (self._sysfs / "cpu/online").read_text()
        except OSError:
            online = "unknown"
        if online != self._online:
            self._online = online
            self._topology = read_topology(self._sysfs)
        return self._topology

    @staticmethod
    def _cpu_times(online: Sequence[int]) -> dict[int, tuple[float, float]]:
        """By CPU: all seconds so far, and those in which it idled."""
        found = psutil.cpu_times(percpu=True)
        if len(found) != len(online):  # a CPU has come or gone since
            return {}
        return {
            # Guests' time is in the user's time, too.
            cpu: (sum(one[:8]), one.idle + one.iowait)
            for cpu, one in zip(online, found, strict=True)
        }

    def _cpu_waits(self) -> dict[int, tuple[int, int]]:
        """By CPU: how long tasks have waited for it, in ns, and how many waits have ended there."""
        found = {}
        try:
            with self._schedstat.open(encoding="ascii", errors="replace") as lines:
                for text in lines:
                    words = text.split()
                    if len(words) >= 10 and words[0].startswith("cpu") and words[0][3:].isdecimal():
                        found[int(words[0][3:])] = int(words[8]), int(words[9])
        except OSError:  # the kernel does not count them
            return {}
        return found


def _busy(now: tuple[float, float] | None, before: tuple[float, float] | None) -> float:
    if now is None or before is None or now[0] <= before[0]:
        return 0.0
    return min(max(1 - (now[1] - before[1]) / (now[0] - before[0]), 0.0), 1.0)


def _growth(now: tuple[int, int] | None, before: tuple[int, int] | None) -> tuple[int, int]:
    if now is None or before is None:
        return 0, 0
    return max(now[0] - before[0], 0), max(now[1] - before[1], 0)


def _domains(cpus: Sequence[CpuSeen]) -> tuple[DomainSeen, ...]:
    found = []
    for domain in sorted({cpu.domain for cpu in cpus}):
        mine = [cpu for cpu in cpus if cpu.domain == domain]
        runs = sum(cpu.runs for cpu in mine)
        waits = [cpu.waiting for cpu in mine if cpu.waiting is not None]
        found.append(
            DomainSeen(
                id=domain,
                cpus=tuple(cpu.id for cpu in mine),
                busy=sum(cpu.busy for cpu in mine) / len(mine),
                waiting=sum(waits) if waits else None,
                mean_wait_ns=sum(cpu.delay_ns for cpu in mine) / runs if runs else 0.0,
                runs_per_s=sum(cpu.runs_per_s for cpu in mine),
            )
        )
    return tuple(found)
