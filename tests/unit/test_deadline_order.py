# SPDX-License-Identifier: GPL-2.0-only
"""`deadline` with order=python: the tasks wait in Python, and few of them in the kernel."""

from __future__ import annotations

from typing import Any

import pytest

from pyland.policies.deadline import Deadline
from pyland.testing import OfflineMachine, OfflineTask, make_topology

MS = 1_000_000
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
