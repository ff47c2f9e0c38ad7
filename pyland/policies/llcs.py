# SPDX-License-Identifier: GPL-2.0-only
"""Which last-level cache a task goes to, where the policy names it instead of the kernel side.

Two rules. A task that runs for a moment each time goes to the cache of the task that woke it up:
what they send each other is there. A task that computes goes to its own cache, but to another one
while no whole core of its own idles and one of the other does. Other tasks are left to the kernel
side. The cache's queue is what is named: a CPU of another cache that would idle takes the task from
there. `docs/performance.md` compares both.
"""

from __future__ import annotations

from pyland.decision import DECISION_FIELDS
from pyland.machine import Machine
from pyland.policy import Batch, domain_queue

FIELDS = ("pid", "cpu", "nr_cpus_allowed", "awake_runtime_ns", "waker_pid", "average_runtime_ns")
"""What `Llcs.place` reads of a task."""

TALKS_NS = 500_000
"""A task that usually runs for less than this between two sleeps talks to its waker."""
COMPUTES_NS = 5_000_000
"""A task that has run for so long without a sleep computes."""

_WIDTH, _CPU = len(DECISION_FIELDS), DECISION_FIELDS.index("cpu")
_KNOWN_MAX = 8192


class Llcs:
    """The caches of a machine, and on which CPU each task ran last."""

    def __init__(self, machine: Machine) -> None:
        """No task is known."""
        self._machine = machine
        topology = machine.topology
        self._nr_cpus = len(topology.online)
        self._llc_of = {cpu.id: cpu.llc for cpu in topology.cpus}
        self._cores: dict[int, set[int]] = {}
        for cpu in topology.cpus:
            core = sum(1 << sibling for sibling in {cpu.id, *cpu.smt_siblings})
            self._cores.setdefault(cpu.llc, set()).add(core)
        self._cpu_of: dict[int, int] = {}

    def place(self, batch: Batch, decided: list[int]) -> list[int]:
        """Name the domain of a cache in some of these decisions, which are in the batch's order.

        Returns the same list.
        """
        llc_of, cpu_of = self._llc_of, self._cpu_of
        if len(cpu_of) > _KNOWN_MAX:
            cpu_of.clear()
        at = _CPU
        for pid, cpu, nr_allowed, awake_ns, waker_pid, average_ns in batch.view(FIELDS):
            cpu_of[pid] = cpu
            llc = None
            if nr_allowed < self._nr_cpus or cpu not in llc_of:
                pass
            elif waker_pid and average_ns < TALKS_NS:
                llc = llc_of.get(cpu_of.get(waker_pid, -1))
            elif awake_ns > COMPUTES_NS:
                llc = self._with_idle_core(llc_of[cpu])
            if llc is not None:
                decided[at] = domain_queue(llc)
            at += _WIDTH
        return decided

    def _with_idle_core(self, llc: int) -> int:
        """This cache; another one if only that has a whole idle core."""
        idle = self._machine.idle_mask
        if not idle:
            return llc
        for other in sorted(self._cores, key=lambda one: one != llc):
            if any(core & idle == core for core in self._cores[other]):
                return other
        return llc
