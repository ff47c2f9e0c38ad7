# SPDX-License-Identifier: GPL-2.0-only
"""What happens ten times a second: counting, sizing, placing, and showing numbers."""

from __future__ import annotations

from collections.abc import Sequence

from pyland.cpumask import cpus_of
from pyland.domains import DomainSettings
from pyland.machine import FULL_PERFORMANCE, Machine
from pyland.policies.layered import balance
from pyland.policies.layered.cores import Cores
from pyland.policies.layered.layers import SLICE_US, Layer
from pyland.policies.layered.numbers import Numbers
from pyland.policies.layered.overhead import Overhead
from pyland.policies.layered.placing import Placing, State
from pyland.policies.layered.sizing import Sizer
from pyland.policies.layered.templates import cpusets
from pyland.policies.layered.utilisation import Usage, compensation

_SPARED_NS = 1_000_000_000
"""For so long after its tasks have waited, a layer keeps layers with policies off its CPUs."""


class Counted:
    """What records have told about one layer since the last sizing."""

    __slots__ = ("home", "moved", "nr", "open_ns", "used_ns")

    def __init__(self) -> None:
        """All counts are 0."""
        self.nr = self.moved = self.used_ns = self.open_ns = 0
        self.home = 0
        """The CPUs where its tasks are at home."""


def cpusets_for(layers: Sequence[Layer]) -> list[int]:
    """The masks of the CPU sets of this machine's cgroups, if the layers need them."""
    by_cpuset = any(layer.options.growth_algo.startswith("CpuSet") for layer in layers)
    return cpusets() if by_cpuset else []


