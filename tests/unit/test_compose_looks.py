# SPDX-License-Identifier: GPL-2.0-only
"""Parts without tasks sleep: no look costs anything for them, and their tasks lose nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from pyland import Task
from pyland.compose import Composed, Part
from pyland.loading.finder import choose
from pyland.testing import OfflineMachine, make_topology

MS = 1_000_000


class Three(Composed):
    """Parts of equal rank on all CPUs, by the first letter of a task's name."""

    parts: ClassVar = {"a": Part("deadline"), "b": Part("rr"), "c": Part("vtime")}

    def part_of(self, task: Task) -> str:
        return task.comm[:1]


def asleep(machine: OfflineMachine) -> str:
    """The names of the parts that sleep."""
    policy: Any = machine.policy
    return "".join(place.name for place in policy._in_order if place.sleeps)


def looks(machine: OfflineMachine) -> dict[str, int]:
    """How often each part is looked at from here on; the dictionary goes on counting."""
    policy: Any = machine.policy
    nr = dict.fromkeys("abc", 0)
    for place in policy._in_order:

        def counted(name: str = place.name, look: Any = place.machine.look) -> tuple[int, int]:
            nr[name] += 1
            found: tuple[int, int] = look()
            return found

        place.machine.look = counted
    return nr


@pytest.fixture
def machine() -> OfflineMachine:
    return OfflineMachine(make_topology(cpus=2), Three)


def test_a_part_without_tasks_is_not_looked_at(machine: OfflineMachine) -> None:
    nr = looks(machine)
    for number in range(4):
        machine.wake(machine.add(f"a{number}"))
    machine.run(500 * MS)
    assert asleep(machine) == "bc"
    assert nr["a"] > 50
    assert nr["b"] == nr["c"] == 1


@pytest.mark.parametrize("sleeps_ns", [9 * MS, 40 * MS, 60 * MS, 150 * MS])
def test_a_task_that_comes_now_and_then_does_not_wait(
    machine: OfflineMachine, sleeps_ns: int
) -> None:
    """Its part sleeps in between, or does not."""
    sleeper = machine.add("b0", runs_ns=MS, sleeps_ns=sleeps_ns)
    machine.wake(sleeper)
    for number in range(6):
        machine.wake(machine.add(f"a{number}"))
    machine.run(500 * MS)
    sleeper.longest_wait_ns = 0
    machine.run(2000 * MS)
    assert sleeper.longest_wait_ns < 5 * MS


@pytest.mark.parametrize("late", ["b", "c"])
def test_a_part_that_wakes_up_has_its_share_at_once(machine: OfflineMachine, late: str) -> None:
    """The time when it slept is no debt and no claim."""
    for number in range(4):
        machine.wake(machine.add(f"a{number}"))
    first = [machine.add(f"{late}{number}", runs_ns=30 * MS) for number in range(4)]
    for task in first:
        machine.wake(task)
    machine.run(2000 * MS)
    assert late in asleep(machine)
    tasks = [machine.add(f"{late}{number}") for number in range(4, 8)]
    for task in tasks:
        machine.wake(task)
    for _ in range(4):
        before_ns = sum(task.total_runtime_ns for task in tasks)
        machine.run(250 * MS)
        used_ns = sum(task.total_runtime_ns for task in tasks) - before_ns
        assert 0.4 < used_ns / (500 * MS) < 0.6
    assert late not in asleep(machine)


@pytest.mark.parametrize("policy", ["rr", "deadline", "vtime"])
def test_a_part_that_was_swapped_while_it_slept(machine: OfflineMachine, policy: str) -> None:
    """Its new policy knows no key of its own yet; that of the one before is seconds old."""
    for letter in "ab":
        for number in range(4):
            machine.wake(machine.add(f"{letter}{number}", runs_ns=400 * MS))
    hogs = [machine.add(f"c{number}") for number in range(4)]
    for hog in hogs:
        machine.wake(hog)
    machine.run(4000 * MS)
    assert asleep(machine) == "ab"
    composed: Any = machine.policy
    composed.swap_part("b", choose(policy, folder=Path("/")).policy, {})
    tasks = [machine.add(f"b{number}") for number in range(4, 8)]
    for task in tasks:
        machine.wake(task)
    for hog in hogs:
        hog.longest_wait_ns = 0
    machine.run(500 * MS)
    used_ns = sum(task.total_runtime_ns for task in tasks)
    assert 0.4 < used_ns / (1000 * MS) < 0.6
    assert max(hog.longest_wait_ns for hog in hogs) < 100 * MS


def test_a_part_that_holds_tasks_does_not_sleep() -> None:
    """Its policy has to be asked again about these, although it has had no record for long."""

    class Holding(Composed):
        parts: ClassVar = {
            "a": Part("deadline"),
            "b": Part("deadline", {"order": "python", "depth": 1, "hold_us": 500_000}),
        }
        part_of = Three.part_of

    machine = OfflineMachine(make_topology(cpus=1), Holding)
    for letter in "ab":
        for number in range(3):
            machine.wake(machine.add(f"{letter}{number}"))
    machine.run(1000 * MS)
    used = {task.name: task.total_runtime_ns for task in machine.tasks.values()}
    assert min(used.values()) > 50 * MS, used
