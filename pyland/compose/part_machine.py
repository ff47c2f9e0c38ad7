# SPDX-License-Identifier: GPL-2.0-only
"""The machine that the policy of a part sees: its own CPUs, numbers, chance and decisions."""

from __future__ import annotations

from dataclasses import replace

from pyland.compose.part import Part
from pyland.machine import Machine
from pyland.policy import domain_queue
from pyland.stats.numbers import NAME_MAX
from pyland.topology import Topology


class PartMachine(Machine):
    """A part of another machine.

    CPUs keep their numbers. Those of other parts are there for the policy as they are for a
    task that once ran on them: it may ask whether they idle, and the answer is no.
    """

    def __init__(self, whole: Machine, name: str, part: Part, domain: int, *, alone: bool) -> None:
        """`domain` is the number of its first domain; `alone` if there is no other part.

        Raises UsageError for CPUs that there are not.
        """
        home = part.home(name, whole.topology)
        super().__init__(_only(whole.topology, home), whole.slices, whole.random.getrandbits(63))
        self._whole = whole
        self._name = name
        self._prefix = f"{name}_"
        self._full_names: dict[str, str] = {}
        self._cpus = home
        self.reach = home | part.reach(name, whole.topology)
        """All CPUs that its tasks may use, as a mask."""
        self.nr_domains = 1
        self.queue = domain_queue(domain)
        """Where its tasks wait."""
        self.places = {cpu: cpu for cpu in whole.topology.online if self.reach >> cpu & 1}
        """What the CPU of a decision becomes; any other becomes `queue`."""
        for cpu in self.topology.online:
            whole.set_domain(cpu, domain)

    def load(self) -> tuple[int, int]:
        """How many of its tasks are runnable, and their weight; both at least 1."""
        return 1, 100

    @property
    def now_ns(self) -> int:
        """The time of the whole machine."""
        return self._whole.now_ns

    def is_idle(self, cpu: int) -> bool:
        """True if the CPU is one of the part's own and idles."""
        self._check_cpu(cpu)
        return bool(self._cpus >> cpu & 1) and self._whole.is_idle(cpu)

    def set_domain(self, cpu: int, domain: int) -> None:
        """The CPUs of a part are one domain: this has no effect."""
        self._check_cpu(cpu)
        self._check_domain(domain)

    def set_performance(self, cpu: int, target: int) -> None:
        """Of the part's own CPUs; without effect for others."""
        self._check_cpu(cpu)
        self._check_performance(target)
        if self._cpus >> cpu & 1:
            self._whole.set_performance(cpu, target)

    def gauge(self, name: str, value: float) -> None:
        """The gauge appears with the part's name before its own."""
        self._whole.gauge(self._full_names.get(name) or self._full_name(name), value)

    def count(self, name: str, by: int = 1) -> None:
        """The counter appears with the part's name before its own."""
        self._whole.count(self._full_names.get(name) or self._full_name(name), by)

    def part_failed(self, part: str, policy: str, error: BaseException) -> None:
        """A part of this part failed: the whole machine tells of it with both names."""
        self._whole.part_failed(f"{self._name}.{part}", policy, error)

    def part_replaced(self, part: str, failed: str, why: str, policy: str) -> None:
        """The same for a part of this part that has another policy."""
        self._whole.part_replaced(f"{self._name}.{part}", failed, why, policy)

    def _full_name(self, name: str) -> str:
        """The number's name on the whole machine; the part's is cut if both are too long."""
        if len(name) >= NAME_MAX:
            return name
        full = self._prefix[: NAME_MAX - len(name) - 1].rstrip("_") + "_" + name
        self._full_names[name] = full
        return full


def _only(topology: Topology, home: int) -> Topology:
    """The topology of these CPUs; caches and nodes are numbered without gaps."""
    cpus = [cpu for cpu in topology.cpus if home >> cpu.id & 1]
    llcs = {llc: number for number, llc in enumerate(sorted({cpu.llc for cpu in cpus}))}
    nodes = {node: number for number, node in enumerate(sorted({cpu.node for cpu in cpus}))}
    return replace(
        topology,
        cpus=tuple(
            replace(
                cpu,
                llc=llcs[cpu.llc],
                node=nodes[cpu.node],
                smt_siblings=tuple(one for one in cpu.smt_siblings if home >> one & 1),
            )
            for cpu in cpus
        ),
        nohz_full=tuple(cpu for cpu in topology.nohz_full if home >> cpu & 1),
    )
