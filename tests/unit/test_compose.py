# SPDX-License-Identifier: GPL-2.0-only
"""Policies made of policies: sorting, isolation, failures, swaps."""

from __future__ import annotations

import gc
import re
import weakref
from pathlib import Path
from typing import Any, ClassVar

import pytest

from pyland import CPU_ANY, Batch, Decision, Policy, Task, domain_queue
from pyland.compose import Composed, Part
from pyland.errors import UsageError
from pyland.output.telling import PolicyTookTooLongError
from pyland.policies.deadline import Deadline
from pyland.policies.rr import RoundRobin
from pyland.policies.vtime import Vtime
from pyland.testing import Decided, OfflineMachine, OfflineTask, make_topology

MS = 1_000_000


class Halves(Composed):
    """Tasks whose names begin with a on two CPUs, all others on the other two."""

    parts: ClassVar = {"left": Part("vtime", cpus=(0, 1)), "right": Part("rr", cpus=(2, 3))}

    def part_of(self, task: Task) -> str:
        return "left" if task.comm.startswith("a") else "right"


def halves(left: str | type[Policy], right: str | type[Policy] = "rr") -> type[Halves]:
    class Of(Halves):
        parts: ClassVar = {"left": Part(left, cpus=(0, 1)), "right": Part(right, cpus=(2, 3))}

    return Of


def loaded(policy: type[Policy], hogs: int = 6, **options: Any) -> OfflineMachine:
    """Hogs a0, b1, a2, b3, ... that all woke up at once."""
    machine = OfflineMachine(make_topology(cpus=4), policy, **options)
    for number in range(hogs):
        machine.wake(machine.add(f"{'ab'[number % 2]}{number}"))
    return machine


def parts_of(machine: OfflineMachine) -> dict[str, str]:
    """The policy of each part."""
    policy = machine.policy
    assert isinstance(policy, Composed)
    return policy.part_names()


def named(machine: OfflineMachine, letter: str) -> list[OfflineTask]:
    return [task for task in machine.tasks.values() if task.name.startswith(letter)]


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


def test_a_part_sees_a_machine_of_its_own() -> None:
    seen: dict[str, Any] = {}

    class Looking(Policy):
        fields = ("seq", "pid")

        def __init__(self) -> None:
            machine = self.machine
            seen["online"] = machine.topology.online
            seen["llcs"] = [cpu.llc for cpu in machine.topology.cpus]
            seen["chance"] = machine.random.random()

        def decide(self, batch: Batch) -> list[int]:
            self.machine.count("asked")
            self.machine.gauge("tasks", batch.nr)
            seen["idle"] = self.machine.idle_cpus(), self.machine.is_idle(0)
            return [number for s, p in batch.rows for number in (s, p, CPU_ANY, 0, 1, 0, 0)]

    class Two(Composed):
        parts: ClassVar = {
            "near": Part("fifo", cpus=(0, 1)),
            "far": Part(Looking, cpus=(2, 3)),
        }

        def part_of(self, task: Task) -> str:
            return "far"

    machine = OfflineMachine(make_topology(cpus=4, llcs=2), Two)
    for number in range(6):
        machine.wake(machine.add(f"hog{number}"))
    machine.run(100 * MS)
    assert seen["online"] == (2, 3)
    assert seen["llcs"] == [0, 0]
    assert seen["chance"] not in (
        machine.random.random(),
        OfflineMachine(make_topology(cpus=4, llcs=2), Two).random.random(),
    )
    # A CPU of another part is never idle for this one.
    assert set(seen["idle"][0]) <= {2, 3}
    assert seen["idle"][1] is False
    assert machine.numbers.counts["far_asked"] > 2
    assert machine.numbers.gauges["far_tasks"] >= 1


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


class Raising(Vtime):
    """A policy that fails."""

    def decide(self, batch: Batch) -> list[int]:
        raise RuntimeError("no idea")


