# SPDX-License-Identifier: GPL-2.0-only
"""The contract of a policy, on a machine in virtual time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyland import CPU_ANY, DECISION_FIELDS, Batch, Policy, Task, domain_queue
from pyland.testing import OfflineMachine, make_topology
from tests.support.loaded import hogs, loaded

MS = 1_000_000


class Shortest(Policy):
    """One method: the task with the least runtime goes first."""

    def enqueue(self, task: Task) -> None:
        self.dispatch(task, vtime_ns=task.total_runtime_ns, slice_ns=2 * MS)


class ShortestByBatch(Policy):
    """The same over a whole batch."""

    fields = ("seq", "pid", "total_runtime_ns")

    def decide(self, batch: Batch) -> list[int]:
        out: list[int] = []
        for seq, pid, runtime_ns in batch.rows:
            out += (seq, pid, CPU_ANY, 2 * MS, runtime_ns, 0, 0)
        return out


class ShortestByNumpy(Policy):
    """The same with NumPy."""

    uses_numpy = True

    def decide(self, batch: Batch) -> Any:
        tasks = batch.array
        out = np.zeros(batch.nr, dtype=[(name, "i8") for name in DECISION_FIELDS])
        out["seq"], out["pid"], out["cpu"] = tasks["seq"], tasks["pid"], CPU_ANY
        out["slice_ns"], out["vtime_ns"] = 2 * MS, tasks["total_runtime_ns"]
        return out


@pytest.mark.parametrize("other", [ShortestByBatch, ShortestByNumpy])
def test_all_ways_of_writing_a_policy_give_the_same_decisions(other: type[Policy]) -> None:
    one, two = loaded(Shortest), loaded(other)
    for machine in (one, two):
        machine.run(200 * MS)
    assert len(one.decisions) > 100
    assert one.decisions == two.decisions


def test_the_order_is_the_vtimes() -> None:
    class Last(Policy):
        def enqueue(self, task: Task) -> None:
            self.dispatch(task, vtime_ns=1000 - task.pid)

    machine = loaded(Last, hogs=6)
    machine.run(5 * MS)
    # 100 and 101 found idle CPUs; of those that wait, the last has the lowest vtime.
    assert [task.total_runtime_ns > 0 for task in hogs(machine)] == [True, True, *[False] * 4]
    machine.sleep(hogs(machine)[0])
    assert hogs(machine)[5].where == "running"


def test_without_a_vtime_tasks_run_in_the_order_of_their_enqueue() -> None:
    class Plain(Policy):
        def enqueue(self, task: Task) -> None:
            self.dispatch(task)

    machine = loaded(Plain, hogs=6)
    machine.run(400 * MS)
    used = [task.total_runtime_ns for task in hogs(machine)]
    assert max(used) - min(used) <= 40 * MS


def test_events_are_told_to_policies_that_want_them() -> None:
    class Listens(Shortest):
        def __init__(self) -> None:
            self.heard: list[tuple[str, int]] = []

        def stopped(self, pid: int, ran_ns: int) -> None:
            self.heard.append(("stopped", ran_ns))

        def slept(self, pid: int) -> None:
            self.heard.append(("slept", pid))

        def exited(self, pid: int) -> None:
            self.heard.append(("exited", pid))

    machine = OfflineMachine(make_topology(cpus=1), Listens)
    task = machine.add("short", runs_ns=2 * MS)
    machine.wake(task)
    machine.run(5 * MS)
    machine.exit(task)
    assert machine.policy.heard == [  # type: ignore[attr-defined]
        ("stopped", 2 * MS), ("slept", task.pid), ("exited", task.pid),
    ]  # fmt: skip


def test_state_comes_back_with_the_task() -> None:
    class Counts(Policy):
        seen: tuple[int, ...] = ()

        def enqueue(self, task: Task) -> None:
            self.seen += (task.state,)
            task.state += 1
            self.dispatch(task)

    machine = OfflineMachine(make_topology(cpus=1), Counts)
    for name in ("a", "b"):
        machine.wake(machine.add(name))
    machine.run(30 * MS)
    assert {0, 1, 2, 3} <= set(machine.policy.seen)  # type: ignore[attr-defined]


def test_cpus_domains_and_affinity() -> None:
    class Places(Policy):
        where = CPU_ANY

        def enqueue(self, task: Task) -> None:
            self.dispatch(task, self.where)

    machine = OfflineMachine(make_topology(cpus=4, llcs=2), Places)
    tasks = [machine.add(f"t{number}") for number in range(8)]
    for task in tasks[:4]:
        machine.wake(task)
    policy = machine.policy
    assert isinstance(policy, Places)
    policy.where = 3
    machine.wake(tasks[4])
    policy.where = domain_queue(1)
    machine.wake(tasks[5])
    policy.where = 99
    machine.wake(tasks[6])
    assert machine.counters["bad_decisions"] == 1
    pinned = machine.add("pinned", cpus=[0])
    policy.where = 2
    machine.wake(pinned)
    assert machine.counters["bounced"] == 1
    machine.run(200 * MS)
    assert all(task.total_runtime_ns for task in (*tasks[:7], pinned))
    assert pinned.cpu == 0


def test_preempt_makes_room_at_once() -> None:
    class Preempts(Policy):
        def enqueue(self, task: Task) -> None:
            self.dispatch(task, 0, preempt=task.comm == "urgent", vtime_ns=0)

    machine = OfflineMachine(make_topology(cpus=1), Preempts)
    hog, urgent = machine.add("hog"), machine.add("urgent", runs_ns=MS)
    machine.wake(hog)
    machine.run(MS)
    machine.wake(urgent)
    assert urgent.where == "running"
    machine.run(5 * MS)
    assert hog.where == "running"


def test_what_can_be_done_to_a_cpu() -> None:
    machine = loaded(Shortest, hogs=1)
    assert machine.idle_cpus() == [1]
    assert not machine.is_idle(0)
    machine.set_performance(1, 512)
    assert machine.performance(1) == 512
    for call in (
        lambda: machine.is_idle(2),
        lambda: machine.kick(-1),
        lambda: machine.domains[0].set(cpus=[9]),
    ):
        with pytest.raises(IndexError, match="there are 0 to 1"):
            call()
    with pytest.raises(ValueError, match="it takes 0 to 1024"):
        machine.set_performance(0, 1025)
    with pytest.raises(IndexError, match="there are 0 to 1023"):
        machine.domains[1024].set(cpus=1)


def test_a_failing_enqueue_names_its_task() -> None:
    class Fails(Policy):
        def enqueue(self, task: Task) -> None:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no") as raised:
        loaded(Fails, hogs=3)
    assert raised.value.__notes__ == ["task 102 (hog2)"]


def test_the_same_inputs_give_the_same_trace() -> None:
    class Random(Policy):
        def enqueue(self, task: Task) -> None:
            self.dispatch(task, vtime_ns=self.machine.random.randrange(1000))

    one, two, other = (loaded(Random, seed=seed) for seed in (1, 1, 2))
    for machine in (one, two, other):
        machine.run(100 * MS)
    assert str(one.trace) == str(two.trace)
    assert str(one.trace) != str(other.trace)
    assert "hog0 runs on CPU 0 for up to 20 ms" in str(one.trace)
