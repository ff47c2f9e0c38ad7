# SPDX-License-Identifier: GPL-2.0-only
"""The order in which layers take cores."""

from __future__ import annotations

from typing import Any

import pytest

from pyland.cpumask import cpus_of
from pyland.policies.layered.cores import Cores
from pyland.policies.layered.growth import core_order, disjoint, node_order, node_tiers
from pyland.policies.layered.layers import GROWTH_ALGORITHMS, Layer, Options
from pyland.testing import make_topology


def layer(**options: Any) -> Layer:
    return Layer("x", "Confined", ((),), Options(util_range=(0.5, 0.8), **options))


@pytest.mark.parametrize("algorithm", GROWTH_ALGORITHMS)
@pytest.mark.parametrize("index", range(3))
def test_every_order_has_every_core_once(algorithm: str, index: int) -> None:
    cores = Cores(make_topology(24, nodes=2, llcs=2, threads=2))
    layers = [layer(growth_algo=algorithm) for _ in range(3)]
    order = core_order(layers, index, cores, [0x0F, 0xF0])
    assert {node: sorted(found) for node, found in order.items()} == cores.of_node
    assert order == core_order(layers, index, cores, [0x0F, 0xF0])


def test_orders_by_hand() -> None:
    cores = Cores(make_topology(8, llcs=2))
    two = [layer(growth_algo="Linear"), layer(growth_algo="Reverse")]
    assert core_order(two, 0, cores)[0] == [0, 1, 2, 3, 4, 5, 6, 7]
    assert core_order(two, 1, cores)[0] == [3, 2, 1, 0, 7, 6, 5, 4]
    topo = [layer(growth_algo="Topo", llcs=(1,), nodes=(0,))]
    assert core_order(topo, 0, cores)[0] == [4, 5, 6, 7, 0, 1, 2, 3]
    robin = [one // 4 for one in core_order([layer(growth_algo="RoundRobin")], 0, cores)[0]]
    assert robin in ([0, 1] * 4, [1, 0] * 4)
    random = [one // 4 for one in core_order([layer(growth_algo="RandomTopo")], 0, cores)[0]]
    assert random in ([0] * 4 + [1] * 4, [1] * 4 + [0] * 4)
    spread = core_order([layer(growth_algo="CpuSetSpread")], 0, cores, [0b1111, 0b11110000])[0]
    assert spread == [0, 4, 1, 5, 2, 6, 3, 7]
    assert disjoint([0b11, 0b1111, 0b1100, 0, 0b0110]) == [0b11, 0b1100]


def test_big_cores_first_or_last() -> None:
    plain = make_topology(4)
    cpus = tuple(cpu._replace(capacity=1024 if cpu.id > 1 else 512) for cpu in plain.cpus)
    cores = Cores(plain._replace(cpus=cpus))
    assert core_order([layer(growth_algo="BigLittle")], 0, cores)[0] == [2, 3, 0, 1]
    assert core_order([layer(growth_algo="LittleBig")], 0, cores)[0] == [0, 1, 2, 3]


def test_nodes_begin_where_other_layers_do_not() -> None:
    cores = Cores(make_topology(8, nodes=4))
    layers = [layer(nodes=(0, 1)), layer(nodes=(2,)), layer()]
    assert node_order(layers, 2, cores) == [3, 1, 2, 0]
    assert node_order(layers, 0, cores) == [0, 1]
    assert node_tiers([layer(growth_algo="RoundRobin")], 0, cores) == [[0, 1, 2, 3]]
    assert node_tiers([layer()], 0, cores) == [[0], [1], [2], [3]]


def test_masks() -> None:
    assert list(cpus_of(0b101001)) == [0, 3, 5]
    cores = Cores(make_topology(4, threads=2))
    assert (cores.unit, len(cores.all)) == (2, 2)
    assert Cores(make_topology(4, threads=2), partial=True).unit == 1
