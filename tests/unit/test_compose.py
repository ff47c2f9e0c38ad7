# SPDX-License-Identifier: GPL-2.0-only
"""Policies made of policies: which part decides, swaps, and parts that leave."""

from __future__ import annotations

import gc
import re
import weakref
from pathlib import Path
from typing import ClassVar

import pytest

from pyland import CPU_ANY, Batch, Decision, Policy, Task
from pyland.compose import Composed, Part
from pyland.errors import UsageError
from pyland.policies.deadline import Deadline
from pyland.policies.rr import RoundRobin
from pyland.policies.vtime import Vtime
from pyland.testing import Decided
from tests.support.composed import Halves, Raising, halves, loaded, named

MS = 1_000_000


def test_each_part_decides_its_own_tasks_on_its_own_cpus() -> None:
    machine = loaded(Halves, hogs=12)
    machine.run(400 * MS)
    machine.decisions.clear()
    machine.run(600 * MS)
    domains = {(decided.task[0], decided.cpu) for decided in machine.decisions}
    assert domains == {("a", -3), ("b", -4)}
    assert not any(decided.late for decided in machine.decisions)
    for letter, cpus in (("a", {0, 1}), ("b", {2, 3})):
        assert {task.cpu for task in named(machine, letter)} <= cpus
        used_ns = [task.total_runtime_ns for task in named(machine, letter)]
        assert min(used_ns) > 0.5 * max(used_ns)


def test_one_part_decides_as_its_policy_alone() -> None:
    class One(Composed):
        parts: ClassVar = {"all": Part("deadline")}

    def decisions(policy: type[Policy]) -> list[Decided]:
        machine = loaded(policy, hogs=9)
        machine.run(500 * MS)
        return machine.decisions

    assert decisions(One) == decisions(Deadline)


@pytest.mark.parametrize("policy", ["deadline", "bpfland", "vtime", "rr", "fifo"])
def test_every_policy_can_be_a_part(policy: str) -> None:
    machine = loaded(halves(policy, "deadline"), hogs=14)
    machine.run(1000 * MS)
    assert not machine.part_failures
    assert machine.counters["late"] == machine.counters["fallback"] == 0
    used_ns = [task.total_runtime_ns for task in named(machine, "a")]
    assert min(used_ns) > 0.8 * max(used_ns)


def test_state_does_not_pass_from_part_to_part() -> None:
    """A task with another name belongs to another part, for which it is a new task."""
    states: list[int] = []

    class Marking(Policy):
        fields = ("seq", "pid", "state")

        def decide(self, batch: Batch) -> list[int]:
            out: list[int] = []
            for seq, pid, state in batch.rows:
                states.append(state)
                out += (seq, pid, CPU_ANY, 0, 5, 77, 0)
            return out

        gone: ClassVar[list[int]] = []

        def exited(self, pid: int) -> None:
            self.gone.append(pid)

    machine = loaded(halves(Marking, "vtime"), hogs=8)
    machine.run(1000 * MS)
    assert set(states) == {0, 77}
    moving = named(machine, "a")[0]
    moving.name = "bee"
    machine.run(1000 * MS)
    assert Marking.gone == [moving.pid]
    machine.decisions.clear()
    machine.run(500 * MS)
    assert {d.cpu for d in machine.decisions if d.pid == moving.pid} == {-4}
    moving.name = "ant"
    states.clear()
    machine.run(1000 * MS)
    assert states.count(0) == 1


def test_a_part_is_swapped_while_it_schedules() -> None:
    machine = loaded(Halves, hogs=12)
    policy = machine.policy
    assert isinstance(policy, Halves)
    machine.run(300 * MS)
    assert policy.swap_part("left", Deadline, {"hold_us": 1}) == "vtime"
    assert policy.part_names() == {"left": "deadline", "right": "rr"}
    machine.run(700 * MS)
    assert not machine.part_failures
    used_ns = [task.total_runtime_ns for task in named(machine, "a")]
    assert min(used_ns) > 0.8 * max(used_ns)
    for wrong, text in (
        (("centre", Deadline, {}), "no part 'centre'; it has: left, right"),
        (("left", Deadline, {"hold": 1}), "did you mean hold_us"),
        (("left", Deadline, {"depth": -1}), "depth = -1: it takes"),
        (("left.inner", Deadline, {}), "has no parts of its own"),
    ):
        with pytest.raises(UsageError, match=text):
            policy.swap_part(*wrong)
    assert policy.part_names() == {"left": "deadline", "right": "rr"}


def test_a_part_may_be_swapped_to_a_policy_with_other_fields() -> None:
    machine = loaded(halves("vtime", "vtime"), hogs=12)
    policy = machine.policy
    assert isinstance(policy, Halves)
    assert "enqueue_ns" not in policy.fields
    machine.run(100 * MS)
    for other in (RoundRobin, Vtime, RoundRobin):
        policy.swap_part("left", other, {})
        machine.run(100 * MS)
    assert not machine.part_failures
    assert machine.counters["fallback"] == 0


def test_a_hundred_swaps_leave_nothing_behind() -> None:
    machine = loaded(Halves, hogs=12)
    policy = machine.policy
    assert isinstance(policy, Halves)
    for number in range(100):
        policy.swap_part("left", (Vtime, Deadline, RoundRobin)[number % 3], {})
        machine.run(20 * MS)
    machine.run(200 * MS)
    assert machine.counters["fallback"] == 0
    assert not machine.part_failures
    used_ns = [task.total_runtime_ns for task in machine.tasks.values()]
    assert min(used_ns) > 0.7 * max(used_ns)


