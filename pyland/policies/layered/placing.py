# SPDX-License-Identifier: GPL-2.0-only
"""Where the tasks of each layer may run: the home and the spill of its domains, one for each cache.

Before them are the domains of tasks that no decision has named yet, one for each cache.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from pyland.domains import NR_DOMAINS, NR_SERVED, DomainSettings, Search
from pyland.policies.layered.cores import lowest
from pyland.policies.layered.layers import SLICE_US, Options
from pyland.policies.layered.sizing import Sizer

_UNKNOWN_RANK, _PREEMPTING_RANK = 2, 1
_IGNORES_NONE, _IGNORES_ALL = 0.001, 0.999


class State(NamedTuple):
    """What is known of one layer at this moment."""

    kept_off: bool = False
    """All CPUs have been busy for so long that the layer may use only its own and free ones."""
    saturated: bool = False
    """None of its CPUs idles, and tasks of it wait."""
    may_cross: Sequence[bool] = ()
    """By cache: tasks wait there for so long that they may move to another (xllc_mig_min_us)."""
    guarded: bool = False
    """All CPUs have been busy for so long that other layers' tasks that compute may not take its
    CPUs."""
    deprived: bool = False
    """Its tasks have waited for so long that layers with policies may not take its CPUs."""


class Placing:
    """The domains of all layers, from the CPUs that a `Sizer` has given them."""

    def __init__(self, sizer: Sizer, caches: Sequence[int] = (), slice_us: int = SLICE_US) -> None:
        """`places` and `table` follow `refresh`; `slice_us` is that of layers that name none.

        `caches` are the CPUs of each cache that the machine has; by default, those of the sizer's
        cores. A task that no decision has placed is in the domain with its cache's number.
        """
        self._sizer = sizer
        self._habits = [_habits(layer.options, slice_us) for layer in sizer.layers]
        cores = sizer.cores
        self.nr_llcs = max(cores.llc_masks, default=0) + 1
        self._llcs = [cores.llc_masks.get(llc, 0) for llc in range(self.nr_llcs)]
        self._caches = list(caches) or self._llcs
        self._node_of = [
            next((mask for mask in cores.node_masks.values() if mask & llc), 0)
            for llc in self._llcs
        ]
        self._nr_layers = len(sizer.layers)
        # With one layer there is nothing to find out about a task.
        self._direct = self._nr_layers == 1
        # A CPU serves all domains that preempt tasks there, and it may be the home of all domains
        # of a layer that has no CPU at other caches. The number that it can serve is limited: on
        # machines with many caches some layers have one domain each, those that preempt first.
        preempting = [layer.options.preempt for layer in sizer.layers]
        self._patient = [
            index
            for index, layer in enumerate(sizer.layers)
            if layer.options.preempt
            and layer.kind != "Confined"
            and not layer.policy
            and self._nr_layers > 1
        ]
        """Layers with domains for tasks that compute, which preempt none, behind all others."""
        nr_groups = self._nr_layers + len(self._patient)
        served = len(self._caches) + nr_groups
        if served > NR_SERVED or self.domain(nr_groups, 0) > NR_DOMAINS:
            self._patient = []
        room = NR_SERVED - len(self._caches) - self._nr_layers - len(self._patient)
        each = 2 if self._patient else 1
        nr_whole = self._nr_layers
        if self.nr_llcs > 1:
            nr_whole = max(room // (self.nr_llcs - 1) // each, 0)
        self._as_one = [False] * self._nr_layers
        for index in sorted(range(self._nr_layers), key=lambda i: preempting[i])[nr_whole:]:
            self._as_one[index] = True
        self.places: list[DomainSettings] = []
        """The settings of each domain."""
        self.table: list[list[int]] = []
        """By layer and cache: the domain of the layer's tasks that ran last near this cache."""
        self.patient_table: list[list[int]] = []
        """As `table`, for tasks that compute; `table` itself if no layer preempts."""
        self.homes: list[int] = []
        """By layer: the CPUs where its tasks are at home."""
        self.refresh([State()] * self._nr_layers)

    @property
    def nr_domains(self) -> int:
        """How many domains the layers need."""
        return self.domain(self._nr_layers + len(self._patient), 0)

    def domain(self, layer: int, llc: int) -> int:
        """The number of a layer's domain at a cache."""
        return len(self._caches) + self.nr_llcs * layer + llc

    def layer_and_llc(self, number: int) -> tuple[int, int]:
        """The layer and the cache of a layer's domain."""
        layer, llc = divmod(number - len(self._caches), self.nr_llcs)
        return (layer if layer < self._nr_layers else self._patient[layer - self._nr_layers]), llc

    def own_domains(self, layer: int) -> list[int]:
        """The numbers of a layer's domains, first those of `table`."""
        groups = [
            layer,
            *(self._nr_layers + at for at, one in enumerate(self._patient) if one == layer),
        ]
        return [self.domain(group, llc) for group in groups for llc in range(self.nr_llcs)]

    def reach(self, place: int) -> int:
        """The CPUs of the domain that a flat decision names: at home and where it spills to."""
        one = self.places[-2 - place]
        return one.cpus | one.spill

    def refresh(self, states: Sequence[State]) -> None:
        """Work everything out anew: sizes or states have changed."""
        sizer = self._sizer
        blocked = sum(map(self._siblings, range(self._nr_layers)))
        shared = sizer.cores.mask & ~sizer.protected & ~blocked
        self.homes = [self._home(index, blocked) for index in range(self._nr_layers)]
        self.places = self._of_unknown(shared)
        self.table = []
        for index, state in enumerate(states):
            own = self.homes[index]
            spill = self._spill(index, own, shared, state)
            if sizer.layers[index].policy and sizer.layers[index].options.preempt:
                # The layer's policy does not say which tasks compute, so all of them stay off.
                spill &= ~sum(
                    mask
                    for other, mask in enumerate(sizer.cpus)
                    if other != index and states[other].deprived
                )
            self.places += [
                self._place(index, llc, own, spill, state) for llc in range(self.nr_llcs)
            ]
            self.table.append([self._nearest(index, llc) for llc in range(self.nr_llcs)])
        self.patient_table = self.table[:]
        for at, index in enumerate(self._patient):
            self.places += self._of_patient(index, shared, states)
            shift = self.domain(self._nr_layers + at, 0) - self.domain(index, 0)
            self.patient_table[index] = [number + shift for number in self.table[index]]
        if not self._patient:
            self.patient_table = self.table

    def _siblings(self, index: int) -> int:
        """The CPUs that stay idle beside an exclusive layer: all but the first of its cores."""
        layer = self._sizer.layers[index]
        if not layer.options.exclusive or layer.is_open:
            return 0
        own = self._sizer.cpus[index]
        return own & ~sum(lowest(core & own) for core in self._whole_cores() if core & own)

    def _whole_cores(self) -> list[int]:
        return [core.cpus for core in self._sizer.cores.all]

    def _home(self, index: int, blocked: int) -> int:
        own = self._sizer.cpus[index] & ~blocked
        return own or self._sizer.fallback(index)

    def _of_unknown(self, shared: int) -> list[DomainSettings]:
        """The domains of tasks that are not matched yet: without protected CPUs, if possible."""
        # The last layer takes most tasks that are unknown.
        anywhere = shared or self.homes[-1]
        # Tasks without a place belong to the first domain that their CPU serves. The high rank
        # makes that one of these domains, even if the CPU also serves a layer that preempts.
        return [
            DomainSettings(llc & anywhere or anywhere, anywhere, _UNKNOWN_RANK, direct=self._direct)
            for llc in self._caches
        ]

    def _spill(self, index: int, own: int, shared: int, state: State) -> int:
        """Where the layer's tasks may go when no CPU at home idles."""
        sizer, layer = self._sizer, self._sizer.layers[index]
        if layer.kind == "Confined":
            return own
        free = sizer.free & sizer.allowed(index)
        if layer.kind == "Grouped" and layer.options.idle_confined:
            full = not sizer.free or state.saturated
            if not full:
                return own
        if state.kept_off:
            return own | free
        return own | (shared & sizer.allowed(index))

    def _of_patient(self, index: int, shared: int, states: Sequence[State]) -> list[DomainSettings]:
        """The domains of a preempting layer's tasks that compute: these preempt no other task."""
        own = self.homes[index]
        guarded = sum(
            mask
            for other, mask in enumerate(self._sizer.cpus)
            if other != index and states[other].guarded
        )
        spill = self._spill(index, own, shared & ~guarded, states[index])
        places = [self._place(index, llc, own, spill, states[index]) for llc in range(self.nr_llcs)]
        return [place._replace(preempt=False) for place in places]

    def _place(self, index: int, llc: int, own: int, spill: int, state: State) -> DomainSettings:
        layer = self._sizer.layers[index]
        floats = layer.options.placement == "Floating"
        home = own & (self._node_of[llc] if floats else self._llcs[llc])
        if self._as_one[index]:
            if llc:
                return DomainSettings()
            home = own
        crosses = bool(state.may_cross) and state.may_cross[llc]
        if layer.options.xllc_mig_min_us and home and not crosses and not floats:
            spill &= self._llcs[llc]
        if layer.options.skip_remote_node and home:
            spill &= self._node_of[llc]
        preempt = layer.options.preempt
        if not home:
            # No task is placed here; those that came earlier find the layer's CPUs.
            home, spill = own, spill | own
        return self._habits[index]._replace(
            cpus=home,
            spill=spill & ~home,
            rank=_PREEMPTING_RANK * preempt,
            preempt=preempt,
            direct=self._direct,
        )

    def _nearest(self, index: int, llc: int) -> int:
        """The layer's domain for a task that ran at this cache: there, near it, or anywhere."""
        own = self.homes[index]
        if self._as_one[index]:
            return self.domain(index, 0)

        def far(other: int) -> tuple[bool, bool, int]:
            node = self._node_of[other] != self._node_of[llc]
            return other != llc, node, -(own & self._llcs[other]).bit_count()

        there = [other for other in range(self.nr_llcs) if own & self._llcs[other]]
        return self.domain(index, min(there, key=far))


def _habits(options: Options, slice_us: int) -> DomainSettings:
    """What the layer's options say of its tasks' previous CPU, and of those that yield."""
    search: Search = "previous" if options.prev_over_idle_core else "core"
    if options.placement == "Sticky":
        search = "stay"
    yield_ns = None
    if options.yield_ignore > _IGNORES_NONE:
        yield_ns = int((options.slice_us or slice_us) * (1 - options.yield_ignore)) * 1000
    if options.yield_ignore > _IGNORES_ALL:
        yield_ns = 0
    return DomainSettings(search=search, preempt_first=options.preempt_first, yield_ns=yield_ns)
