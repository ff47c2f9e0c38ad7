# SPDX-License-Identifier: GPL-2.0-only
"""`deadline` with order=python: the tasks wait in Python, and few of them in the kernel."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings

from pyland.policies.deadline import Deadline
from pyland.testing import OfflineMachine, OfflineTask, make_topology
from tests.unit.test_policies import MS, steps, workloads

FOREVER = {"hold_us": 10**9, "lag_ns": 10**12}


def loaded(hogs: int, **options: Any) -> tuple[OfflineMachine, list[OfflineTask]]:
    machine = OfflineMachine(make_topology(cpus=2), Deadline, order="python", **options)
    tasks = [machine.add(f"hog{number}") for number in range(hogs)]
    for task in tasks:
        machine.wake(task)
    return machine, tasks


def waiting(tasks: list[OfflineTask]) -> tuple[int, int]:
    """How many tasks are in the kernel's queues, and how many in Python."""
    where = [task.where for task in tasks]
    return where.count("queued"), where.count("held")


@pytest.mark.parametrize(("depth", "wanted"), [(0, 2), (1, 1), (5, 5)])
def test_as_many_tasks_wait_in_the_kernel_as_the_depth_says(depth: int, wanted: int) -> None:
    machine, tasks = loaded(20, depth=depth, **FOREVER)
    seen = set()
    for _ in range(300):
        machine.run(MS)
        queued, held = waiting(tasks)
        assert queued <= wanted
        assert queued + held == 18
        assert held == machine.policy.nr_held
        seen.add(queued)
    assert max(seen) == wanted
    assert not machine.counters["fallback"]


def test_tasks_go_out_in_the_order_of_their_keys() -> None:
    machine, tasks = loaded(9, depth=1, **FOREVER)
    sleeper = machine.add("sleeper", runs_ns=MS, sleeps_ns=20 * MS)
    machine.run(200 * MS)
    machine.wake(sleeper)
    machine.run(1_000 * MS)
    # A task that computes waits for more than a slice of each other one.
    assert sleeper.longest_wait_ns < 10 * MS < min(task.longest_wait_ns for task in tasks)


def test_shares_are_those_of_the_kernels_order() -> None:
    used: dict[str, list[int]] = {}
    for order in ("kernel", "python"):
        machine = OfflineMachine(make_topology(cpus=2), Deadline, order=order)
        tasks = [machine.add("hog", weight=weight) for weight in (100,) * 4 + (33,) * 4]
        for task in tasks:
            machine.wake(task)
        machine.run(5_000 * MS)
        used[order] = [task.total_runtime_ns for task in tasks]
    assert used["python"] == pytest.approx(used["kernel"], rel=0.1)


def test_no_task_waits_in_python_until_the_lag() -> None:
    machine, _ = loaded(200)
    machine.run(500 * MS)
    assert machine.counters["decided"] > 200
    assert not machine.counters["fallback"]
    kept, _ = loaded(200, hold_us=10**9)
    kept.run(500 * MS)
    assert kept.counters["fallback"]


@settings(max_examples=40, deadline=None)
@given(tasks=workloads, steps=steps)
def test_no_task_is_lost(
    tasks: list[tuple[str, int, int, int, tuple[int, ...]]], steps: list[tuple[str, int]]
) -> None:
    machine = OfflineMachine(make_topology(cpus=2), Deadline, order="python")
    made = []
    for kind, weight, runs_ms, sleeps_ms, cpus in tasks:
        runs_ns = runs_ms * MS if kind == "sleeper" else None
        made.append(
            machine.add(kind, weight=weight, cpus=cpus, runs_ns=runs_ns, sleeps_ns=sleeps_ms * MS)
        )
        machine.wake(made[-1])
    for step, number in steps:
        task = made[number % len(made)]
        if step == "run":
            machine.run(number * MS)
        else:
            getattr(machine, step)(task)
    machine.run(50 * MS)
    counters = machine.counters
    left = len([step for step, _ in steps if step in ("sleep", "exit")])
    held = len([task for task in made if task.where == "held"])
    # A decision is late only if its task left, or ran because a CPU would have idled.
    assert counters["late"] <= left + counters["fallback"]
    assert counters["forwarded"] - left <= counters["decided"] + counters["fallback"] + held
    assert counters["decided"] + counters["fallback"] + held <= counters["forwarded"]
    assert not counters["bad_decisions"]
    # A CPU would have idled only if tasks are bound to the other one.
    assert not counters["fallback"] or any(cpus for *_, cpus in tasks)
    for task in made:
        if task.where in ("queued", "held"):
            assert not any(machine.is_idle(cpu) for cpu in task.cpus)
            assert machine.now_ns - task.enqueue_ns < 2_000 * MS
    for task in made:
        if task.where == "held":
            assert machine.now_ns - task.enqueue_ns <= 20 * MS
