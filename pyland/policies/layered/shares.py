# SPDX-License-Identifier: GPL-2.0-only
"""How many CPUs of which node each layer gets, where layers want more than there are.

All numbers are in units: a unit is the CPUs of one core, or one CPU. What is shared out is the sum
of what is wanted, or all units if that is less; no layer gets more than it wants.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple


class Demand(NamedTuple):
    """How many units one layer wants, and from which nodes."""

    units: int
    weight: int = 100
    least: int = 0
    """Units that the layer gets first, whatever the weights are; at most `units`."""
    tiers: tuple[tuple[int, ...], ...] = ((0,),)
    """Its nodes, the preferred tier first; it takes evenly from the nodes of one tier."""
    spread: bool = False
    """True if it takes the same number of units from every node."""


def largest_remainder(total: int, quotas: Sequence[float]) -> list[int]:
    """`total` in whole parts that are proportional to the quotas (Hamilton's method)."""
    whole = sum(quotas)
    if not whole:
        return [0] * len(quotas)
    exact = [quota * total / whole for quota in quotas]
    parts = [int(part) for part in exact]
    by_remainder = sorted(range(len(parts)), key=lambda i: parts[i] - exact[i])
    for index in by_remainder[: total - sum(parts)]:
        parts[index] += 1
    return parts


def water_fill(pool: int, demands: Sequence[int], weights: Sequence[float]) -> list[int]:
    """`pool` shared out by weight, nothing above a demand; sums to the pool or all demands.

    Complexity: at most as many rounds as there are demands.
    """
    result = [0] * len(demands)
    rest = [index for index, demand in enumerate(demands) if demand > 0]
    while rest and pool > 0:
        parts = largest_remainder(pool, [weights[index] for index in rest])
        full = [i for i, part in zip(rest, parts, strict=True) if part >= demands[i]]
        if not full:
            for index, part in zip(rest, parts, strict=True):
                result[index] = part
            break
        for index in full:
            result[index] = demands[index]
            pool -= demands[index]
        rest = [index for index in rest if index not in full]
    return result


def budgets(total: int, demands: Sequence[Demand]) -> list[int]:
    """How many units each layer gets.

    First what is least, then one for each layer that has none yet, then the rest by weight.
    """
    weights = [demand.weight for demand in demands]
    granted = [0] * len(demands)
    for wanted in (
        [min(demand.least, demand.units) for demand in demands],
        [min(demand.units, 1) for demand in demands],
        [demand.units for demand in demands],
    ):
        missing = [max(most - has, 0) for most, has in zip(wanted, granted, strict=True)]
        more = water_fill(total - sum(granted), missing, weights)
        granted = [has + part for has, part in zip(granted, more, strict=True)]
    return granted


Placed = list[dict[int, int]]
"""By layer and node: how many of the layer's units are on the node."""


def place(caps: dict[int, int], demands: Sequence[Demand], units: Sequence[int]) -> Placed:
    """The nodes for the units that each layer gets; `caps` are the nodes' units.

    Layers that may not have all nodes come first, then those that spread, with as many units on
    every node as the fullest one has left; then all others, tier by tier. A layer gets less than
    its units only if its nodes are full.
    """
    free = dict(caps)
    placed = [dict.fromkeys(caps, 0) for _ in demands]
    bound = [sum(map(len, demand.tiers)) < len(caps) and not demand.spread for demand in demands]
    first = [number if is_bound else 0 for number, is_bound in zip(units, bound, strict=True)]
    _place_tiers(free, demands, first, placed)
    rest = [0 if is_bound else number for number, is_bound in zip(units, bound, strict=True)]
    _place_spread(free, demands, rest, placed)
    _place_tiers(free, demands, rest, placed)
    return placed


def _place_tiers(
    free: dict[int, int], demands: Sequence[Demand], rest: list[int], placed: Placed
) -> None:
    for tier in range(max((len(demand.tiers) for demand in demands), default=0)):
        _place_tier(free, demands, rest, placed, tier)


def _place_spread(
    free: dict[int, int], demands: Sequence[Demand], rest: list[int], placed: Placed
) -> None:
    spreading = [index for index, demand in enumerate(demands) if demand.spread]
    if not spreading or not free:
        return
    narrow = min(free.values())
    each = [-(-rest[index] // len(free)) for index in spreading]
    granted = water_fill(narrow, each, [demands[index].weight for index in spreading])
    for index, number in zip(spreading, granted, strict=True):
        for node in free:
            taken = min(number, rest[index])
            placed[index][node] = taken
            free[node] -= taken
            rest[index] -= taken
        # What is left cannot be divided evenly among the nodes, so the layer does not get it.
        rest[index] = 0


def _place_tier(
    free: dict[int, int], demands: Sequence[Demand], rest: list[int], placed: Placed, tier: int
) -> None:
    """Place what fits into the nodes of this tier, until no node has room for a layer."""
    while True:
        wanted: dict[int, dict[int, int]] = {}
        for index, demand in enumerate(demands):
            if not rest[index] or tier >= len(demand.tiers):
                continue
            nodes = [node for node in demand.tiers[tier] if free.get(node)]
            room = [free[node] for node in nodes]
            for node, part in zip(nodes, water_fill(rest[index], room, room), strict=True):
                if part:
                    wanted.setdefault(node, {})[index] = part
        if not wanted:
            return
        for node, parts in wanted.items():
            weights = [demands[index].weight for index in parts]
            for index, part in zip(
                parts, water_fill(free[node], [*parts.values()], weights), strict=True
            ):
                placed[index][node] += part
                free[node] -= part
                rest[index] -= part
