# SPDX-License-Identifier: GPL-2.0-only
"""Which layer owns which core. A core has one owner or none, so no CPU is in two layers' sets."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pyland.policies.layered.cores import Cores
from pyland.policies.layered.growth import Order

_FREE = -1


class Pool:
    """All cores, and the layers' orders of taking them."""

    def __init__(self, cores: Cores, orders: Sequence[Order], moving: Iterable[int] = ()) -> None:
        """All cores are free. Layers in `moving` take whole caches if they can (StickyDynamic)."""
        self._cores, self._orders = cores, orders
        self._owner = [_FREE] * len(cores.all)
        self._moving = frozenset(moving)

    def cpus(self, layer: int) -> int:
        """The mask of a layer's CPUs."""
        return self._mask(layer)

    @property
    def free(self) -> int:
        """The mask of the CPUs that no layer owns."""
        return self._mask(_FREE)

    def _mask(self, owner: int) -> int:
        return sum(
            core.cpus
            for core, own in zip(self._cores.all, self._owner, strict=True)
            if own == owner
        )

    def _size(self, core: int) -> int:
        return self._cores.all[core].cpus.bit_count()

    def _on_node(self, layer: int, node: int) -> int:
        """How many CPUs a layer has there."""
        of_node = self._cores.of_node[node]
        return sum(self._size(core) for core in of_node if self._owner[core] == layer)

    def resize(self, targets: Sequence[dict[int, int]]) -> None:
        """Give each layer so many CPUs of each node, rounded up to whole cores where it must be.

        Layers keep the cores that they have. They give back those that they took last.
        """
        by_size = sorted(range(len(targets)), key=lambda layer: sum(targets[layer].values()))
        for layer in reversed(by_size):
            for node, wanted in targets[layer].items():
                self._shrink(layer, node, wanted)
        # The fewer cores a layer can have, the sooner it takes them.
        by_choice = sorted(by_size, key=lambda layer: sum(map(len, self._orders[layer].values())))
        for layer in by_choice:
            for node in self._orders[layer]:
                self._grow(layer, node, targets[layer].get(node, 0))

    def _shrink(self, layer: int, node: int, wanted: int) -> None:
        surplus = self._on_node(layer, node) - wanted
        order = self._order(layer, node)
        # Cores that are not in the order, if there are any, go first.
        stray = [core for core in self._cores.of_node[node] if core not in set(order)]
        for core in [*stray, *reversed(order)]:
            if self._owner[core] == layer and self._size(core) <= surplus:
                self._owner[core] = _FREE
                surplus -= self._size(core)

    def _grow(self, layer: int, node: int, wanted: int) -> None:
        missing = wanted - self._on_node(layer, node)
        order = self._order(layer, node)
        for exchange in (False, True):
            for core in order:
                if missing <= 0:
                    return
                if self._owner[core] == _FREE or (exchange and self._made_free(core, layer)):
                    self._owner[core] = layer
                    missing -= self._size(core)

    def _made_free(self, core: int, for_layer: int) -> bool:
        """Let the core's owner take another core of the node instead; False if none is free."""
        owner = self._owner[core]
        if owner == for_layer:
            return False
        one = self._cores.all[core]
        for other in self._orders[owner].get(one.node, ()):
            if self._owner[other] == _FREE and self._size(other) == self._size(core):
                self._owner[other] = owner
                return True
        return False

    def _order(self, layer: int, node: int) -> list[int]:
        order = self._orders[layer].get(node, [])
        if layer not in self._moving:
            return order
        all_cores = self._cores.all
        mine: Counter[int] = Counter()
        others: Counter[int] = Counter()
        for core, owner in zip(all_cores, self._owner, strict=True):
            if owner == layer:
                mine[core.llc] += 1
            elif owner != _FREE:
                others[core.llc] += 1

        def near(core: int) -> tuple[int, int]:
            llc = all_cores[core].llc
            return -mine[llc], others[llc]

        return sorted(order, key=near)
