# SPDX-License-Identifier: GPL-2.0-only
"""The machine that the policy of a part sees: its own CPUs, domains, numbers and chance."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from pyland.compose.part_domains import PartDomains
from pyland.decision import domain_queue
from pyland.domains import DomainSettings
from pyland.machine import CpuState, Machine
from pyland.stats.numbers import NAME_MAX
from pyland.task import Task
from pyland.timers import Call, Timer
from pyland.topology import Topology

if TYPE_CHECKING:
    from pyland.compose.part import Part


class PartMachine(Machine):
    """A part of another machine.

    CPUs keep their numbers. The part's policy may ask about a CPU that is not the part's own, such
    as the CPU where a task ran before it came into this part. Such a CPU never idles here, and its
    figures are 0.
    """

    domains: PartDomains
    _known: Topology | None

    def __init__(
        self, whole: Machine, name: str, part: Part, take: Callable[[], int], *, alone: bool
    ) -> None:
        """`take` gives the number of an unused domain; `alone` if the part is the whole machine.

        Raises UsageError if the part names a CPU that the machine does not have.
        """
        self._whole, self._alone, self._given = whole, alone, part.near
        self.is_whole = alone or part.whole
        """True if decisions of the part's policy are those of the whole machine."""
        self.keeps_keys = part.whole
        """True if keys of its policy fit those of the whole machine."""
        self._name = name
        self._prefix = f"{name}_"
        self._full_names: dict[str, str] = {}
        self._take = take
        self._planned_here: list[Timer] = []
        self._prune_at = 64
        self.home = part.home(name, whole.topology)
        """Its own CPUs, as a mask."""
        self.reach = self.home | part.reach(name, whole.topology)
        """All CPUs that its tasks may use, as a mask."""
        self.rank = part.rank
        # The CPUs of each cache spill to all: also to those at the part's other caches.
        self._own = DomainSettings(self.home, self.reach, part.rank, part.preempt, part.direct)
        self.used_ns = 0
        """CPU time that its tasks have used, up to the last `look`."""
        # The domains that were looked at last, and what their tasks had used.
        self._counted: Sequence[int] = ()
        self._sum_ns = 0
        self.waits = False
        """True if one of its tasks waited for a CPU shortly before the last `look`."""
        self.is_empty = True
        """True if none of its tasks was runnable then."""
        self.others: Sequence[PartMachine] = ()
        """The parts that it shares CPUs with. If it keeps its keys, its tasks are in all domains
        but theirs."""
        self.guarded: Callable[[Call], None] = lambda call: None
        """Makes a call of the part's policy; set by the composed policy."""
        super().__init__(
            _only(whole.topology, self.home), whole.slices, whole.random.getrandbits(63)
        )
        if alone:
            self.outgoing = whole.outgoing

    def resize(self, home: int, reach: int) -> None:
        """Change the part's CPUs: `home` are its own, `reach` all that its tasks may use; masks."""
        self.home, self.reach = home, home | reach
        self._known = None

    @property
    def topology(self) -> Topology:
        """The part's own CPUs; worked out when it is asked for after a change."""
        if self._known is None:
            self._known = _only(self._whole.topology, self.home)
        return self._known

    @topology.setter
    def topology(self, topology: Topology) -> None:
        self._known = topology

    def _make_domains(self) -> PartDomains:
        whole, take = self._whole.domains, self._take
        shown = self._given is None and not self.keeps_keys
        return PartDomains(self.topology, whole, take, self._own, alone=self._alone, shown=shown)

    def place(self, cpu: int) -> int | None:
        """What the CPU of a decision is on the whole machine; None if the part may not use it."""
        if cpu >= 0:
            return cpu if self.reach >> cpu & 1 else None
        return self.domains.places.get(cpu) if self._given is None else None

    @property
    def places_domains(self) -> bool:
        """True if the part's domains are its own, and not set by the policy of the whole."""
        return self._given is None

    def near(self) -> dict[int, int]:
        """For each CPU of the part, where a task waits that ran there last."""
        if self._given is not None:
            return self._given
        places = self.domains.places
        return {cpu.id: places[-2 - cpu.llc] for cpu in self.topology.cpus}

    def look(self) -> tuple[int, int]:
        """How many of its tasks are runnable, and their weight; those of one usual task if none is.

        `used_ns` and `waits` are worked out anew.
        """
        whole, numbers = self._whole, self._own_domains()
        nr, weight, used_ns, nr_waiting = whole.domains.sums(numbers)
        if numbers == self._counted:
            self.used_ns += used_ns - self._sum_ns
        else:
            # What was used in a domain before it was the part's own does not count.
            self.used_ns += whole.domains.sums(self._counted)[2] - self._sum_ns
        self._counted, self._sum_ns = numbers, used_ns
        self.is_empty = not nr
        if not nr:
            self.waits = False
            return 1, 100
        # Where a task may use one CPU only, it waits in that CPU's queue.
        self.waits = nr_waiting > 0 or len(whole.topology.online) == 1
        return nr, weight or 1

    def _own_domains(self) -> Sequence[int]:
        """The domains where its tasks wait, as numbers of the whole machine."""
        if self.keeps_keys:
            others = {number for other in self.others for number in other._own_domains()}
            return [one.number for one in self._whole.domains.known() if one.number not in others]
        if self._given is not None:
            return sorted({domain_queue(0) - queue for queue in self._given.values()})
        return self.domains.used()

    def set_aside(self) -> tuple[list[DomainSettings], list[Timer]]:
        """Begin anew for another policy; returns what the present one has set."""
        self.outgoing.clear()
        before = self.domains.saved(), self._planned_here
        self._planned_here = []
        self.domains.begin()
        return before

    def take_back(self, before: tuple[list[DomainSettings], list[Timer]]) -> None:
        """Undo `set_aside`, because the other policy could not be made."""
        self.outgoing.clear()
        settings, timers = before
        self.drop((settings, self._planned_here))
        self._planned_here = timers
        self.domains.begin()
        self.domains.restore(settings)

    def drop(self, before: tuple[list[DomainSettings], list[Timer]]) -> None:
        """Forget what a policy has planned."""
        for timer in before[1]:
            timer.cancel()

    @property
    def now_ns(self) -> int:
        """The time of the whole machine."""
        return self._whole.now_ns

    def is_idle(self, cpu: int) -> bool:
        """True if the CPU is one of the part's own and idles."""
        self._check_cpu(cpu)
        return bool(self.home >> cpu & 1) and self._whole.is_idle(cpu)

    @property
    def idle_mask(self) -> int:
        """The mask of the part's own CPUs that idle."""
        return self._whole.idle_mask & self.home

    def cpu(self, cpu: int) -> CpuState:
        """What is known of a CPU; all figures are 0 for one that is not the part's own."""
        self._check_cpu(cpu)
        return self._whole.cpu(cpu) if self.home >> cpu & 1 else CpuState(0, 0, 0, 0, 0)

    def set_performance(self, cpu: int, target: int) -> None:
        """Set the target of one of the part's own CPUs; no effect on other CPUs."""
        self._check_cpu(cpu)
        self._check_performance(target)
        if self.home >> cpu & 1:
            self._whole.set_performance(cpu, target)

    def every(self, interval_ns: int, call: Call) -> Timer:
        """As `Machine.every`; a call that fails is a failure of the part."""
        return self._noted(self._whole.every(interval_ns, lambda: self.guarded(call)))

    def at(self, time_ns: int, call: Call) -> Timer:
        """As `Machine.at`; a call that fails is a failure of the part."""
        return self._noted(self._whole.at(time_ns, lambda: self.guarded(call)))

    def _noted(self, timer: Timer) -> Timer:
        if len(self._planned_here) >= self._prune_at:
            self._planned_here = [one for one in self._planned_here if not one.over]
            self._prune_at = 2 * len(self._planned_here) + 64
        self._planned_here.append(timer)
        return timer

    def gauge(self, name: str, value: float) -> None:
        """The gauge appears with the part's name before its own."""
        self._whole.gauge(self._full_names.get(name) or self._full_name(name), value)

    def count(self, name: str, by: int = 1) -> None:
        """The counter appears with the part's name before its own."""
        self._whole.count(self._full_names.get(name) or self._full_name(name), by)

    def note(self, task: Task | int, text: str) -> None:
        """A task belongs to one part: the note is the whole machine's."""
        self._whole.note(task, text)

    def name_class(self, number: int, name: str) -> None:
        """The class is named for the whole machine, with the part's name before its own."""
        self._whole.name_class(number, self._full_names.get(name) or self._full_name(name))

    def part_failed(self, part: str, policy: str, error: BaseException) -> None:
        """A part of this part failed: the whole machine tells of it with both names."""
        self._whole.part_failed(f"{self._name}.{part}", policy, error)

    def part_replaced(self, part: str, failed: str, why: str, policy: str) -> None:
        """A part of this part has another policy: the whole machine tells of it with both names."""
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
    return topology._replace(
        cpus=tuple(
            cpu._replace(
                llc=llcs[cpu.llc],
                node=nodes[cpu.node],
                smt_siblings=tuple(one for one in cpu.smt_siblings if home >> one & 1),
            )
            for cpu in cpus
        ),
        nohz_full=tuple(cpu for cpu in topology.nohz_full if home >> cpu & 1),
    )
