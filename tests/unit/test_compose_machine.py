# SPDX-License-Identifier: GPL-2.0-only
"""The machine that a part of a policy sees: its CPUs and its domains, and no others."""

from __future__ import annotations

from typing import Any, ClassVar

import pytest

from pyland import CPU_ANY, Batch, Policy, Task, domain_queue
from pyland.compose import Composed, Part
from pyland.testing import OfflineMachine, make_topology
from tests.support.composed import Halves, halves, loaded, named

MS = 1_000_000


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


@pytest.mark.parametrize(("right", "exact"), [("rusty", False), ("rr", True)])
def test_slices_are_exact_if_those_of_some_part_are(right: str, exact: bool) -> None:
    assert loaded(halves("rusty", right)).policy.exact_slices is exact


def test_a_part_with_all_cpus_leaves_no_cache_idle() -> None:
    """Its tasks crowd one cache, and then may run anywhere: the other cache takes its half."""

    class Rest(Halves):
        parts: ClassVar = {"left": Part("vtime", cpus=(0, 1)), "right": Part("deadline")}

    machine = OfflineMachine(make_topology(cpus=4, llcs=2), Rest)
    hogs = [machine.add(f"b{number}", cpus=(2, 3)) for number in range(8)]
    for hog in hogs:
        machine.wake(hog)
    machine.run(100 * MS)
    for hog in hogs:
        hog.cpus = frozenset(range(4))
    machine.run(100 * MS)
    before_ns = sum(hog.total_runtime_ns for hog in hogs)
    machine.run(200 * MS)
    assert sum(hog.total_runtime_ns for hog in hogs) - before_ns > 3.8 * 200 * MS


def test_parts_within_a_part_keep_their_tasks_from_the_first_turn_on() -> None:
    class Inner(Composed):
        parts: ClassVar = {"x": Part("rr", cpus=(0,)), "y": Part("deadline", cpus=(1,))}

        def part_of(self, task: Task) -> str:
            return task.comm[-1]

    class Outer(Composed):
        parts: ClassVar = {"all": Part(Inner)}

        def part_of(self, task: Task) -> str:
            return "all"

    machine = OfflineMachine(make_topology(cpus=2), Outer)
    tasks = {name: machine.add(name) for name in ("y", "x")}
    for task in tasks.values():
        machine.wake(task)
    for _ in range(50):
        machine.run(10 * MS)
        assert (tasks["x"].cpu, tasks["y"].cpu) == (0, 1)


def test_preempting_parts_start_on_machines_with_many_caches() -> None:
    """A CPU serves so many domains only: it takes from the others when it would idle."""

    class Many(Composed):
        parts: ClassVar = {
            f"p{number}": Part("deadline", rank=1, preempt=True) for number in range(8)
        } | {"rest": Part("rr")}

        def part_of(self, task: Task) -> str:
            return "rest"

    machine = OfflineMachine(make_topology(cpus=16, llcs=16), Many)
    assert {len(machine.domains.served(cpu)) for cpu in range(16)} == {64}
    hogs = [machine.add(f"h{number}") for number in range(16)]
    for hog in hogs:
        machine.wake(hog)
    machine.run(200 * MS)
    assert sum(hog.total_runtime_ns for hog in hogs) > 0.95 * 16 * 200 * MS


def test_a_task_that_runs_alone_keeps_to_its_part() -> None:
    """It begins where another part's CPU idles, and later another rule holds for it."""
    machine = loaded(Halves, hogs=0)
    task = machine.add("b")
    assert task.cpu == 0
    machine.wake(task)
    machine.run(1 * MS)
    assert task.cpu in {2, 3}
    machine.run(2000 * MS)
    task.name = "a"
    machine.run(1100 * MS)
    assert task.cpu in {0, 1}
    assert task.total_runtime_ns > 3000 * MS
