# SPDX-License-Identifier: GPL-2.0-only
"""The domains of the machine that pyland schedules, in memory shared with BPF."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pyland._native import ffi, lib
from pyland.cpumask import cpus_of
from pyland.domains import DomainGauges, Domains, DomainSettings
from pyland.topology import Topology

_WORD = (1 << 64) - 1
_WORDS = range(lib.PYLAND_MASK_WORDS)

_SEARCHES = {
    "core": 0,
    "previous": lib.PYLAND_SEARCH_PREVIOUS,
    "stay": lib.PYLAND_SEARCH_STAY,
    "soon": lib.PYLAND_SEARCH_SOON,
}


class KernelDomains(Domains):
    """Domains whose settings BPF reads, and whose gauges it writes."""

    def __init__(self, topology: Topology, rings: Any) -> None:
        """`rings` is a `struct pyland_rings *`."""
        self._user, self._memory, self._cpus = rings.user, rings.domains, rings.cpus
        self._batch = rings.batch
        self._sums = ffi.new("struct pyland_domain_sums *")
        super().__init__(topology)

    def leave_memory(self) -> None:
        """Refer to memory of its own from here on: BPF's is about to be unmapped."""
        self._user = ffi.new("struct pyland_user *")
        self._memory = ffi.new("struct pyland_user_domain[]", lib.PYLAND_NR_DOMAINS)
        self._cpus = ffi.new("struct pyland_user_cpu[]", self._topology.nr_cpu_ids)
        self._batch = ffi.new("struct pyland_batch *")

    def save(self) -> list[DomainSettings]:
        """What the policy has set, for `restore`; empty if it has set nothing."""
        return [domain.settings for domain in self._all] if self.nr else []

    def restore(self, saved: list[DomainSettings]) -> None:
        """Set what `save` returned."""
        self.reset()
        for domain in range(max(len(saved), len(self._all)) if saved else 0):
            settings = saved[domain] if domain < len(saved) else DomainSettings()
            self._set(self._domain(domain), settings)

    def reset(self) -> None:
        """Bring the domains into the state that a new policy finds."""
        self._user.nr_domains = 0
        self._begin()

    def _write_all(self) -> None:
        super()._write_all()
        self._user.nr_domains = self.nr

    def _write(self, number: int, cpus: int) -> None:
        memory, settings = self._memory[number], self._all[number].settings
        for word in _WORDS:
            memory.cpus[word] = settings.cpus >> 64 * word & _WORD
            memory.spill[word] = settings.spill >> 64 * word & _WORD
        memory.rank = settings.rank
        memory.preempt = settings.preempt
        memory.ask_first = not settings.direct
        memory.search = _SEARCHES[settings.search]
        if settings.preempt_first:
            memory.search |= lib.PYLAND_SEARCH_PREEMPT
        memory.yield_ns = 0 if settings.yield_ns is None else settings.yield_ns + 1
        # BPF makes its own copy of the masks when it finds another number here.
        memory.version = (memory.version + 1) & 0xFFFFFFFF
        for cpu in cpus_of(cpus):
            served = self.served(cpu)
            self._cpus[cpu].served[0 : len(served)] = served
            self._cpus[cpu].nr_served = len(served)
            unplaced = self.unplaced(cpu)
            self._cpus[cpu].unplaced = 0 if unplaced is None else unplaced + 1
        if self._user.nr_domains:
            self._user.nr_domains = self.nr

    def sums(self, numbers: Sequence[int]) -> Sequence[int]:
        sums = self._sums
        lib.pyland_sum_domains(self._memory, numbers, len(numbers), sums)
        return sums.nr_runnable, sums.weight, sums.used_ns, sums.nr_waiting

    def _gauges(self, number: int) -> DomainGauges:
        memory = self._memory[number]
        since_ns = memory.head_since_ns
        return DomainGauges(
            nr_runnable=max(memory.nr_runnable, 0),
            weight=max(memory.weight_runnable, 0),
            used_ns=memory.used_ns,
            nr_waiting=memory.nr_waiting,
            head_waits_ns=max(self._batch.now_ns - since_ns, 0) if since_ns else 0,
        )
