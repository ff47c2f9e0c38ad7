# SPDX-License-Identifier: GPL-2.0-only
"""Tasks that a policy keeps and decides later: what it sees of them, and how long they wait."""

from __future__ import annotations

import pytest

from pyland import Batch, Decision, Policy, Task, TaskPool
from pyland.testing import OfflineMachine, make_topology
from tests.support.loaded import hogs, loaded

MS = 1_000_000


def test_a_task_that_is_kept_runs_after_the_lag() -> None:
    class Keeps(Policy):
        def enqueue(self, task: Task) -> None:
            pass

    machine = OfflineMachine(make_topology(cpus=1), Keeps, lag_ns=5 * MS)
    first, second = machine.add("first"), machine.add("second")
    machine.wake(first)
    machine.wake(second)
    assert machine.policy.nr_held == 1
    machine.run(100 * MS)
    assert second.total_runtime_ns > 0
    assert machine.counters["fallback"] > 0
    assert second.longest_wait_ns <= 30 * MS


def test_a_kept_task_can_be_dispatched_later_and_once() -> None:
    class Later(Policy):
        interval_ns = 3 * MS

        def __init__(self) -> None:
            self.kept: list[Task] = []
            self.answers: list[bool] = []

        def enqueue(self, task: Task) -> None:
            self.kept.append(task)

        def tick(self) -> None:
            for task in self.kept:
                self.answers.append(self.dispatch(task))
                self.answers.append(self.dispatch(task))
            self.kept.clear()

    machine = loaded(Later, hogs=3)
    policy = machine.policy
    assert isinstance(policy, Later)
    assert policy.nr_held == 1
    machine.run(4 * MS)
    assert policy.nr_held == 0
    assert policy.answers == [True, False]
    assert [d.late for d in machine.decisions] == [False]


def test_a_task_enqueued_again_makes_the_old_one_stale() -> None:
    class Hoards(Policy):
        def __init__(self) -> None:
            self.kept: list[Task] = []

        def enqueue(self, task: Task) -> None:
            self.kept.append(task)

    machine = OfflineMachine(make_topology(cpus=1), Hoards, lag_ns=MS)
    for name in ("a", "b"):
        machine.wake(machine.add(name))
    machine.run(100 * MS)
    policy = machine.policy
    assert isinstance(policy, Hoards)
    assert len(policy.kept) > policy.nr_held
    assert not policy.dispatch(policy.kept[0])


def test_a_policy_sees_the_tasks_that_it_holds() -> None:
    class Every(Policy):
        """Lets go of all tasks when it has three."""

        def enqueue(self, task: Task) -> None:
            if len(self.held) == 3:
                for each in list(self.held.values()):
                    assert self.dispatch(each, vtime_ns=each.pid)
                assert not self.held

    machine = loaded(Every, hogs=7)
    assert [each.pid for each in machine.decisions] == [102, 103, 104]
    assert list(machine.policy.held) == [105, 106]
    machine.exit(hogs(machine)[5])
    assert list(machine.policy.held) == [106]
    with pytest.raises(AttributeError):
        machine.policy.held = {}  # type: ignore[misc]


def test_a_policy_that_holds_tasks_is_asked_again_before_a_cpu_idles() -> None:
    class OneByOne(Policy):
        """Hands out one task each time it is asked."""

        def __init__(self) -> None:
            self.tasks: TaskPool[Decision] = TaskPool()

        def decide(self, batch: Batch) -> list[Decision]:
            for task in batch.tasks:
                self.tasks.add(Decision(task, vtime_ns=0), -task.pid)
            out = [self.tasks.pop()] if self.tasks and not batch.nr else []
            self.nr_held = len(self.tasks)
            return out

    machine = OfflineMachine(make_topology(cpus=1), OneByOne)
    tasks = [machine.add(f"t{number}", runs_ns=MS) for number in range(5)]
    for task in tasks:
        machine.wake(task)
    machine.run(10 * MS)
    assert [each.pid for each in machine.decisions] == [104, 103, 102, 101]
    assert not machine.counters["fallback"]
    assert all(task.total_runtime_ns == MS for task in tasks)
