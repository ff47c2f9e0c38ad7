# SPDX-License-Identifier: GPL-2.0-only
"""The mathematics of `rusty`: averages, infeasible weights, deadlines."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyland.policies.rusty.latency import due_after_ns, interactive_below_ns, rank_of
from pyland.policies.rusty.load import (
    MAX_WEIGHT,
    decayed,
    domain_loads,
    duty_sums,
    feasible_limit,
)
from pyland.policies.rusty.rusty import Rusty
from pyland.policies.rusty.seen import FOLD_NS, Seen
from pyland.testing import OfflineMachine, make_topology

MS = 1_000_000
SECOND = 1_000_000_000

duties = st.floats(0, 1, allow_nan=False)
weights = st.integers(1, MAX_WEIGHT)
tasks = st.lists(st.tuples(weights, st.floats(0.01, 1)), min_size=1, max_size=40)


def test_an_average_has_half_of_its_way_after_a_half_life() -> None:
    assert decayed(0, 1, SECOND, SECOND) == pytest.approx(0.5)
    assert decayed(0.5, 1, SECOND, SECOND) == pytest.approx(0.75)
    assert decayed(1, 0, 2 * SECOND, SECOND) == pytest.approx(0.25)
    assert decayed(0.3, 1, 0, SECOND) == 0.3


@given(duties, duties, st.integers(0, 10 * SECOND), st.integers(0, 10 * SECOND))
def test_two_steps_give_what_one_gives(old: float, new: float, first: int, more: int) -> None:
    twice = decayed(decayed(old, new, first, SECOND), new, more, SECOND)
    assert twice == pytest.approx(decayed(old, new, first + more, SECOND), abs=1e-9)
    assert min(old, new) - 1e-9 <= twice <= max(old, new) + 1e-9


# On paper: L is the load, P the CPUs that are left, and a weight above L / P is infeasible.
@pytest.mark.parametrize(
    ("case", "duty_by_weight", "cpus", "limit"),
    [
        ("all are feasible: 400 / 2", {100: 4.0}, 2, 200.0),
        ("10,300 / 2 < 10,000, so it has one CPU; then 300 / 1", {10_000: 1.0, 100: 3.0}, 2, 300.0),
        (
            "two are infeasible, one after the other: 11,300 / 4, then 1,300 / 3, then 300 / 2",
            {10_000: 1.0, 1000: 1.0, 100: 3.0},
            4,
            150.0,
        ),
        ("two of one weight: 20,600 / 4, then 600 / 2", {10_000: 2.0, 100: 6.0}, 4, 300.0),
        (
            "it sleeps half of the time: 5,400 / 2, then 400 / 1.5",
            {10_000: 0.5, 100: 4.0},
            2,
            800 / 3,
        ),
        ("exactly one CPU each: nothing to clamp", {100: 2.0}, 2, 100.0),
        ("fewer than CPUs: all as the lowest", {10_000: 1.0, 100: 1.0}, 8, 100.0),
        ("no task", {}, 8, float(MAX_WEIGHT)),
    ],
)
def test_infeasible_weights_as_on_paper(
    case: str, duty_by_weight: dict[int, float], cpus: int, limit: float
) -> None:
    assert feasible_limit(duty_by_weight, cpus) == pytest.approx(limit), case


@given(tasks, st.integers(1, 16))
def test_no_task_is_due_more_than_one_cpu(many: list[tuple[int, float]], cpus: int) -> None:
    """With the weights clamped, the fair share of a task that never sleeps is a CPU at most."""
    sums = duty_sums(many)
    if sum(sums.values()) < cpus:
        assert feasible_limit(sums, cpus) >= min(sums)
        return
    limit = feasible_limit(sums, cpus)
    load = sum(min(weight, limit) * duty for weight, duty in sums.items())
    assert limit <= load / cpus * (1 + 1e-6)


def due_ns(run_ns: int, sleeps_ns: int, wakes_ns: int, weight: int) -> int:
    """The deadline of a task with these fields in its record."""
    return due_after_ns(run_ns, rank_of(sleeps_ns, wakes_ns, weight), weight)


def test_a_task_that_computes_is_due_after_five_of_its_runs() -> None:
    """At priority 0 the scale is 18: 100 / 18 of the average run."""
    assert due_ns(18 * MS, 0, 0, 100) == 100 * MS
    for run_ns in (0, 1, 17, 18, 12_345_678, 100 * MS):
        assert due_ns(run_ns, 0, 0, 100) == run_ns * 100 // 18


def test_the_middle_of_a_chain_is_due_sooner() -> None:
    alone = due_ns(1 * MS, 0, 0, 100)
    sleeps_only = due_ns(1 * MS, 10 * MS, 0, 100)
    chain = due_ns(1 * MS, 1 * MS, 1 * MS, 100)
    assert alone == sleeps_only > chain
    assert due_ns(1 * MS, 1 * MS, 1 * MS, 1000) < chain


# In C: blocked 100, waker 100, weight 100: log2(10**6 + 1) is 20; a run of 20 us: log2(10,001) is
# 14; so priority 6 of 39, and the scale is that of index 32, 70.
def test_a_deadline_as_in_c() -> None:
    assert due_ns(20_000, 1 * MS, 1 * MS, 100) == 20_000 * 100 // 70


@given(
    st.integers(0, 10 * SECOND), st.integers(0, 10 * SECOND), st.integers(0, 10 * SECOND), weights
)
def test_a_deadline_is_never_before_the_virtual_time(
    runs_ns: int, sleeps_ns: int, wakes_ns: int, weight: int
) -> None:
    found_ns = due_ns(runs_ns, sleeps_ns, wakes_ns, weight)
    runs_ns = min(runs_ns, 100 * MS)
    assert runs_ns * 100 // 10_000 <= found_ns <= runs_ns * 100 // 18


@given(rank=st.integers(0, 39), weight=weights, more_ns=st.integers(0, 1 << 40))
def test_which_runs_are_those_of_a_task_that_computes(rank: int, weight: int, more_ns: int) -> None:
    """From `interactive_below_ns` on the rank has no effect; a run that is shorter has one."""
    below_ns = interactive_below_ns(rank, weight)
    run_ns = max(below_ns, min(below_ns + more_ns, 100 * MS))
    if below_ns > 100 * MS:
        return
    assert due_after_ns(run_ns, rank, weight) == due_after_ns(run_ns, 0, weight)
    if 18 < (last_ns := below_ns - 1) < 100 * MS:
        assert due_after_ns(last_ns, rank, weight) < due_after_ns(last_ns, 0, weight)


@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(1, 10_000), st.floats(0, 1)), max_size=30),
    st.lists(st.floats(0, 40), min_size=3, max_size=3),
    st.floats(100, 10_000),
)
def test_a_domain_has_no_more_load_than_its_runnable_tasks(
    tasks: list[tuple[int, int, float]], runnable: list[float], limit: float
) -> None:
    """Whatever the records say, a domain counts as at most `runnable` tasks of the limit."""
    loads = domain_loads(tasks, runnable, limit)
    for load, nr in zip(loads, runnable, strict=True):
        # The last term is for numbers that are too small to have all digits.
        assert 0 <= load <= nr * limit * (1 + 1e-9) + 1e-300


def test_tasks_that_are_known_count_by_weight_and_others_as_100() -> None:
    tasks = [(0, 300, 1.0), (0, 10_000, 0.5), (1, 100, 1.0)]
    assert domain_loads(tasks, [1.5, 3.0], 400.0) == [500.0, 300.0]
    # One and a half tasks were seen, and half of them has ended since.
    assert domain_loads(tasks, [0.75, 1.0], 400.0) == [250.0, 100.0]


def test_time_is_added_up_for_as_long_again_after_it_went_into_the_average() -> None:
    seen = Seen(0, 1000)
    assert seen.fold_at_ns == 1000 + FOLD_NS
    seen.runnable_ns = FOLD_NS
    seen.fold(2 * FOLD_NS, SECOND)
    assert seen.fold_at_ns == 3 * FOLD_NS
    assert 0 < seen.duty < 1
    assert seen.runnable_ns == 0


@pytest.mark.parametrize("fifo", [False, True])
def test_the_balancer_knows_the_weight_of_each_task(fifo: bool) -> None:
    machine = OfflineMachine(make_topology(cpus=2), Rusty, fifo_sched=fifo)
    task = machine.add("heavy", weight=300)
    machine.wake(task)
    for number in range(3):
        machine.wake(machine.add(f"hog{number}"))
    machine.run(200 * MS)
    policy: Any = machine.policy
    assert policy._tasks.young[task.pid].weight == 300
