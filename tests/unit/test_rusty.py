# SPDX-License-Identifier: GPL-2.0-only
"""The policy `rusty` on a machine in virtual time."""

from __future__ import annotations

from typing import Any

import pytest

from pyland.errors import UsageError
from pyland.policies.rusty.homes import Home, homes, in_turns
from pyland.policies.rusty.rusty import Rusty
from pyland.testing import OfflineMachine, OfflineTask, make_topology

MS = 1_000_000
SECOND = 1_000_000_000


def machine(cpus: int = 8, llcs: int = 2, nodes: int = 1, **options: Any) -> OfflineMachine:
    topology = make_topology(cpus=cpus, llcs=llcs // nodes, nodes=nodes)
    return OfflineMachine(topology, Rusty, **({"slice_us_overutil": 10_000} | options))


def bound(one: OfflineMachine, nr: int, cpus: range, **more: Any) -> list[OfflineTask]:
    """Hogs that wake up on these CPUs, and may run anywhere from then on."""
    hogs = [one.add(f"hog{number}", cpus=cpus, **more) for number in range(nr)]
    for hog in hogs:
        one.wake(hog)
    one.run(200 * MS)
    for hog in hogs:
        hog.cpus = frozenset(one.topology.online)
    return hogs


def in_domain(hogs: list[OfflineTask], number: int) -> int:
    return sum(hog.place == -2 - number for hog in hogs)


def test_load_that_began_on_one_cache_is_balanced_in_four_seconds_and_stays() -> None:
    one = machine(greedy_threshold=0, direct_greedy_under=0.0)
    hogs = bound(one, 16, range(4))
    assert in_domain(hogs, 0) == 16
    one.run(4 * SECOND)
    assert (in_domain(hogs, 0), in_domain(hogs, 1)) == (8, 8)
    moved = one.numbers.counts["migrations"]
    before = [hog.total_runtime_ns for hog in hogs]
    one.run(10 * SECOND)
    assert one.numbers.counts["migrations"] == moved
    assert abs(one.numbers.gauges["domain0_imbalance"]) < 0.05 * 800
    used_ns = [hog.total_runtime_ns - was for hog, was in zip(hogs, before, strict=True)]
    assert min(used_ns) > 0.95 * max(used_ns)


def test_new_tasks_go_to_the_domains_in_turn() -> None:
    """The balancer needs seconds, and a program's tasks all begin on one cache."""
    one = machine(no_load_balance=True)
    hogs = [one.add(f"hog{number}") for number in range(16)]
    for hog in hogs:
        hog.cpu = 0
        one.wake(hog)
    one.run(200 * MS)
    assert (in_domain(hogs, 0), in_domain(hogs, 1)) == (8, 8)


def test_a_larger_domain_has_more_turns() -> None:
    turns = in_turns([Home(0b11, 0), Home(0b111100, 0)])
    assert turns == [1, 0, 1, 1, 0, 1]


def test_idle_cpus_take_from_a_full_domain_before_the_balancer_does() -> None:
    one = machine(no_load_balance=True)
    hogs = bound(one, 16, range(4))
    before = [hog.total_runtime_ns for hog in hogs]
    one.run(2 * SECOND)
    used_ns = sum(hog.total_runtime_ns for hog in hogs) - sum(before)
    assert used_ns > 0.98 * 8 * 2 * SECOND
    assert in_domain(hogs, 0) == 16
    assert "migrations" not in one.numbers.counts


def test_an_infeasible_weight_ends_as_on_paper() -> None:
    """One task of 10,000 and twelve of 100 on eight CPUs of two domains.

    L / P is 11,200 / 8 = 1,400, so 10,000 is infeasible; then 1,200 / 7 = 171.4. In all 1,371,
    for each domain 686: five of 100 beside the heavy one are 671, and seven are 700.
    """
    one = machine(interval=1.0)
    heavy = one.add("heavy", weight=10_000, cpus=range(4))
    one.wake(heavy)
    hogs = bound(one, 12, range(4))
    heavy.cpus = frozenset(range(8))
    one.run(8 * SECOND)
    before = heavy.total_runtime_ns
    assert one.numbers.gauges["feasible_weight"] == pytest.approx(1200 / 7, rel=0.05)
    beside = [hog for hog in hogs if hog.place == heavy.place]
    assert 4 <= len(beside) <= 6
    one.run(4 * SECOND)
    assert heavy.total_runtime_ns - before > 0.95 * 4 * SECOND


def test_a_heavy_task_that_comes_and_goes_moves_few_others() -> None:
    """Its whole weight never counts, not for a moment: all others would leave its domain."""
    one = machine(interval=0.4, load_half_life=0.3, slice_us_overutil=1000)
    one.wake(one.add("heavy", weight=8871, runs_ns=400 * MS, sleeps_ns=300 * MS))
    hogs = [one.add(f"hog{number}") for number in range(15)]
    for hog in hogs:
        one.wake(hog)
    loads = []
    for _ in range(80):
        one.run(100 * MS)
        loads.append(one.numbers.gauges.get("load", 0.0))
    assert max(loads) < 1.05 * (15 + 15 / 7) * 100
    assert one.numbers.counts.get("migrations", 0) < 12
    assert min(hog.total_runtime_ns for hog in hogs) > 0.45 * 8 * SECOND


def test_weights_count_within_a_domain() -> None:
    one = machine(cpus=1, llcs=1)
    light, heavy = one.add("light"), one.add("heavy", weight=300)
    for task in (light, heavy):
        one.wake(task)
    one.run(10 * SECOND)
    assert heavy.total_runtime_ns / light.total_runtime_ns == pytest.approx(3, rel=0.1)


def test_the_middle_of_a_chain_goes_before_those_that_compute() -> None:
    one = machine(cpus=2, llcs=1)
    for number in range(6):
        one.wake(one.add(f"hog{number}"))
    talker = one.add("talker", runs_ns=200_000, sleeps_ns=2 * MS, waker_interval_ns=1 * MS)
    one.wake(talker)
    one.run(1 * SECOND)
    talker.longest_wait_ns = 0
    before = talker.total_runtime_ns
    one.run(4 * SECOND)
    # It needs 200 us of each 2.2 ms, and preempts what computes.
    assert talker.longest_wait_ns <= 1 * MS
    assert talker.total_runtime_ns - before > 0.9 * 4 * SECOND / 11
    assert one.counters["fallback"] == 0


def test_slices_follow_the_load() -> None:
    one = machine(cpus=2, llcs=1, slice_us_overutil=3000)
    for number in range(2):
        one.wake(one.add(f"hog{number}"))
    one.run(1 * SECOND)
    for number in range(6):
        one.wake(one.add(f"late{number}"))
    one.run(2 * SECOND)
    assert one.numbers.gauges["slice_us"] == 3000
    assert {decided.slice_ns for decided in one.decisions[-20:]} == {3 * MS}
    assert one.numbers.gauges["cpu_busy"] == pytest.approx(100, abs=2)


def test_gauges_of_every_node_and_domain() -> None:
    one = machine(cpus=8, llcs=4, nodes=2)
    bound(one, 16, range(4))
    one.run(5 * SECOND)
    gauges = one.numbers.gauges
    for what in ("load", "imbalance", "delta"):
        for place in ("node0", "node1", "domain0", "domain1", "domain2", "domain3"):
            assert f"{place}_{what}" in gauges
    assert gauges["load"] == pytest.approx(1600, rel=0.1)
    assert gauges["node0_load"] + gauges["node1_load"] == pytest.approx(gauges["load"])
    assert abs(gauges["node0_imbalance"]) <= 0.17 * 800


def test_first_come_first_served() -> None:
    one = machine(cpus=1, llcs=1, fifo_sched=True)
    assert one.policy.interim == "arrival"
    for number in range(4):
        one.wake(one.add(f"hog{number}"))
    one.run(1 * SECOND)
    order = [decided.task for decided in one.decisions[-8:]]
    assert order[:4] == order[4:]
    assert len({*order}) == 4


def test_restricted_tasks_stay_where_they_may_run() -> None:
    one = machine()
    bound_hogs = [one.add(f"bound{number}", cpus=(0, 1)) for number in range(4)]
    for hog in bound_hogs:
        one.wake(hog)
    free = bound(one, 12, range(4))
    one.run(6 * SECOND)
    assert all(hog.cpu in (0, 1) for hog in bound_hogs)
    assert one.counters["bounced"] == 0
    assert min(hog.total_runtime_ns for hog in (*bound_hogs, *free)) > 1 * SECOND


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"cpumasks": "0x0f,0xf1"}, "cpumasks: 0xf1 has CPU 0, and so has a mask before it"),
        ({"cpumasks": "0x0f"}, "cpumasks: 0x0f: CPU 4 is in no mask"),
        ({"cpumasks": "0x0f,zz"}, "cpumasks: zz is no mask: it takes hexadecimal"),
        ({"cpumasks": "0x1ff"}, "cpumasks: 0x1ff has CPU 8: this machine has 0 to 7"),
        ({"cache_level": 2}, "cache_level=2: only 3, the last-level cache"),
        ({"cache_level": 2, "cpumasks": "0xff"}, "cpumasks says already what a domain is"),
        ({"partial": True}, "give --partial"),
        ({"mempolicy_affinity": True}, "memory policies of tasks are not known"),
    ],
)
def test_what_cannot_be_had_is_refused_in_one_line(options: dict[str, Any], text: str) -> None:
    with pytest.raises(UsageError, match=text) as refused:
        machine(**options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "value"),
    [("interval", 0.0), ("direct_greedy_under", 101.0), ("slice_us_underutil", 5), ("perf", 1025)],
)
def test_values_outside_their_ranges_are_refused(name: str, value: Any) -> None:
    with pytest.raises(ValueError, match=f"{name} = .*: it takes"):
        machine(**{name: value})


def test_every_option_of_scx_rusty_has_its_name() -> None:
    names = """slice_us_underutil slice_us_overutil interval tune_interval load_half_life
    cache_level cpumasks greedy_threshold greedy_threshold_x_numa no_load_balance kthreads_local
    balanced_kworkers fifo_sched direct_greedy_under kick_greedy_under direct_greedy_numa partial
    mempolicy_affinity perf"""
    assert set(Rusty.options) == set(names.split())


def test_domains_of_masks() -> None:
    topology = make_topology(cpus=8, nodes=2)
    found = homes(topology, "0x3_3 0xcc")
    assert [(home.cpus, home.node, home.nr_cpus) for home in found] == [(0x33, 0, 4), (0xCC, 0, 4)]
    assert [home.cpus for home in homes(topology)] == [0x0F, 0xF0]


def test_performance_is_set_if_it_is_given() -> None:
    assert machine(perf=512).performance(3) == 512
    assert machine().performance(3) is None