class Clockwork:
    """Keeps the machine's domains as the layers' use and rules want them."""

    def __init__(
        self,
        machine: Machine,
        layers: Sequence[Layer],
        cores: Cores,
        *,
        interval_s: float = 0.1,
        slice_us: int = SLICE_US,
        compensates: bool = False,
    ) -> None:
        """Set the domains for layers that have used no CPU time yet."""
        self._machine, self._layers, self._cores = machine, layers, cores
        self._interval_ns = int(interval_s * 1e9)
        self.sizer = Sizer(layers, cores, cpusets_for(layers))
        caches = [0] * machine.topology.nr_llcs
        for cpu in machine.topology.cpus:
            caches[cpu.llc] |= 1 << cpu.id
        self.placing = Placing(self.sizer, caches, slice_us)
        self.counted = [Counted() for _ in layers]
        """By layer; the policy adds to it."""
        self._numbers = Numbers(machine, layers)
        self._overhead = Overhead() if compensates else None
        self._sized_ns = machine.now_ns
        self._busy_since_ns: int | None = None
        self.moves: dict[int, balance.Move] = {}
        """By domain: to which other domain some of the next tasks decided for it go."""
        self._states = [State()] * len(layers)
        self._deprived_until_ns = [0] * len(layers)
        self._performance: dict[int, int] = {}
        self._owners: dict[int, int] = {}
        self._set: list[DomainSettings] = [DomainSettings()] * self.placing.nr_domains
        self._apply()
        # An earlier policy's domains with these numbers have used CPU time, too.
        ours = machine.domains[: self.placing.nr_domains]
        self._used_ns = [domain.gauges.used_ns for domain in ours]

    def tick(self, now_ns: int) -> bool:
        """Look at the machine; size the layers if the interval has passed.

        Returns True if layers have other CPUs than before, or may use others.
        """
        if not self._machine.idle_mask & self._cores.mask:
            self._busy_since_ns = self._busy_since_ns or now_ns
        else:
            self._busy_since_ns = None
        elapsed_s = (now_ns - self._sized_ns) / 1e9
        if elapsed_s * 1e9 >= self._interval_ns * 0.9:
            self._sized_ns = now_ns
            return self._size(elapsed_s)
        return False

    def _size(self, elapsed_s: float) -> bool:
        gauges = [domain.gauges for domain in self._machine.domains[: self.placing.nr_domains]]
        usages = [
            self._usage(index, [gauge.used_ns for gauge in gauges], elapsed_s)
            for index in range(len(self._layers))
        ]
        before = self.sizer.cpus[:], self.sizer.free
        self.sizer.step(elapsed_s, usages)
        states = [
            self._state(index, [gauge.nr_waiting for gauge in gauges],
                        [gauge.head_waits_ns for gauge in gauges])
            for index in range(len(self._layers))
        ]  # fmt: skip
        changed = before != (self.sizer.cpus, self.sizer.free) or states != self._states
        if changed:
            self._states = states
            self.placing.refresh(states)
            self._apply()
        self.moves = balance.moves(
            [
                [
                    (number, gauges[number].nr_runnable, self._cpus_at(number))
                    for number in self.own_domains(index)
                    if self._cpus_at(number)
                ]
                for index in range(len(self._layers))
            ]
        )
        self._numbers.show(self, gauges)
        for counted in self.counted:
            counted.nr = counted.moved = counted.used_ns = counted.open_ns = 0
        return changed

    def _cpus_at(self, number: int) -> int:
        """How many CPUs a layer has at the cache of this domain; 0 if its tasks go elsewhere."""
        layer, llc = self.placing.layer_and_llc(number)
        if self.placing.table[layer][llc] != number:
            return 0
        return self.placing.places[number].cpus.bit_count()

    def owner_of(self, cpu: int) -> int | None:
        """The layer that owns this CPU; None for a CPU that no layer owns."""
        return self._owners.get(cpu)

    def own_domains(self, index: int) -> list[int]:
        """The numbers of a layer's domains."""
        return self.placing.own_domains(index)

    def _usage(self, index: int, used_ns: list[int], elapsed_s: float) -> Usage:
        """What the layer's tasks used since the last sizing.

        The gauges of the domains have all of it. How much of it was on CPUs of other layers is an
        estimate: the share in the records that the policy has seen.
        """
        total_ns = 0
        for number in self.own_domains(index):
            total_ns += max(used_ns[number] - self._used_ns[number], 0)
            self._used_ns[number] = used_ns[number]
        counted, layer = self.counted[index], self._layers[index]
        part = counted.open_ns / counted.used_ns if counted.used_ns else 0.0
        used_s = total_ns / 1e9
        if layer.options.exclusive and not layer.is_open:
            used_s *= self._cpus_of_a_core(index)  # the task has the whole core
        if self._overhead:
            if index == 0:
                self._overhead.read()
            lost = [self._overhead.lost_s.get(cpu, 0.0) for cpu in cpus_of(self.sizer.cpus[index])]
            used_s *= compensation(elapsed_s, lost)
        # Without CPUs of its own a layer uses a fallback CPU, which counts as its own.
        if not self.sizer.cpus[index]:
            part = 0.0
        return Usage(used_s * (1 - part), used_s * part)

    def _cpus_of_a_core(self, index: int) -> float:
        """How many CPUs the cores of a layer have, on average: where cores differ, so does this."""
        own = self.sizer.cpus[index] or self._cores.mask
        cores = sum(1 for core in self._cores.all if core.cpus & own)
        return own.bit_count() / cores

    def _state(self, index: int, waiting: list[int], head_waits_ns: list[int]) -> State:
        layer = self._layers[index]
        own = self.own_domains(index)
        kept_off = guarded = False
        if self._busy_since_ns is not None:
            busy_ns = self._sized_ns - self._busy_since_ns
            kept_off = layer.open_after_ns is not None and busy_ns >= layer.open_after_ns
            guarded = layer.preempt_after_ns is not None and busy_ns >= layer.preempt_after_ns
        waits_ns = max(head_waits_ns[number] for number in own)
        if layer.preempt_after_ns is not None and waits_ns > layer.preempt_after_ns:
            self._deprived_until_ns[index] = self._sized_ns + _SPARED_NS
        idle = self._machine.idle_mask & self.placing.homes[index]
        least_ns = layer.options.xllc_mig_min_us * 1000
        return State(
            kept_off=kept_off,
            guarded=guarded,
            deprived=self._sized_ns < self._deprived_until_ns[index],
            saturated=not idle and any(waiting[number] for number in own),
            may_cross=tuple(head_waits_ns[n] >= least_ns for n in own[: self.placing.nr_llcs])
            if least_ns
            else (),
        )

    def _apply(self) -> None:
        """Set the domains and the performance targets that have changed."""
        domains = self._machine.domains
        changed = [
            (number, place)
            for number, place in enumerate(self.placing.places)
            if place != self._set[number]
        ]
        for number, place in changed:
            domains[number].set(**place._asdict())
            self._set[number] = place
        for counted, home in zip(self.counted, self.placing.homes, strict=True):
            counted.home = home
        self._owners = {
            cpu: index
            for index, layer in enumerate(self._layers)
            if not layer.is_open
            for cpu in cpus_of(self.sizer.cpus[index])
        }
        self._set_performance()

    def _set_performance(self) -> None:
        wanted = {
            cpu: layer.options.perf or FULL_PERFORMANCE
            for layer, mask in zip(self._layers, self.sizer.cpus, strict=True)
            if layer.options.perf
            for cpu in cpus_of(mask)
        }
        for cpu in {*wanted, *self._performance}:
            target = wanted.get(cpu, FULL_PERFORMANCE)
            if self._performance.get(cpu, FULL_PERFORMANCE) != target:
                self._machine.set_performance(cpu, target)
        self._performance = wanted
