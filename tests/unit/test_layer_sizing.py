# SPDX-License-Identifier: GPL-2.0-only
"""How many CPUs layers get, and which: under any use, on any machine."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyland.policies.layered.balance import moves
from pyland.policies.layered.cores import Cores
from pyland.policies.layered.layers import GROWTH_ALGORITHMS, Layer, Options
from pyland.policies.layered.shares import Demand, budgets, largest_remainder, place, water_fill
from pyland.policies.layered.sizing import Sizer
from pyland.policies.layered.utilisation import (
    Usage,
    Utilisation,
    compensation,
    target,
    target_range,
)
from pyland.testing import make_topology
from pyland.topology import Topology

ALL = ((),)


def layer(kind: Any = "Confined", **options: Any) -> Layer:
    if kind != "Open":
        options.setdefault("util_range", (0.5, 0.8))
    return Layer("x", kind, ALL, Options(**options))


def steady(sizer: Sizer, cpus_used: list[float], seconds: float = 3) -> None:
    """Let each layer use so many CPUs for a while."""
    for _ in range(int(seconds * 10)):
        sizer.step(0.1, [Usage(used * 0.1) for used in cpus_used])


machines = st.sampled_from(
    [
        make_topology(1),
        make_topology(2),
        make_topology(4, threads=2),
        make_topology(8, llcs=2),
        make_topology(16, nodes=2, llcs=2, threads=2),
        make_topology(12, nodes=3),
    ]
)


@st.composite
def layer_lists(draw: st.DrawFn) -> list[Layer]:
    def one() -> Layer:
        kind = draw(st.sampled_from(("Confined", "Grouped", "Grouped", "Open")))
        options: dict[str, Any] = {
            "growth_algo": draw(st.sampled_from(GROWTH_ALGORITHMS)),
            "weight": draw(st.sampled_from((1, 100, 10_000))),
        }
        if kind != "Open":
            low = draw(st.sampled_from((0.0, 0.01, 0.5)))
            options["util_range"] = (low, draw(st.sampled_from((0.6, 0.99))))
            options["protected"] = draw(st.booleans())
            least = draw(st.integers(0, 6))
            options["cpus_range"] = draw(
                st.sampled_from((None, (least, max(least, 1)), (least, least + 3)))
            )
        return layer(kind, **options)

    return [one() for _ in range(draw(st.integers(1, 6)))]


uses = st.lists(st.lists(st.floats(0, 20), min_size=6, max_size=6), min_size=1, max_size=12)


@settings(max_examples=300, deadline=None)
@given(machines, layer_lists(), uses, st.booleans())
def test_the_promises_of_sizing(
    topology: Topology, layers: list[Layer], steps: list[list[float]], partial: bool
) -> None:
    cores = Cores(topology, partial=partial)
    sizer = Sizer(layers, cores)
    for used in steps:
        sizer.step(0.1, [Usage(use * 0.1, use * 0.01) for use in used[: len(layers)]])
        owned = [
            (one, mask) for one, mask in zip(layers, sizer.cpus, strict=True) if not one.is_open
        ]
        # No CPU is in two layers' sets, and all CPUs are in one, or free for those that are open.
        assert sum(mask.bit_count() for _, mask in owned) + sizer.free.bit_count() == cores.nr_cpus
        assert sizer.free | sum(mask for _, mask in owned) == cores.mask
        for one, mask in zip(layers, sizer.cpus, strict=True):
            if one.is_open:
                assert mask == sizer.free
        # Whole cores.
        for _, mask in owned:
            assert all(core.cpus & mask in (0, core.cpus) for core in cores.all)
        # The ranges are kept; the least as far as the machine has as many CPUs.
        wanted = sum(-(-one.cpus_range(cores.nr_cpus)[0] // cores.unit) for one, _ in owned)
        spread = any(one.options.growth_algo.startswith("NodeSpread") for one, _ in owned)
        for one, mask in owned:
            least, most = one.cpus_range(cores.nr_cpus)
            assert mask.bit_count() <= -(-min(most, cores.nr_cpus) // cores.unit) * cores.unit
            if (wanted + 1) * cores.unit <= cores.nr_cpus and not spread:
                assert mask.bit_count() >= least
        # No task is without a CPU, and protected CPUs are touched by no other layer's tasks,
        # if there are CPUs enough for one unit each.
        for index in range(len(layers)):
            if not sizer.cpus[index]:
                assert sizer.fallback(index) & cores.mask
                if cores.nr_cpus > cores.unit:
                    assert not sizer.fallback(index) & sizer.protected


@settings(max_examples=300, deadline=None)
@given(
    st.integers(0, 64),
    st.lists(st.tuples(st.integers(0, 40), st.integers(1, 10_000)), min_size=1, max_size=8),
)
def test_water_fill_wastes_nothing_and_gives_nothing_unwanted(
    pool: int, entries: list[tuple[int, int]]
) -> None:
    demands, weights = [d for d, _ in entries], [w for _, w in entries]
    parts = water_fill(pool, demands, weights)
    assert sum(parts) == min(pool, sum(demands))
    assert all(0 <= part <= demand for part, demand in zip(parts, demands, strict=True))


@settings(max_examples=300, deadline=None)
@given(
    st.lists(st.integers(1, 12), min_size=1, max_size=4),
    st.lists(
        st.tuples(st.integers(0, 30), st.integers(1, 500), st.integers(0, 8), st.integers(0, 3)),
        min_size=1,
        max_size=6,
    ),
)
def test_what_is_placed_fits_and_is_all_that_was_granted(
    caps: list[int], wanted: list[tuple[int, int, int, int]]
) -> None:
    nodes = dict(enumerate(caps))
    total = sum(caps)
    demands = [
        Demand(units, weight, least, tuple((n,) for n in sorted(nodes, key=lambda n: n != first)))
        for units, weight, least, first in wanted
    ]
    granted = budgets(total, demands)
    assert sum(granted) == min(total, sum(demand.units for demand in demands))
    placed = place(nodes, demands, granted)
    assert [sum(each.values()) for each in placed] == granted
    for node, cap in nodes.items():
        assert sum(each[node] for each in placed) <= cap


def test_shares_by_hand() -> None:
    assert largest_remainder(10, [1, 1, 1]) == [4, 3, 3]
    assert water_fill(10, [2, 20, 20], [100, 100, 300]) == [2, 2, 6]
    # What is least comes first, then one for each, then weights.
    assert budgets(8, [Demand(8, 1, 4), Demand(8, 1000), Demand(1, 1)]) == [4, 3, 1]
    spread = Demand(7, spread=True, tiers=((0,), (1,)))
    pinned = Demand(3, tiers=((0,),))
    assert place({0: 4, 1: 4}, [spread, pinned], [7, 3]) == [{0: 1, 1: 1}, {0: 3, 1: 0}]
    even = Demand(5, tiers=((0, 1),))
    assert place({0: 4, 1: 4}, [even], [5]) == [{0: 3, 1: 2}]


def test_a_layer_follows_its_use_within_its_range() -> None:
    sizer = Sizer([layer(cpus_range=(1, 6)), layer("Open")], Cores(make_topology(8)))
    assert sizer.cpus[0].bit_count() == 1
    steady(sizer, [2.0, 0])
    assert sizer.cpus[0].bit_count() == 3  # 2 / 0.8, rounded up
    steady(sizer, [8.0, 0])
    assert sizer.cpus[0].bit_count() == 6
    # Within the range it keeps what it has: 3.2 / 0.5 is 6.
    steady(sizer, [3.2, 0])
    assert sizer.cpus[0].bit_count() == 6
    steady(sizer, [0, 0])
    assert sizer.cpus[0].bit_count() == 1
    assert sizer.cpus[1].bit_count() == 7


def test_it_follows_within_a_second() -> None:
    sizer = Sizer([layer(), layer("Open")], Cores(make_topology(16)))
    steady(sizer, [4.0, 0], seconds=1)
    assert sizer.cpus[0].bit_count() == 5
    steady(sizer, [0.5, 0], seconds=1)
    assert sizer.cpus[0].bit_count() <= 2


def test_weights_count_where_layers_want_more_than_there_is() -> None:
    layers = [layer(weight=300), layer(), layer(util_range=(0.1, 0.2))]
    sizer = Sizer(layers, Cores(make_topology(16)))
    steady(sizer, [16, 16, 0.4])
    assert [mask.bit_count() for mask in sizer.cpus] == [10, 4, 2]


def test_a_peak_keeps_a_layer_from_shrinking() -> None:
    layers = [layer(util_peak_half_life_ms=10_000), layer()]
    sizer = Sizer(layers, Cores(make_topology(8)))
    steady(sizer, [2, 2])
    steady(sizer, [0.5, 0.5], seconds=1)
    with_peak, without = (mask.bit_count() for mask in sizer.cpus)
    assert (with_peak, without) == (3, 1)
    steady(sizer, [0.5, 0.5], seconds=40)
    assert sizer.cpus[0].bit_count() == 1


def test_open_time_counts_for_a_layer_without_a_cpu_or_if_it_says_so() -> None:
    for options, counts in (({}, False), ({"util_includes_open_cputime": True}, True)):
        one = Utilisation(layer("Grouped", **options))
        for _ in range(50):
            one.add(Usage(1.0 * 0.1, 0.5 * 0.1), 0.1)
        assert one.wanted(2, 0.1)[0] == pytest.approx(1.5 if counts else 1.0)
        assert one.wanted(0, 0.1)[0] == pytest.approx(1.5)


def test_targets_by_hand() -> None:
    assert target_range(2.0, 2.0, (0.5, 0.8)) == (3, 4)
    assert target_range(2.0, 4.0, (0.5, 0.8)) == (3, 8)
    assert target_range(0.0, 0.0, (0.5, 0.8)) == (0, 0)
    assert target_range(0.9, 0.9, (0, 0.9)) == (1, float("inf"))
    one = layer()
    assert target(one, 2.0, 2.0, 0, 8) == 3
    assert target(one, 0.0, 0.0, 8, 8) == 4  # half of the way
    assert target(one, 0.0, 0.0, 1, 8) == 0
    assert target(one, 0.0, 0.0, 8, 8, unit=2) == 4
    assert target(one, 0.0, 0.0, 2, 8, unit=2) == 0  # half of it is less than a core
    assert target(one, 1.7, 1.7, 4, 8, unit=2) == 3  # two CPUs would be too few
    assert target(layer(cpus_range=(5, 5)), 0, 0, 0, 4) == 4
    assert compensation(0.1, [0, 0.05]) == pytest.approx(1.5)
    assert compensation(0.1, [0.1]) == 20
    assert compensation(0.0, [0.1]) == compensation(0.1, []) == 1


def test_a_layer_that_spreads_has_as_many_cpus_of_every_node() -> None:
    cores = Cores(make_topology(16, nodes=2, threads=2))
    sizer = Sizer([layer(growth_algo="NodeSpread"), layer("Open")], cores)
    steady(sizer, [6, 0])
    on_node = [(sizer.cpus[0] & mask).bit_count() for mask in cores.node_masks.values()]
    assert on_node == [4, 4]


def test_a_dynamic_layer_keeps_to_a_cache() -> None:
    cores = Cores(make_topology(16, llcs=4))
    layers = [layer(growth_algo="StickyDynamic"), layer(growth_algo="StickyDynamic")]
    sizer = Sizer(layers, cores)
    steady(sizer, [3.0, 3.0])
    for mask in sizer.cpus:
        assert mask.bit_count() == 4
        assert mask in cores.llc_masks.values()


def test_a_layer_bound_to_a_cache_gets_its_least_there() -> None:
    """The other layer had taken the cores; it moves to free ones of the node."""
    cores = Cores(make_topology(8, llcs=2))
    layers = [layer(growth_algo="Linear"), layer(llcs=(0,), cpus_range=(1, 3))]
    sizer = Sizer(layers, cores)
    steady(sizer, [4.0, 0])
    steady(sizer, [4.0, 2.0])
    assert sizer.cpus[1].bit_count() == 3
    assert not sizer.cpus[1] & ~0b1111
    assert sizer.cpus[0].bit_count() == 5


def test_cpusets_of_templates_limit_a_layer() -> None:
    cores = Cores(make_topology(8))
    bound = layer()._replace(cpuset=0b1100)
    sizer = Sizer([bound, layer("Open")], cores)
    steady(sizer, [6.0, 0])
    assert sizer.cpus[0] == 0b1100


def test_layers_change_no_more_than_they_must() -> None:
    sizer = Sizer([layer(), layer()], Cores(make_topology(16)))
    steady(sizer, [3.0, 3.0])
    before = list(sizer.cpus)
    steady(sizer, [4.0, 3.0])
    assert sizer.cpus[0] & before[0] == before[0]
    assert sizer.cpus[1] == before[1]


def test_tasks_move_to_where_fewer_share_a_cpu() -> None:
    found = moves(
        [[(4, 6, 2), (5, 2, 2)], [(7, 9, 1)], [(8, 3, 3), (9, 0, 1)], [(1, 3, 2), (2, 2, 2)]]
    )
    assert {number: (move.target, move.left) for number, move in found.items()} == {4: (5, 2)}
    # By the number of CPUs: 8 tasks on 6 CPUs, 4 of them on the four.
    (move,) = moves([[(1, 8, 2), (2, 1, 4)]]).values()
    assert (move.target, move.left) == (2, 5)
