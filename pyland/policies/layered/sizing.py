# SPDX-License-Identifier: GPL-2.0-only
"""Gives CPUs to layers by what they use: which, how many, and to which layer first."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pyland.policies.layered.cores import Cores, lowest
from pyland.policies.layered.growth import SPREAD, core_order, node_tiers
from pyland.policies.layered.layers import Layer
from pyland.policies.layered.pool import Pool
from pyland.policies.layered.shares import Demand, budgets, place
from pyland.policies.layered.utilisation import Usage, Utilisation, target


class Sizer:
    """The CPUs of all layers. `step` changes them, about ten times a second."""

    def __init__(self, layers: Sequence[Layer], cores: Cores, cpusets: Iterable[int] = ()) -> None:
        """Each layer has the least CPUs that it may have; `cpusets` are those of cgroups."""
        self.layers, self.cores = tuple(layers), cores
        self.utilisation = [Utilisation(layer) for layer in layers]
        masks = list(cpusets)
        orders = [core_order(layers, index, cores, masks) for index in range(len(layers))]
        moving = [i for i, one in enumerate(layers) if one.options.growth_algo == "StickyDynamic"]
        self._pool = Pool(cores, orders, moving)
        self._tiers = [
            tuple(tuple(nodes) for nodes in node_tiers(layers, index, cores))
            for index in range(len(layers))
        ]
        self._allowed = [cores.allowed(layer) for layer in layers]
        self._caps = {
            node: mask.bit_count() // cores.unit for node, mask in cores.node_masks.items()
        }
        self.targets = [0] * len(layers)
        """How many CPUs each layer should have; it gets fewer if other layers want them, too."""
        self.cpus = [0] * len(layers)
        """The mask of each layer's CPUs; of an Open layer, of those that no layer owns."""
        self.step(0, [Usage()] * len(layers))

    @property
    def free(self) -> int:
        """The CPUs that no layer owns."""
        return self._pool.free

    @property
    def protected(self) -> int:
        """The CPUs where only their layer's tasks may run."""
        return sum(
            mask
            for layer, mask in zip(self.layers, self.cpus, strict=True)
            if layer.options.protected and not layer.is_open
        )

    def step(self, elapsed_s: float, usages: Sequence[Usage]) -> None:
        """Count what each layer has used in `elapsed_s`, and give it the CPUs for that."""
        for index, layer in enumerate(self.layers):
            self.utilisation[index].add(usages[index], elapsed_s)
            self.targets[index] = 0 if layer.is_open else self._target(index, elapsed_s)
        demands = [self._demand(index) for index in range(len(self.layers))]
        unit = self.cores.unit
        placed = place(self._caps, demands, self._budgets(demands))
        self._pool.resize([{n: units * unit for n, units in nodes.items()} for nodes in placed])
        free = self._pool.free
        for index, layer in enumerate(self.layers):
            own = free & self._allowed[index] if layer.is_open else self._pool.cpus(index)
            self.cpus[index] = own

    def fallback(self, index: int) -> int:
        """The CPU for the tasks of a layer that has none, as a mask.

        It is a CPU that no layer owns; else one of a layer that is not protected; else the first.
        """
        allowed = self._allowed[index] or self.cores.mask
        shared = self.cores.mask & ~self.protected
        for mask in (self.free & allowed, shared & allowed, self.free, shared, allowed):
            if mask:
                return lowest(mask)
        return lowest(self.cores.mask)

    def allowed(self, index: int) -> int:
        """The CPUs that the layer may have by its `nodes`, `llcs` and its cgroup."""
        return self._allowed[index]

    def _target(self, index: int, elapsed_s: float) -> int:
        nr_now = self.cpus[index].bit_count()
        util, peak = self.utilisation[index].wanted(nr_now, elapsed_s)
        layer, cores = self.layers[index], self.cores
        return target(layer, util, peak, nr_now, cores.nr_cpus, cores.unit)

    def _demand(self, index: int) -> Demand:
        layer, unit = self.layers[index], self.cores.unit
        if layer.is_open:
            return Demand(0)
        most = sum(
            core.cpus.bit_count()
            for core in self.cores.all
            if not core.cpus & ~self._allowed[index]
        )
        units = min(-(-self.targets[index] // unit), most // unit)
        least = -(-layer.cpus_range(self.cores.nr_cpus)[0] // unit)
        return Demand(
            units,
            layer.weight,
            min(least, units),
            self._tiers[index],
            layer.options.growth_algo in SPREAD and len(self._caps) > 1,
        )

    def _budgets(self, demands: list[Demand]) -> list[int]:
        """The units of each layer; one stays free if protected layers would take all of them."""
        total = sum(self._caps.values())
        granted = budgets(total, demands)
        protected = sum(
            units
            for layer, units in zip(self.layers, granted, strict=True)
            if layer.options.protected
        )
        if protected == total > 1 and 0 in granted:
            granted = budgets(total - 1, demands)
        # What a layer that spreads cannot have evenly, others get.
        placed = place(self._caps, demands, granted)
        for index, (demand, nodes) in enumerate(zip(demands, placed, strict=True)):
            if demand.spread and sum(nodes.values()) < granted[index]:
                units = sum(nodes.values())
                least = min(demand.least, units)
                demands[index] = demand._replace(units=units, least=least)
        return budgets(sum(granted), demands)
