# SPDX-License-Identifier: GPL-2.0-only
"""The machine's cores, numbered node by node and cache by cache. CPU sets are masks in an int."""

from __future__ import annotations

from collections.abc import Callable
from math import gcd
from typing import NamedTuple

from pyland.policies.layered.layers import Layer
from pyland.topology import Cpu, Topology


class Core(NamedTuple):
    """One core; its CPUs are SMT siblings."""

    cpus: int
    llc: int
    node: int
    capacity: int


def lowest(mask: int) -> int:
    """The mask of its first CPU; 0 of an empty one."""
    return mask & -mask


class Cores:
    """All cores that are online."""

    def __init__(self, topology: Topology, *, partial: bool = False) -> None:
        """With `partial`, layers may share the SMT siblings of a core: each CPU is a core."""
        found: dict[int, list[Cpu]] = {}
        for cpu in topology.cpus:
            key = cpu.id if partial else min(cpu.smt_siblings)
            found.setdefault(key, []).append(cpu)
        cores = [
            Core(sum(1 << one.id for one in cpus), cpus[0].llc, cpus[0].node, cpus[0].capacity)
            for cpus in found.values()
        ]
        cores.sort(key=lambda core: (core.node, core.llc, lowest(core.cpus)))
        self.all = tuple(cores)
        self.mask = sum(core.cpus for core in cores)
        """All CPUs."""
        self.nr_cpus = self.mask.bit_count()
        self.unit = gcd(*(core.cpus.bit_count() for core in cores)) if cores else 1
        """How many CPUs are given at a time: those of a core, if all have as many."""
        self.of_node = self._grouped(lambda core: core.node)
        """By node: the numbers of its cores."""
        self.node_masks = {node: self._mask(cores) for node, cores in self.of_node.items()}
        self.llc_masks = {
            llc: self._mask(cores) for llc, cores in self._grouped(lambda core: core.llc).items()
        }

    def _grouped(self, key: Callable[[Core], int]) -> dict[int, list[int]]:
        groups: dict[int, list[int]] = {}
        for number, core in enumerate(self.all):
            groups.setdefault(key(core), []).append(number)
        return dict(sorted(groups.items()))

    def _mask(self, cores: list[int]) -> int:
        return sum(self.all[number].cpus for number in cores)

    def by_llc(self, node: int) -> list[list[int]]:
        """The cores of a node, in a list for each cache."""
        groups: dict[int, list[int]] = {}
        for number in self.of_node[node]:
            groups.setdefault(self.all[number].llc, []).append(number)
        return list(groups.values())

    def allowed(self, layer: Layer) -> int:
        """The CPUs that the layer may have: of its `nodes` and `llcs`, and of its cgroup."""
        mask = self.mask
        if layer.options.nodes or layer.options.llcs:
            mask = 0
            for node in layer.options.nodes:
                mask |= self.node_masks.get(node, 0)
            for llc in layer.options.llcs:
                mask |= self.llc_masks.get(llc, 0)
        return mask if layer.cpuset is None else mask & layer.cpuset
