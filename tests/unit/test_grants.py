# SPDX-License-Identifier: GPL-2.0-only
"""A decision lasts for its slice, if the policy says so."""

from __future__ import annotations

import re
from collections import Counter

import pytest

from pyland import CPU_ANY, Policy, Task, domain_queue
from pyland.policy import Batch, Interim
from pyland.testing import OfflineMachine, OfflineTask, make_topology

MS = 1_000_000
US = 1_000


class Lasting(Policy):
    """Fair by time used; a decision is for 5 ms, and lasts for 50."""

    lasts_ns = 50 * MS
    cpu = CPU_ANY

    def __init__(self) -> None:
        self.asked: Counter[int] = Counter()
        self.used_ns: Counter[int] = Counter()

    def enqueue(self, task: Task) -> None:
        self.asked[task.pid] += 1
        self.used_ns[task.pid] += task.used_ns
        self.dispatch(task, self.cpu, slice_ns=5 * MS, vtime_ns=task.total_runtime_ns)


class Asking(Lasting):
    """The same, asked each time."""

    lasts_ns = 0


class LastingForFour(Lasting):
    """The same; a decision is for up to four slices of 5 ms, which are a longest slice."""

    lasts_slices = 4
    interim: Interim = "vtime"


class Placing(Lasting):
    """The same, and names the CPU."""

    cpu = 0


class Bouncing(Lasting):
    """The same, and names a domain without CPUs."""

    cpu = domain_queue(9)


def talking(policy: type[Lasting]) -> tuple[OfflineMachine, OfflineTask, Lasting]:
    """A CPU with two hogs, and a task that wakes up a thousand times a second."""
    machine = OfflineMachine(make_topology(cpus=1), policy)
    for number in range(2):
        machine.wake(machine.add(f"hog{number}"))
    talker = machine.add("talker", runs_ns=100 * US, sleeps_ns=900 * US)
    machine.wake(talker)
    machine.run(1_000 * MS)
    made = machine.policy
    assert isinstance(made, Lasting)
    return machine, talker, made


def beside_a_hog(
    *, runs_ns: int, sleeps_ns: int, for_ns: int
) -> tuple[OfflineMachine, OfflineTask]:
    """A CPU with a hog and one task that sleeps, after so long."""
    machine = OfflineMachine(make_topology(cpus=1), Lasting)
    machine.wake(machine.add("hog"))
    task = machine.add("talker", runs_ns=runs_ns, sleeps_ns=sleeps_ns)
    machine.wake(task)
    machine.run(for_ns)
    return machine, task


def test_a_task_that_wakes_up_all_the_time_is_asked_about_once_a_slice() -> None:
    _, talker, asking = talking(Asking)
    assert asking.asked[talker.pid] > 500
    machine, talker, lasting = talking(Lasting)
    turns = talker.total_runtime_ns // (100 * US)
    assert turns > 500
    assert lasting.asked[talker.pid] < turns / 20
    assert machine.counters["continued"] > turns / 2


def test_what_it_uses_meanwhile_is_told_with_the_next_record() -> None:
    _, talker, lasting = talking(Lasting)
    assert talker.total_runtime_ns - lasting.used_ns[talker.pid] <= 5 * MS


def test_it_goes_on_behind_where_it_was_by_what_it_used() -> None:
    machine, talker = beside_a_hog(runs_ns=1 * MS, sleeps_ns=2 * MS, for_ns=30 * MS)
    decided = [each for each in machine.decisions if each.pid == talker.pid]
    assert talker.vtime_ns is not None
    assert 0 < talker.vtime_ns - decided[-1].vtime_ns <= 5 * MS


def test_a_preempted_task_keeps_its_place_and_the_rest_of_its_slice() -> None:
    machine = OfflineMachine(make_topology(cpus=1), Lasting)
    for number in range(2):
        machine.wake(machine.add(f"hog{number}"))
    machine.run(42 * MS)  # both have been decided at the end of a slice
    hog = next(task for task in machine.tasks.values() if task.where == "running")
    lasting = machine.policy
    assert isinstance(lasting, Lasting)
    asked, decided = lasting.asked[hog.pid], [d for d in machine.decisions if d.pid == hog.pid][-1]
    machine.wake(machine.add("newcomer", runs_ns=1 * MS, sleeps_ns=1_000 * MS))
    machine.run(100 * US)
    assert hog.where != "running"
    assert hog.vtime_ns == decided.vtime_ns
    assert 0 < hog.slice_left_ns < 5 * MS
    assert lasting.asked[hog.pid] == asked


def test_a_decision_holds_only_for_its_time() -> None:
    machine, talker = beside_a_hog(runs_ns=10 * US, sleeps_ns=30 * MS, for_ns=600 * MS)
    lasting = machine.policy
    assert isinstance(lasting, Lasting)
    assert lasting.asked[talker.pid] >= 600 // (2 * 31)


def test_a_decision_for_one_that_computes_is_over_when_it_sleeps() -> None:
    machine = OfflineMachine(make_topology(cpus=1), Lasting)
    hogs = [machine.add(f"hog{number}") for number in range(2)]
    for hog in hogs:
        machine.wake(hog)
    machine.run(42 * MS)  # both have been decided at the end of a slice
    sleeper = next(hog for hog in hogs if hog.where == "running")
    lasting = machine.policy
    assert isinstance(lasting, Lasting)
    before = lasting.asked[sleeper.pid]
    machine.sleep(sleeper)
    machine.run(1 * MS)
    machine.wake(sleeper)
    assert lasting.asked[sleeper.pid] == before + 1


