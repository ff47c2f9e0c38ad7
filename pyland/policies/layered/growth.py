# SPDX-License-Identifier: GPL-2.0-only
"""The order in which a layer takes cores as it grows, for each `growth_algo` of scx_layered.

An order has a list of cores for each node. Layers begin at different cores, so that each finds
free ones near those that it has.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import chain, zip_longest

from pyland.policies.layered.cores import Cores
from pyland.policies.layered.layers import Layer

Order = dict[int, list[int]]
"""By node: numbers of cores, in the order in which the layer takes them."""

SPREAD = ("NodeSpread", "NodeSpreadReverse", "NodeSpreadRandom")
"""The algorithms that take the same number of CPUs from every node."""


def node_order(layers: Sequence[Layer], index: int, cores: Cores) -> list[int]:
    """The nodes from which a layer takes cores, the preferred first.

    If the layer names nodes, these. Else all nodes, rotated by the layer's number; the nodes that
    other layers name come last.
    """
    named = [node for node in layers[index].options.nodes if node in cores.of_node]
    if named:
        return named
    nodes = list(cores.of_node)
    start = index % len(nodes)
    nodes = nodes[start:] + nodes[:start]
    others = [layer.options.nodes for number, layer in enumerate(layers) if number != index]
    longest = max(map(len, others), default=0)

    def claims(node: int) -> list[int]:
        return [
            sum(place < len(named) and named[place] == node for named in others)
            for place in range(longest)
        ]

    return sorted(nodes, key=claims)


def node_tiers(layers: Sequence[Layer], index: int, cores: Cores) -> list[list[int]]:
    """The nodes in tiers: the nodes of a tier are filled evenly before the next tier begins."""
    order = node_order(layers, index, cores)
    if layers[index].options.growth_algo == "RoundRobin":
        return [order]
    return [[node] for node in order]


def core_order(
    layers: Sequence[Layer], index: int, cores: Cores, cpusets: Iterable[int] = ()
) -> Order:
    """The order of the layer with this number; `cpusets` are the masks of the cgroups' CPU sets."""
    make = _Maker(layers, index, cores, disjoint(cpusets))
    algorithm = make.algorithms[layers[index].options.growth_algo]
    allowed = cores.allowed(layers[index])
    order = {}
    for node in node_order(layers, index, cores):
        taken = algorithm(node)
        # An algorithm may leave out cores, such as those outside of all CPU sets: they come last.
        taken += [core for core in cores.of_node[node] if core not in set(taken)]
        order[node] = [core for core in taken if not cores.all[core].cpus & ~allowed]
    return order


def disjoint(masks: Iterable[int]) -> list[int]:
    """The CPU sets without overlaps: of two that overlap, only the smaller one is kept."""
    kept: list[int] = []
    for mask in sorted(set(masks) - {0}, key=lambda mask: (mask.bit_count(), mask)):
        if not any(mask & other for other in kept):
            kept.append(mask)
    return sorted(kept, key=lambda mask: mask & -mask)


def _interleaved(groups: Iterable[Sequence[int]]) -> list[int]:
    columns = zip_longest(*groups)
    return [core for core in chain.from_iterable(columns) if core is not None]


def _rotated(items: list[int], left: int) -> list[int]:
    """The items, rotated by `left` places to the left; to the right if it is negative."""
    if not items:
        return items
    left %= len(items)
    return items[left:] + items[:left]


class _Maker:
    """The orders of one layer, node by node."""

    def __init__(
        self, layers: Sequence[Layer], index: int, cores: Cores, cpusets: list[int]
    ) -> None:
        self._layers, self._index, self._cores, self._cpusets = layers, index, cores, cpusets
        self._options = layers[index].options
        self._random = random.Random(index)
        self.algorithms: Mapping[str, Callable[[int], list[int]]] = {
            "Sticky": self._sticky,
            "Linear": self._linear,
            "Reverse": self._reverse,
            "Random": self._shuffled,
            "Topo": self._topo,
            "RoundRobin": self._round_robin,
            "BigLittle": self._big_little,
            "LittleBig": self._little_big,
            "NodeSpread": self._linear,
            "NodeSpreadReverse": self._reverse,
            "NodeSpreadRandom": self._shuffled,
            "CpuSetSpread": self._by_cpuset,
            "CpuSetSpreadReverse": lambda node: self._by_cpuset(node, reverse=True),
            "CpuSetSpreadRandom": lambda node: self._by_cpuset(node, shuffle=True),
            "RandomTopo": self._random_topo,
            "StickyDynamic": self._sticky,
        }

    def _offset(self, order: list[int]) -> list[int]:
        """Layers share the node's cores evenly: each begins with its own part."""
        chunk = -(-len(order) // len(self._layers))
        return _rotated(order, -min(chunk * self._index, len(order)))

    def _sticky(self, node: int) -> list[int]:
        order = self._offset(self._cores.of_node[node][:])
        for llc in self._cores.by_llc(node):
            by = (len(llc) + 2 * self._index) % len(llc)
            order = _rotated(order, by if self._index % 2 == 0 else -by)
        return order

    def _linear(self, node: int) -> list[int]:
        order = self._cores.of_node[node][:]
        return order if self._options.llcs else self._offset(order)

    def _reverse(self, node: int) -> list[int]:
        return self._linear(node)[::-1]

    def _shuffled(self, node: int) -> list[int]:
        order = self._cores.of_node[node][:]
        self._random.shuffle(order)
        return order

    def _shuffled_llcs(self, node: int) -> list[list[int]]:
        llcs = self._cores.by_llc(node)
        self._random.shuffle(llcs)
        for llc in llcs:
            self._random.shuffle(llc)
        return llcs

    def _random_topo(self, node: int) -> list[int]:
        return [*chain.from_iterable(self._shuffled_llcs(node))]

    def _round_robin(self, node: int) -> list[int]:
        return _interleaved(self._shuffled_llcs(node))

    def _topo(self, node: int) -> list[int]:
        if not self._options.llcs and not self._options.nodes:
            return self._round_robin(node)
        wanted = set(self._options.llcs)
        cores = self._cores
        return sorted(cores.of_node[node], key=lambda core: cores.all[core].llc not in wanted)

    def _big_little(self, node: int) -> list[int]:
        cores = self._cores
        return sorted(cores.of_node[node], key=lambda core: -cores.all[core].capacity)

    def _little_big(self, node: int) -> list[int]:
        cores = self._cores
        return sorted(cores.of_node[node], key=lambda core: cores.all[core].capacity)

    def _by_cpuset(self, node: int, *, reverse: bool = False, shuffle: bool = False) -> list[int]:
        cores, groups = self._cores, []
        for mask in self._cpusets:
            inside = [core for core in cores.of_node[node] if not cores.all[core].cpus & ~mask]
            if shuffle:
                self._random.shuffle(inside)
            groups.append(inside)
        order = _interleaved(groups)
        return self._offset(order[::-1] if reverse else order)
