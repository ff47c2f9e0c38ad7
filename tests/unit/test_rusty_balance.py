# SPDX-License-Identifier: GPL-2.0-only
"""The balancer of `rusty`: what moves where, and what never happens."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyland.policies.rusty.balance import (
    TASKS_MAX,
    DomainLoad,
    Node,
    TaskLoad,
    balance,
    build,
    imbalance,
)


def domain(
    *loads: float, cpus: int = 4, node: int = 0, first: int = 0, allowed: int = -1
) -> DomainLoad:
    tasks = [TaskLoad(first + at, load, allowed) for at, load in enumerate(loads)]
    return DomainLoad(sum(loads), cpus, node, tasks)


def loads(nodes: list[Node]) -> dict[int, float]:
    return {one.number: one.load for node in nodes for one in node.domains}


def test_sixteen_tasks_that_began_on_one_cache_are_shared_out_in_one_round() -> None:
    nodes = build([domain(*[100.0] * 16), domain()])
    moves = balance(nodes)
    assert len(moves) == 8
    assert loads(nodes) == {0: 800, 1: 800}
    assert all((move.source, move.target, move.load) == (0, 1, 100.0) for move in moves)


def test_what_is_balanced_stays() -> None:
    nodes = build([domain(*[100.0] * 8), domain(*[100.0] * 8, first=50)])
    assert balance(nodes) == []
    nodes = build([domain(103, 100, 100), domain(97, 100, 100, first=50)])
    assert balance(nodes) == []


def test_a_task_that_would_only_change_places_stays() -> None:
    """One task and two caches: it would be on the wrong one again in the next round."""
    assert balance(build([domain(100.0), domain()])) == []


def test_the_task_nearest_the_wanted_load_moves() -> None:
    """400 above, 400 below: 200 are wanted. 260 leaves 140 of each, 150 leaves 250."""
    nodes = build([domain(150, 10, 260, 1380), domain(1000, first=50)])
    assert balance(nodes)[0].load == 260


def test_a_larger_domain_has_a_larger_part() -> None:
    nodes = build([domain(*[100.0] * 12, cpus=6), domain(cpus=2)])
    balance(nodes)
    assert loads(nodes) == {0: 900, 1: 300}


def test_nodes_come_first_and_bear_more() -> None:
    """Ten percent is within what nodes may differ, and not what domains may."""
    near = [domain(110.0, *[100.0] * 10), domain(*[100.0] * 9, node=1, first=50)]
    assert balance(build(near)) == []
    same = [domain(110.0, *[100.0] * 10), domain(*[100.0] * 9, first=50)]
    assert len(balance(build(same))) == 1
    far = [domain(*[100.0] * 12), domain(node=1)]
    nodes = build(far)
    balance(nodes)
    assert abs(nodes[0].imbalance) <= 0.17 * nodes[0].fair


def test_affinity_holds_and_preference_goes_first() -> None:
    stuck = build([domain(*[100.0] * 8, allowed=0b01), domain()])
    assert balance(stuck) == []
    tasks = [TaskLoad(pid, 100.0, 0b11, 0b10 if pid == 5 else 0) for pid in range(8)]
    nodes = build([DomainLoad(800.0, 4, 0, tasks), domain()])
    assert balance(nodes)[0].pid == 5


def test_no_more_than_a_thousand_tasks_are_looked_at() -> None:
    nodes = build([domain(*[1.0] * (TASKS_MAX + 500)), domain()])
    assert len(nodes[0].domains[0].tasks) == TASKS_MAX


def test_domains_without_cpus() -> None:
    with pytest.raises(ValueError, match="no CPU"):
        build([domain(cpus=0)])
    assert balance(build([domain(1.0), domain(cpus=0)])) == []


machines = st.lists(
    st.tuples(
        st.integers(1, 8),  # CPUs
        st.integers(0, 1),  # node
        st.lists(
            st.tuples(st.floats(0, 10_000), st.integers(0, 15), st.integers(0, 15)), max_size=30
        ),
    ),
    min_size=1,
    max_size=4,
)


def made(shape: list[tuple[int, int, list[tuple[float, int, int]]]]) -> list[Node]:
    domains = []
    for number, (cpus, node, tasks) in enumerate(shape):
        known = [
            TaskLoad(100 * number + at, load, allowed | 1 << number, preferred)
            for at, (load, allowed, preferred) in enumerate(tasks)
        ]
        domains.append(DomainLoad(sum(task.load for task in known), cpus, node, known))
    return build(domains)


@settings(max_examples=300)
@given(machines)
def test_a_round_keeps_all_load_and_moves_a_task_once(
    shape: list[tuple[int, int, list[tuple[float, int, int]]]],
) -> None:
    nodes = made(shape)
    before = loads(nodes)
    moves = balance(nodes)
    after = loads(nodes)
    assert sum(after.values()) == pytest.approx(sum(before.values()))
    assert sum(node.load for node in nodes) == pytest.approx(sum(before.values()))
    assert all(count == 1 for count in Counter(move.pid for move in moves).values())
    for number in before:
        gained = sum(move.load for move in moves if move.target == number)
        lost = sum(move.load for move in moves if move.source == number)
        assert after[number] == pytest.approx(before[number] + gained - lost, abs=1e-6)
    allowed = {
        100 * number + at: mask | 1 << number
        for number, (_, _, tasks) in enumerate(shape)
        for at, (_, mask, _) in enumerate(tasks)
    }
    assert all(allowed[move.pid] >> move.target & 1 for move in moves)


@settings(max_examples=300)
@given(machines)
def test_no_transfer_raises_the_imbalance(
    shape: list[tuple[int, int, list[tuple[float, int, int]]]],
) -> None:
    """Each move alone, in its order: that of the nodes, or that of the domains of its node."""
    moves = balance(made(shape))
    fresh = made(shape)
    of_domain = {one.number: (node, one) for node in fresh for one in node.domains}
    for move in moves:
        (giver, source), (taker, target) = of_domain[move.source], of_domain[move.target]
        places = (source, target) if giver is taker else (giver, taker)
        before = imbalance(places)
        source.add(-move.load)
        target.add(move.load)
        giver.load -= move.load
        taker.load += move.load
        assert imbalance(places) < before


@settings(max_examples=300)
@given(machines)
def test_a_round_ends_when_no_transfer_helps(
    shape: list[tuple[int, int, list[tuple[float, int, int]]]],
) -> None:
    """Within a node, all domains are within 5 %, or no task that stayed would lower the rest."""
    nodes = made([(cpus, 0, tasks) for cpus, _, tasks in shape])
    balance(nodes)
    for source in nodes[0].domains:
        for target in nodes[0].domains:
            if not (source.pushes and target.pulls):
                continue
            excess, lack = source.imbalance, -target.imbalance
            for task in source.tasks:
                if task.allowed >> target.number & 1:
                    left = abs(excess - task.load) + abs(lack - task.load)
                    assert left >= (excess + lack) * (1 - 1e-5)