def test_a_decision_that_names_a_cpu_is_for_one_time() -> None:
    machine, _, placing = talking(Placing)
    assert machine.counters["continued"] == 0
    assert placing.asked.total() > 1000


@pytest.mark.parametrize("policy", [Lasting, Asking])
def test_shares_are_the_same(policy: type[Lasting]) -> None:
    machine, talker, _ = talking(policy)
    first, second = (t.total_runtime_ns for t in machine.tasks.values() if t is not talker)
    assert first == pytest.approx(second, rel=0.1)
    assert sum(t.total_runtime_ns for t in machine.tasks.values()) == 1_000 * MS


class LeavesOut(Policy):
    """First come, first served; each third record is left undecided. The state is the CPU time."""

    fields = ("seq", "pid", "used_ns", "total_runtime_ns", "state")

    def __init__(self) -> None:
        self.seen = 0
        self.differ: list[int] = []

    def decide(self, batch: Batch) -> list[int]:
        out: list[int] = []
        for seq, pid, used_ns, total_ns, state in batch.rows:
            self.differ.append(used_ns - (total_ns - state))
            self.seen += 1
            if self.seen % 3:
                out += [seq, pid, CPU_ANY, 5 * MS, batch.now_ns, total_ns, 0]
        return out


def test_used_time_counts_from_the_last_decision() -> None:
    machine = OfflineMachine(make_topology(cpus=1), LeavesOut)
    for number in range(3):
        machine.wake(machine.add(f"hog{number}"))
    machine.run(1_000 * MS)
    policy = machine.policy
    assert isinstance(policy, LeavesOut)
    assert len(policy.differ) > 20
    assert not any(policy.differ)


def test_a_decision_for_a_place_that_a_task_cannot_have_does_not_last() -> None:
    machine, talker, bouncing = talking(Bouncing)
    assert machine.counters["bounced"] == sum(bouncing.asked.values())
    assert bouncing.asked[talker.pid] > 500
    assert not machine.counters["continued"]


def with_hogs(policy: type[Lasting], nr: int) -> tuple[OfflineMachine, list[OfflineTask], Lasting]:
    """A CPU with so many hogs."""
    machine = OfflineMachine(make_topology(cpus=1), policy)
    hogs = [machine.add(f"hog{number}") for number in range(nr)]
    for hog in hogs:
        machine.wake(hog)
    made = machine.policy
    assert isinstance(made, Lasting)
    return machine, hogs, made


def test_a_decision_grants_as_many_slices_as_the_policy_says() -> None:
    nr_asked = []
    for policy in (Lasting, LastingForFour):
        machine, hogs, lasting = with_hogs(policy, 3)
        machine.run(600 * MS)
        used_ns = [hog.total_runtime_ns for hog in hogs]
        assert max(used_ns) - min(used_ns) <= 20 * MS
        assert sum(lasting.used_ns.values()) >= 600 * MS - 3 * 20 * MS
        nr_asked.append(lasting.asked.total())
    assert nr_asked[1] == pytest.approx(nr_asked[0] / 4, rel=0.1)


def test_a_task_waits_for_its_turn_between_two_slices_of_a_decision() -> None:
    machine, hogs, _ = with_hogs(LastingForFour, 2)
    machine.run(100 * MS)
    for _ in range(20):
        before_ns = [hog.total_runtime_ns for hog in hogs]
        machine.run(10 * MS)
        used_ns = [hog.total_runtime_ns - ns for hog, ns in zip(hogs, before_ns, strict=True)]
        assert used_ns == [5 * MS, 5 * MS]


def test_further_slices_end_when_the_decision_does() -> None:
    class Brief(LastingForFour):
        lasts_ns = 1 * MS

    machine, _, _ = with_hogs(Brief, 2)
    machine.run(500 * MS)
    assert not machine.counters["continued"]


def test_a_decision_for_a_wakeup_grants_further_slices_at_wakeups_only() -> None:
    """A task that goes on to compute has had its head start, and is asked about."""
    machine, _, lasting = with_hogs(LastingForFour, 1)
    machine.run(50 * MS)
    sleeper = machine.add("sleeper", runs_ns=12 * MS, sleeps_ns=30 * MS)
    machine.wake(sleeper)
    machine.run(1_000 * MS)
    nr_wakeups = sleeper.total_runtime_ns // (12 * MS)
    assert lasting.asked[sleeper.pid] >= 2 * nr_wakeups > 20


def test_a_further_slice_is_short_where_slices_have_become_short() -> None:
    class Shrinking(LastingForFour):
        lasts_ns = 10_000 * MS
        slice_ns = 5 * MS

        def enqueue(self, task: Task) -> None:
            self.dispatch(task, slice_ns=self.slice_ns, vtime_ns=task.total_runtime_ns)

    machine, _, shrinking = with_hogs(Shrinking, 3)
    machine.run(100 * MS)
    assert isinstance(shrinking, Shrinking)
    shrinking.slice_ns = MS
    for number in range(12):
        machine.wake(machine.add(f"other{number}"))
    machine.run(12 * MS)
    so_far = len(str(machine.trace))
    machine.run(1_000 * MS)
    lines = str(machine.trace)[so_far:].splitlines()
    slices_ms = [float(line.split()[-3]) for line in lines if re.search("hog. continues", line)]
    assert slices_ms
    assert max(slices_ms) < 5


def test_tasks_that_are_held_are_asked_about_after_each_slice() -> None:
    class Holding(LastingForFour):
        interim: Interim = "hold"

    machine, _, _ = with_hogs(Holding, 2)
    machine.run(500 * MS)
    assert not machine.counters["continued"]
