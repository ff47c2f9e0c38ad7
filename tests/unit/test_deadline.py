# SPDX-License-Identifier: GPL-2.0-only
"""The default policy on a simulated machine: shares, order, slices."""

import heapq
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pyland.policies.deadline import Deadline
from pyland.policy import Batch, Decision, Slices
from pyland.testing import OfflineMachine, make_topology

MS = 1_000_000


def deadline(nr_cpus: int = 2, **options: Any) -> Deadline:
    policy = OfflineMachine(make_topology(cpus=nr_cpus), Deadline, **options).policy
    assert isinstance(policy, Deadline)
    return policy


def decide(
    policy: Deadline, *tasks: tuple[int, ...], nr_runnable: int, weight: int | None = None
) -> list[Decision]:
    batch = Batch()
    batch.rows, batch.nr, batch.nr_runnable = tasks, len(tasks), nr_runnable
    batch.weight_runnable = weight or nr_runnable * 100
    batch.now_ns = policy.machine.now_ns
    return [*Decision.each_of(policy.decide(batch))]


def task(
    pid: int, *, weight: int = 100, used: int = 0, awake: int = 0, state: int = 0
) -> tuple[int, ...]:
    return (pid, pid, 1, weight, used, awake, state)


def pass_time(policy: Deadline, time_ns: int) -> None:
    machine = policy.machine
    assert isinstance(machine, OfflineMachine)
    machine.run(time_ns)