class Stamping(Policy):
    """Leaves a state with each task, and puts it into a domain of its own."""

    seen: ClassVar[list[int]] = []

    def __init__(self) -> None:
        cpus = self.machine.topology.online
        self.machine.domains[4].set(cpus=cpus)

    def enqueue(self, task: Task) -> None:
        self.seen.append(task.state)
        task.state = 99
        self.dispatch(task, domain=4)


class Only(Composed):
    """One part with all tasks and CPUs."""

    parts: ClassVar = {"all": Part(Stamping)}


class OnlyWithin(Composed):
    """The same as a part of another."""

    parts: ClassVar = {"outer": Part(Only)}


@pytest.mark.parametrize(("policy", "part"), [(Only, "all"), (OnlyWithin, "outer.all")])
def test_the_only_part_is_swapped_and_old_state_is_forgotten(
    policy: type[Composed], part: str
) -> None:
    machine = loaded(policy, hogs=16)
    machine.run(600 * MS)
    assert isinstance(machine.policy, Composed)
    assert {task.state for task in machine.tasks.values()} == {99}
    Stamping.seen.clear()
    sleeper = machine.add("late", runs_ns=2 * MS, sleeps_ns=400 * MS)
    machine.wake(sleeper)
    machine.run(200 * MS)
    machine.policy.swap_part(part, Vtime, {})
    machine.run(300 * MS)
    machine.policy.swap_part(part, Stamping, {})
    Stamping.seen.clear()
    machine.run(1000 * MS)
    # Each of the 17 is new once, also that which slept meanwhile; then its state is its own.
    assert Stamping.seen.count(0) == 17
    assert set(Stamping.seen) == {0, 99}
    assert not machine.part_failures


def test_a_task_that_sleeps_through_a_swap_stays_on_the_cpus_of_its_part() -> None:
    """The domain where the old policy has put it has the CPUs of the part all the same."""
    machine = loaded(halves(Stamping, "vtime"), hogs=8)
    machine.run(50 * MS)
    tasks = [machine.add(f"a{n}", runs_ns=3 * MS, sleeps_ns=7 * MS) for n in range(20, 24)]
    for task in tasks:
        machine.wake(task)
    machine.run(500 * MS)
    # All of these are decided. From here on other CPUs idle.
    for task in {*machine.tasks.values()} - {*tasks}:
        machine.exit(task)
    machine.run(100 * MS)
    assert isinstance(machine.policy, Composed)
    machine.policy.swap_part("left", RoundRobin, {})
    seen = set()
    for _ in range(100):
        machine.run(MS // 4)
        seen |= {task.cpu for task in tasks if task.where == "running"}
    assert seen == {0, 1}


class Keeping(Policy):
    """Keeps each task for a moment, and dispatches it at a tick."""

    interval_ns = 5 * MS

    def enqueue(self, task: Task) -> None:
        pass

    def tick(self) -> None:
        for task in [*self.held.values()]:
            self.dispatch(task, vtime_ns=task.enqueue_ns)


def test_a_part_may_keep_tasks() -> None:
    machine = loaded(halves(Keeping), hogs=8)
    machine.run(1000 * MS)
    assert machine.counters["decided"] > 50
    assert not machine.part_failures
    machine.exit(named(machine, "a")[1])
    machine.run(500 * MS)
    assert not machine.part_failures


def test_parts_nest() -> None:
    class Inner(Composed):
        parts: ClassVar = {"one": Part("fifo", cpus=(0,)), "two": Part(Raising, cpus=(1,))}

        def part_of(self, task: Task) -> str:
            return "two" if int(task.comm[1:]) % 4 == 2 else "one"

    machine = loaded(halves(Inner), hogs=12)
    machine.run(1500 * MS)
    policy = machine.policy
    assert isinstance(policy, Halves)
    assert policy.part_names() == {
        "left": "inner",
        "left.one": "fifo",
        "left.two": "deadline",
        "right": "rr",
    }
    assert machine.parts_replaced == [("left.two", "raising", "deadline")]
    assert policy.swap_part("left.two", Vtime, {}) == "deadline"
    assert policy.part_names()["left.two"] == "vtime"


def test_decisions_as_objects() -> None:
    class Objects(Policy):
        def decide(self, batch: Batch) -> list[Decision]:
            return [Decision(task, vtime_ns=task.total_runtime_ns) for task in batch.tasks]

    machine = loaded(halves(Objects), hogs=12)
    machine.run(300 * MS)
    assert not machine.part_failures
    assert machine.counters["fallback"] == 0


def test_what_leaves_is_freed_at_once() -> None:
    """The process that decides collects no garbage while it schedules."""
    machine = loaded(halves("vtime"))
    machine.run(300 * MS)
    policy = machine.policy
    assert isinstance(policy, Composed)
    part = weakref.ref(policy._places["left"].seat.policy)
    gc.disable()
    try:
        policy.swap_part("left", Deadline, {})
        assert part() is None
        left = [weakref.ref(place.seat.policy) for place in policy._in_order]
        policy.leave()
        assert [one() for one in left] == [None, None]
    finally:
        gc.enable()


def test_all_blocks_of_the_page_run() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "composed.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)
    names: dict[str, object] = {"__name__": "page"}
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