class Forgetting(Vtime):
    """A policy that decides every other task."""

    def decide(self, batch: Batch) -> list[int]:
        return super().decide(batch)[::1][: batch.nr // 2 * 7]


class Short(Vtime):
    """A policy that returns half a decision."""

    def decide(self, batch: Batch) -> list[int]:
        return super().decide(batch)[:-3]


class Nothing(Vtime):
    """A policy that returns what is no list."""

    def decide(self, batch: Batch) -> Any:
        return None


class Hung(Vtime):
    """A policy whose calls are interrupted."""

    def decide(self, batch: Batch) -> Any:
        raise PolicyTookTooLongError("it took longer than 1 s")


@pytest.mark.parametrize("bad", [Raising, Forgetting, Short, Nothing, Hung])
def test_a_part_that_fails_is_replaced_and_the_others_do_not_notice(bad: type[Policy]) -> None:
    machine = loaded(halves(bad), hogs=12)
    alone = loaded(halves("deadline"), hogs=12)
    for one in (machine, alone):
        one.run(1000 * MS)
    assert machine.parts_replaced == [("left", bad.name, "deadline")]
    assert {(part, policy) for part, policy, _ in machine.part_failures} == {("left", bad.name)}
    assert len(machine.part_failures) == (2 if bad is Hung else 10)
    assert parts_of(machine) == {"left": "deadline", "right": "rr"}
    right = [d for d in machine.decisions if d.task.startswith("b")]
    assert right == [d for d in alone.decisions if d.task.startswith("b")]
    assert machine.counters["fallback"] == 0
    used_ns = [task.total_runtime_ns for task in named(machine, "a")]
    assert min(used_ns) > 0.8 * max(used_ns)


def test_now_and_then_a_failure_is_forgiven() -> None:
    class Seldom(Vtime):
        asked = 0

        def decide(self, batch: Batch) -> list[int]:
            Seldom.asked += 1
            if Seldom.asked % 2500 == 0:
                raise RuntimeError("seldom")
            return super().decide(batch)

    machine = loaded(halves(Seldom), hogs=12)
    machine.run(4_000 * MS)
    assert machine.part_failures
    assert machine.parts_replaced == []
    assert parts_of(machine)["left"] == "seldom"


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


def test_decisions_stay_within_the_part() -> None:
    """CPUs and domains of others become the part's own queue; so do kicks: they are left out."""

    class Rude(Policy):
        def enqueue(self, task: Task) -> None:
            self.machine.kick(0, preempt=True)
            self.machine.kick(3)
            self.dispatch(task, 0 if task.pid % 2 else 3, vtime_ns=1, preempt=True)

    machine = loaded(halves("vtime", Rude), hogs=12)
    machine.run(300 * MS)
    machine.decisions.clear()
    machine.run(300 * MS)
    assert {d.cpu for d in machine.decisions if d.task.startswith("b")} <= {3, -4}
    assert not machine.part_failures


def test_decisions_as_objects() -> None:
    class Objects(Policy):
        def decide(self, batch: Batch) -> list[Decision]:
            return [Decision(task, vtime_ns=task.total_runtime_ns) for task in batch.tasks]

    machine = loaded(halves(Objects), hogs=12)
    machine.run(300 * MS)
    assert not machine.part_failures
    assert machine.counters["fallback"] == 0


def test_a_rule_that_fails_puts_tasks_into_the_last_part() -> None:
    class Failing(Halves):
        def part_of(self, task: Task) -> str:
            if task.comm.startswith("a"):
                raise LookupError("which one?")
            return "middle"

    machine = loaded(Failing)
    machine.run(300 * MS)
    texts = {str(error) for _, _, error in machine.part_failures}
    assert texts == {"which one?", "part_of() named 'middle'; there are left, right"}
    assert {part for part, _, _ in machine.part_failures} == {"rule"}
    assert {decided.cpu for decided in machine.decisions} == {-4}


class Arrays(Policy):
    """A policy that reads arrays."""

    uses_numpy = True


@pytest.mark.parametrize(
    ("parts", "text"),
    [
        ({}, "policy of has no parts"),
        ({"A b": Part()}, "part 'A b': a name has a to z"),
        ({"one": Part("deadlin")}, "part one: --policy deadlin: there is no such policy"),
        ({"one": Part(cpus=(9,))}, "part one: cpus has CPU 9: this machine has 0 to 3"),
        ({"one": Part(Arrays)}, "part one: policy arrays reads arrays"),
        ({"one": Part(cpus=())}, "part one: none of its CPUs is online"),
        ({"one": Part(options={"dept": 1})}, "policy deadline has no option 'dept'; did you mean"),
        ({"one": Part(options={"depth": "x"})}, "part one: depth = 'x': it takes a whole number"),
    ],
)
def test_what_cannot_be_made_is_refused(parts: dict[str, Part], text: str) -> None:
    class Of(Composed):
        def make_parts(self) -> dict[str, Part]:
            return parts

    with pytest.raises(UsageError, match=text):
        OfflineMachine(make_topology(cpus=4), Of)


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


def test_domains_that_the_whole_sets_itself() -> None:
    """As layers do, whose sizes change: tasks of the part wait where the whole says."""

    class Sized(Halves):
        def make_parts(self) -> dict[str, Part]:
            self.near = dict.fromkeys(range(4), domain_queue(10))
            domains = self.machine.domains
            domains[10].set(cpus=[0], spill=())
            domains[11].set(cpus=[1, 2], spill=())
            return {"left": Part("vtime", near=self.near), "right": Part("rr", cpus=[3])}

    machine = loaded(Sized, hogs=12)
    machine.run(500 * MS)
    for queue, cpus in ((domain_queue(10), {0}), (domain_queue(11), {1, 2})):
        assert isinstance(machine.policy, Sized)
        machine.policy.near.update(dict.fromkeys(range(4), queue))
        machine.run(500 * MS)
        machine.decisions.clear()
        machine.run(300 * MS)
        decided = [one for one in machine.decisions if one.task.startswith("a")]
        assert {one.cpu for one in decided} == {queue}
        # One that found an idle CPU at first, and runs there alone, was never decided.
        assert {task.cpu for task in named(machine, "a") if task.place == queue} <= cpus
    assert not machine.part_failures


def test_all_blocks_of_the_page_run() -> None:
    page = Path(__file__).resolve().parents[2] / "docs" / "composed.md"
    blocks = re.findall(r"^```python\n(.*?)^```", page.read_text(encoding="utf-8"), re.S | re.M)
    names: dict[str, object] = {"__name__": "page"}
    assert len(blocks) == 2
    for block in blocks:
        exec(compile(block, str(page), "exec"), names)
