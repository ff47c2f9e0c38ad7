# SPDX-License-Identifier: GPL-2.0-only
"""Domains: sets of CPUs with a queue, in which a policy places tasks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from enum import Enum
from operator import index
from typing import Literal, NamedTuple, get_args, overload

from pyland.cpumask import CpuSet, cpus_of, mask_of
from pyland.topology import Topology

NR_DOMAINS = 1024
"""How many domains there are."""
NR_SERVED = 64
"""The most domains that one CPU serves."""

_MAX_CPUS = 1024
_RANKS = range(-(1 << 31), 1 << 31)


class _Kept(Enum):
    """Stands for an argument that is not given where None has a meaning."""

    KEPT = 0


Search = Literal["core", "previous", "stay", "soon"]
"""How a task that wakes up looks for an idle CPU: see `DomainSettings.search`."""


class DomainSettings(NamedTuple):
    """What a policy has said about a domain."""

    cpus: int = 0
    """Its home, as a mask: its tasks look for an idle CPU here first, and these CPUs serve it."""
    spill: int = 0
    """Where its tasks may go when no CPU at home idles; these CPUs take from its queue when they
    would idle. Without any, the domain is confined to its home."""
    rank: int = 0
    """A CPU serves its domains from the highest rank to the lowest, those of one rank by key."""
    preempt: bool = False
    """A task of the domain that wakes up preempts a task of a domain of lower rank, at home or
    where the domain spills to."""
    direct: bool = True
    """True if its tasks go to an idle CPU without a question. If False, the policy is asked first
    about a task that has no decision or one older than `Policy.lasts_ns`. For a task without a
    domain, that of its CPU counts."""
    search: Search = "core"
    """Which idle CPU a task gets. `"core"`: its previous one if that whole core idles, else one of
    a whole idle core, else any. `"previous"`: its previous one if it idles, even if the core's
    other CPUs are busy; then as before. `"stay"`: its previous one, for which the task waits even
    if others idle, as long as that CPU is at home. `"soon"`: as `"core"`, but if none idles the
    task waits for its previous one, if that is at home and the task there will soon sleep; a CPU
    that would idle takes it. `pyland.testing` takes this for `"core"`."""
    preempt_first: bool = False
    """With `preempt`: while a CPU of the machine idles, a task that wakes up preempts one of lower
    rank on its previous CPU before it looks for that idle CPU."""
    yield_ns: int | None = None
    """What a task that yields loses of its slice; 0: it goes on as if it had not yielded. None: it
    gives way to the tasks that wait."""


class DomainGauges(NamedTuple):
    """What is known of the tasks that decisions have placed in a domain."""

    nr_runnable: int = 0
    """Its tasks that run or want to."""
    weight: int = 0
    """The sum of their weights (100 is nice 0)."""
    used_ns: int = 0
    """CPU time that its tasks have used."""
    nr_waiting: int = 0
    """Tasks in its queue, at most 50 ms ago."""
    head_waits_ns: int = 0
    """How long the first of them has waited, at most 50 ms ago."""


class Domain:
    """A set of CPUs with a queue."""

    __slots__ = ("_domains", "number", "settings")

    def __init__(self, domains: Domains, number: int, settings: DomainSettings) -> None:
        """A policy gets its domains from `Machine.domains`."""
        self._domains = domains
        self.number = number
        """The number by which a decision names it."""
        self.settings = settings
        """The last arguments of `set`."""

    def __repr__(self) -> str:
        return f"Domain({self.number}, {self.settings})"

    @property
    def gauges(self) -> DomainGauges:
        """Its gauges of this moment, read from memory."""
        return self._domains._gauges(self.number)

    def set(
        self,
        *,
        cpus: CpuSet | None = None,
        spill: CpuSet | None = None,
        rank: int | None = None,
        preempt: bool | None = None,
        direct: bool | None = None,
        search: Search | None = None,
        preempt_first: bool | None = None,
        yield_ns: int | _Kept | None = _Kept.KEPT,
    ) -> None:
        """Change what is given; it takes effect at each CPU's next choice.

        Raises IndexError for a CPU that the machine does not have, TypeError for a time that is no
        integer, and ValueError for a search that there is not, and if a CPU would be the home of
        more than `NR_SERVED` domains; then nothing is changed.
        """
        settings = self.settings
        if cpus is not None:
            settings = settings._replace(cpus=self._domains._checked(cpus))
        if spill is not None:
            settings = settings._replace(spill=self._domains._checked(spill))
        if rank is not None:
            if rank not in _RANKS:
                raise ValueError(f"rank {rank}: it takes 32 bits")
            settings = settings._replace(rank=rank)
        if preempt is not None:
            settings = settings._replace(preempt=bool(preempt))
        if direct is not None:
            settings = settings._replace(direct=bool(direct))
        if preempt_first is not None:
            settings = settings._replace(preempt_first=bool(preempt_first))
        if search is not None:
            if search not in get_args(Search):
                raise ValueError(f"search {search!r}: it is one of {', '.join(get_args(Search))}")
            settings = settings._replace(search=search)
        if not isinstance(yield_ns, _Kept):
            settings = settings._replace(yield_ns=_checked_ns(yield_ns))
        self._domains._set(self, settings)


class Domains(Sequence[Domain]):
    """All domains of a machine, by number.

    At first there is one for each last-level cache: its home are that cache's CPUs, and it spills
    to all CPUs. The others are empty. A task belongs to the domain that its last decision named, a
    new task to its parent's, and else to that of the CPU where it ran last (`unplaced`). A task
    whose domain has no CPU that its affinity allows runs where its affinity allows.
    """

    def __init__(self, topology: Topology) -> None:
        """The domains as a new policy finds them."""
        self._topology = topology
        self._all: list[Domain] = []
        self._llc_of = {cpu.id: cpu.llc for cpu in topology.cpus}
        self._begin()

    def _begin(self) -> None:
        every = mask_of(self._topology.online)
        # The objects stay the same: a policy may keep a domain that it has asked for.
        for domain in self._all:
            domain.settings = DomainSettings()
        self._serving: dict[int, set[int]] = {cpu: set() for cpu in self._topology.online}
        self.nr = 0
        """One more than the highest number that was set; 0: none was."""
        for llc in range(min(self._topology.nr_llcs, NR_DOMAINS)):
            home = mask_of(cpu.id for cpu in self._topology.cpus if cpu.llc == llc)
            self._domain(llc).settings = DomainSettings(cpus=home, spill=every)
            for number in cpus_of(home):
                self._serving[number].add(llc)

    def _domain(self, number: int) -> Domain:
        while len(self._all) <= number:
            self._all.append(Domain(self, len(self._all), DomainSettings()))
        return self._all[number]

    def __len__(self) -> int:
        return NR_DOMAINS

    @overload
    def __getitem__(self, number: int) -> Domain: ...
    @overload
    def __getitem__(self, number: slice) -> list[Domain]: ...
    def __getitem__(self, number: int | slice) -> Domain | list[Domain]:
        if isinstance(number, slice):
            return [self._domain(n) for n in range(*number.indices(NR_DOMAINS))]
        if not 0 <= number < NR_DOMAINS:
            raise IndexError(f"domain {number}: there are 0 to {NR_DOMAINS - 1}")
        return self._domain(number)

    def __iter__(self) -> Iterator[Domain]:
        return (self._domain(number) for number in range(NR_DOMAINS))

    def known(self) -> list[Domain]:
        """The domains of the LLCs, and those that have been asked for."""
        return list(self._all)

    def served(self, cpu: int) -> list[int]:
        """The domains that a CPU serves, the highest rank first; `NR_SERVED` at most.

        Where it is not at home and the rank is low, it takes the others' tasks when it would idle.
        """
        home = self._at_home(cpu)
        away = sorted(self._serving.get(cpu, set()).difference(home), key=self._order)
        return sorted([*home, *away][:NR_SERVED], key=self._order)

    def unplaced(self, cpu: int) -> int | None:
        """The domain of tasks that no decision has placed, and that ran on this CPU last.

        That of the CPU's last-level cache if the CPU is at home there, else the one of the lowest
        rank whose home has the CPU; None if no home has it.
        """
        llc, home = self._llc_of.get(cpu, NR_DOMAINS), self._at_home(cpu)
        if llc in home:
            return llc
        return min(home, key=lambda n: (self._all[n].settings.rank, n), default=None)

    def sums(self, numbers: Sequence[int]) -> Sequence[int]:
        """`nr_runnable`, `weight`, `used_ns` and `nr_waiting` of these domains together."""
        gauges = [self._gauges(number) for number in numbers]
        return [
            sum(one.nr_runnable for one in gauges),
            sum(one.weight for one in gauges),
            sum(one.used_ns for one in gauges),
            sum(one.nr_waiting for one in gauges),
        ]

    def _order(self, number: int) -> tuple[int, int]:
        return -self._all[number].settings.rank, number

    def _at_home(self, cpu: int) -> list[int]:
        """The domains whose home has the CPU."""
        return [n for n in self._serving.get(cpu, ()) if self._all[n].settings.cpus >> cpu & 1]

    def _checked(self, cpus: CpuSet) -> int:
        mask = mask_of(cpus)
        most = min(self._topology.nr_cpu_ids, _MAX_CPUS)
        if mask >> most:
            raise IndexError(f"CPU {mask.bit_length() - 1}: there are 0 to {most - 1}")
        return mask

    def _set(self, domain: Domain, settings: DomainSettings) -> None:
        if settings == domain.settings and self.nr:
            return
        before, after = _served_by(domain.settings), _served_by(settings)
        for cpu in cpus_of(settings.cpus & ~domain.settings.cpus):
            if len(self._at_home(cpu)) >= NR_SERVED:
                raise ValueError(f"CPU {cpu} serves {NR_SERVED} domains: it cannot serve more")
        reordered, home = settings.rank != domain.settings.rank, domain.settings.cpus
        domain.settings = settings
        for cpu in cpus_of(before & ~after):
            self._serving.get(cpu, set()).discard(domain.number)
        for cpu in cpus_of(after & ~before):
            self._serving.setdefault(cpu, set()).add(domain.number)
        if not self.nr:
            # After the first setting BPF reads all domains from memory, also those of the LLCs.
            self.nr = max(domain.number + 1, min(self._topology.nr_llcs, NR_DOMAINS))
            self._write_all()
            return
        # The memory of a number that was never set may have the settings of an earlier policy.
        for number in range(self.nr, domain.number):
            self._domain(number)
            self._write(number, 0)
        self.nr = max(self.nr, domain.number + 1)
        homes = settings.cpus ^ home
        self._write(domain.number, before | after if reordered else before ^ after | homes)

    def _write_all(self) -> None:
        """Tell the machine all settings."""
        for domain in self._all:
            self._write(domain.number, 0)
        self._write(0, mask_of(self._serving))

    def _write(self, number: int, cpus: int) -> None:
        """Tell the machine the settings of a domain, and what each of these CPUs serves."""

    def _gauges(self, number: int) -> DomainGauges:
        return DomainGauges()


def _checked_ns(yield_ns: int | None) -> int | None:
    if yield_ns is None:
        return None
    if not 0 <= (time_ns := index(yield_ns)) < 1 << 63:
        raise ValueError(f"yield_ns {yield_ns}: it is a time, 0 or None")
    return time_ns


def _served_by(settings: DomainSettings) -> int:
    """The CPUs that serve a domain: at home, and where its tasks may preempt others."""
    return settings.cpus | (settings.spill if settings.preempt else 0)