def run_hogs(weights: list[int], seconds: float, nr_cpus: int = 2, tick: int = 4 * MS) -> list[int]:
    """CPU time of each hog; slices end on the tick, as in the kernel."""
    policy = deadline(nr_cpus)
    used = [0] * len(weights)
    queue: list[tuple[int, int, int, int]] = []

    def put(pid: int, ran: int, state: int) -> None:
        record = task(pid, weight=weights[pid], used=ran, awake=used[pid], state=state)
        d = decide(policy, record, nr_runnable=len(weights), weight=sum(weights))[0]
        heapq.heappush(queue, (d.vtime_ns, pid, d.slice_ns, d.state))

    for pid in range(len(weights)):
        put(pid, 0, 0)
    passed = 0
    cpus = [(0, cpu, -1, 0, 0) for cpu in range(nr_cpus)]
    while cpus[0][0] < seconds * 1e9:
        now, cpu, pid, ran, state = heapq.heappop(cpus)
        pass_time(policy, now - passed)
        passed = now
        if pid >= 0:
            used[pid] += ran
            put(pid, ran, state)
        _, pid, slice_ns, state = heapq.heappop(queue)
        ran = -(-slice_ns // tick) * tick
        heapq.heappush(cpus, (now + ran, cpu, pid, ran, state))
    return used


def test_equal_hogs_get_equal_shares() -> None:
    used = run_hogs([100] * 8, seconds=20)
    assert max(used) < 1.05 * min(used)


def test_weights_hold_although_slices_end_on_the_tick() -> None:
    used = run_hogs([100] * 4 + [33] * 4, seconds=30)
    ratio = sum(used[:4]) / sum(used[4:])
    assert 0.9 < ratio / (100 / 33) < 1.1


def test_weights_hold_where_tasks_have_one_cpu_of_two() -> None:
    """V is twice as fast as they can follow; a light task must not profit from that."""
    machine = OfflineMachine(make_topology(cpus=2), Deadline)
    weights = (297, 297, 3, 3, 1, 1)
    hogs = [machine.add(f"of {weight}", weight=weight, cpus=(0,)) for weight in weights]
    for hog in hogs:
        machine.wake(hog)
    machine.run(1_000 * MS)
    before = [hog.total_runtime_ns for hog in hogs]
    machine.run(10_000 * MS)
    for hog, weight, at_first_ns in zip(hogs, weights, before, strict=True):
        part = (hog.total_runtime_ns - at_first_ns) / (10_000 * MS)
        assert part == pytest.approx(weight / sum(weights), rel=0.05)


def test_a_task_that_sleeps_goes_before_those_that_compute() -> None:
    policy = deadline()
    hog, sleeper = decide(
        policy,
        task(1, used=20 * MS, awake=5_000 * MS, state=0),
        task(2, used=1 * MS, awake=0, state=0),
        nr_runnable=3,
    )
    assert sleeper.vtime_ns < hog.vtime_ns


def test_sleep_earns_one_longest_slice_and_no_more() -> None:
    policy = deadline()
    for _ in range(500):
        decide(policy, task(1, used=20 * MS), nr_runnable=1)
    late, newcomer = decide(policy, task(2, state=1), task(3), nr_runnable=2)
    assert newcomer.state - late.state == Slices().longest_ns


def test_a_task_that_slept_after_its_last_record_holds_v_back_no_more() -> None:
    """It comes back one longest slice behind, also if it is asked about later, in its slice."""
    policy = deadline()
    state = decide(policy, task(1), nr_runnable=2)[0].state
    pass_time(policy, 20 * MS)
    for _ in range(5):
        decide(policy, task(2, used=20 * MS, awake=20 * MS), nr_runnable=2)
        pass_time(policy, 20 * MS)
    slept, newcomer = decide(
        policy, task(1, used=2 * MS, awake=MS, state=state), task(3), nr_runnable=2
    )
    assert newcomer.state - slept.state == Slices().longest_ns


@pytest.mark.parametrize("weight", [1, 2, 9])
def test_time_used_at_a_great_weight_costs_little_at_a_small_one(weight: int) -> None:
    """The record has the present weight: a task that moved to a light cgroup used it before."""
    policy = deadline()
    state = decide(policy, task(1, weight=230), nr_runnable=8, weight=700)[0].state
    moved = decide(
        policy,
        task(1, weight=weight, used=20 * MS, awake=20 * MS, state=state),
        nr_runnable=8,
        weight=700,
    )[0]
    newcomer = decide(policy, task(2), nr_runnable=8, weight=700)[0]
    most = Slices().longest_ns + 4 * Slices().shortest_ns * 100 // weight
    assert moved.vtime_ns - newcomer.vtime_ns <= most


def test_time_used_alone_is_no_debt_to_later_tasks() -> None:
    policy = deadline()
    alone = decide(policy, task(1, used=60_000 * MS, awake=60_000 * MS), nr_runnable=8)[0]
    newcomer = decide(policy, task(2), nr_runnable=8)[0]
    most = Slices().longest_ns + 100 * Slices().shortest_ns
    assert alone.vtime_ns - newcomer.vtime_ns <= most


def test_slices_shrink_with_the_number_that_wait() -> None:
    def slice_ms(nr_runnable: int, weight: int = 100) -> float:
        policy = deadline(2)
        hog = task(1, weight=weight, used=MS, awake=5 * MS)
        return decide(policy, hog, nr_runnable=nr_runnable)[0].slice_ns / MS

    assert slice_ms(1) == slice_ms(2) == 20
    assert slice_ms(3) == pytest.approx(6.67, abs=0.01)
    assert slice_ms(8) == 2.5
    assert slice_ms(1000) == 2
    assert slice_ms(8, weight=200) == 5


def test_a_task_that_computes_has_a_longer_slice_among_many_cpus() -> None:
    def slice_ms(cpus: int, nr_runnable: int, awake_ms: int, weight: int = 100) -> float:
        hog = task(1, weight=weight, used=MS, awake=awake_ms * MS)
        return decide(deadline(cpus), hog, nr_runnable=nr_runnable)[0].slice_ns / MS

    assert slice_ms(8, 32, awake_ms=19) == 2.5
    assert slice_ms(8, 32, awake_ms=20) == 5
    assert slice_ms(8, 32, awake_ms=1000, weight=50) == 2.5
    assert slice_ms(4, 16, awake_ms=1000) == 5
    assert slice_ms(3, 12, awake_ms=1000) == slice_ms(2, 8, awake_ms=1000) == 2.5
    # At most half of the longest, and not where slices are as short as they get.
    assert slice_ms(8, 16, awake_ms=1000) == 10
    assert slice_ms(8, 15, awake_ms=1000) == pytest.approx(5.33, abs=0.01)
    assert slice_ms(8, 1000, awake_ms=1000) == 2
    assert slice_ms(8, 32, awake_ms=1000, weight=200) == 5


def test_a_task_that_wakes_up_goes_first_for_a_slice() -> None:
    policy = deadline()
    state = decide(policy, task(1, used=MS, awake=MS), nr_runnable=3)[0].state
    woken, others = decide(
        policy, task(1, state=state), task(2, awake=MS, state=state), nr_runnable=3
    )
    assert woken.slice_ns == others.slice_ns
    assert others.vtime_ns - woken.vtime_ns > Slices().longest_ns
    assert woken.state == others.state


def test_a_task_that_slept_before_it_was_first_queued_has_its_head_start() -> None:
    policy = deadline()
    decide(policy, task(1), nr_runnable=8)
    slept, forked = decide(policy, task(2, used=MS), task(3), nr_runnable=8)
    assert forked.vtime_ns - slept.vtime_ns > Slices().longest_ns // 2


def test_time_used_on_idle_cpus_costs_no_head_start() -> None:
    """A client has run alone and was never asked about; then a task begins to compute."""
    policy = deadline()
    client, hog = decide(policy, task(1, used=MS * 500), task(2, used=MS, awake=MS), nr_runnable=3)
    assert hog.vtime_ns - client.vtime_ns == Slices().longest_ns + MS


def test_one_task_ahead_of_all_does_not_take_the_queue_with_it() -> None:
    policy = deadline()
    ahead, newcomer = decide(
        policy,
        task(1, state=decide(policy, task(2), nr_runnable=8)[0].state + 80 * MS),
        task(3),
        nr_runnable=8,
    )
    assert ahead.state - newcomer.state == 2 * Slices().longest_ns


def test_in_a_crowd_no_task_is_far_from_the_others() -> None:
    """Distances of 10,000 tasks add up to no more time than those of 32 tasks on 2 CPUs."""

    def distances_ns(nr_runnable: int) -> tuple[int, int, int, int]:
        policy = deadline(2)
        slept, late, newcomer = decide(
            policy, task(1, state=1), task(2, awake=1, state=1), task(3), nr_runnable=nr_runnable
        )
        far_ns = newcomer.state + 80 * MS
        ahead, other = decide(
            policy, task(4, awake=40 * MS, state=far_ns), task(5), nr_runnable=nr_runnable
        )
        return (
            newcomer.state - slept.state,
            newcomer.state - late.state,
            ahead.state - other.state,
            ahead.vtime_ns - ahead.state,
        )

    assert distances_ns(32) == (20 * MS, 40 * MS, 40 * MS, 20 * MS)
    few_ns = 20 * MS * 32 // 10_000
    assert distances_ns(10_000) == (few_ns, 2 * few_ns, 2 * few_ns, few_ns)


def test_percpu_local_keeps_the_cpu() -> None:
    assert decide(deadline(), task(1), nr_runnable=1)[0].cpu == -1
    local = deadline(percpu_local=True)
    assert decide(local, task(1), nr_runnable=1)[0].cpu == 1


def test_endless_newcomers_do_not_starve_a_hog() -> None:
    """A stream of new tasks, each of which would go first."""
    policy = deadline(2)
    hog = decide(policy, task(1, used=5 * MS, awake=60_000 * MS), nr_runnable=10)[0]
    waited_ms = 0
    while True:
        newcomer = decide(policy, task(2), nr_runnable=10)[0]
        if newcomer.vtime_ns > hog.vtime_ns:
            break
        # Both CPUs run newcomers, which end within a millisecond.
        pass_time(policy, MS)
        waited_ms += 1
        assert waited_ms < 2_500


@settings(max_examples=200, deadline=None)
@given(
    batches=st.lists(
        st.lists(
            st.tuples(
                st.integers(1, 2**31 - 1),
                st.integers(1, 10_000),
                st.integers(0, 2**40),
                st.integers(0, 2**50),
                st.integers(0, 2**62),
            ),
            max_size=20,
        ),
        max_size=10,
    ),
    nr_runnable=st.integers(1, 100_000),
)
def test_every_task_is_decided_once_with_numbers_that_fit(
    batches: list[list[tuple[int, int, int, int, int]]], nr_runnable: int
) -> None:
    policy = deadline()
    for batch in batches:
        tasks = [
            task(pid, weight=weight, used=used, awake=awake, state=state)
            for pid, weight, used, awake, state in batch
        ]
        decisions = decide(policy, *tasks, nr_runnable=nr_runnable)
        assert [d.pid for d in decisions] == [row[1] for row in tasks]
        assert policy.nr_held == 0
        for d in decisions:
            assert 0 < d.slice_ns < 2**63
            assert 0 <= d.vtime_ns < 2**64
            assert 0 <= d.state < 2**64
