# SPDX-License-Identifier: GPL-2.0-only
"""Parts without tasks sleep: no look costs anything for them, and their tasks lose nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

import pytest

from pyland import Task
from pyland.compose import Composed, Part
from pyland.loading.finder import choose
from pyland.testing import OfflineMachine, OfflineTask, make_topology
from tests.support.layer_policies import with_policy
from tests.support.layered import Loaded, layer

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


def used_ns(machine: OfflineMachine, tasks: list[OfflineTask], time_ns: int) -> int:
    """What these tasks use in the next time."""
    before_ns = sum(task.total_runtime_ns for task in tasks)
    machine.run(time_ns)
    return sum(task.total_runtime_ns for task in tasks) - before_ns


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
        assert 0.4 < used_ns(machine, tasks, 250 * MS) / (500 * MS) < 0.6
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
    assert 0.4 < used_ns(machine, tasks, 500 * MS) / (1000 * MS) < 0.6
    assert max(hog.longest_wait_ns for hog in hogs) < 100 * MS


@pytest.mark.parametrize("hogs", ["rr", "deadline"])
def test_many_tasks_that_wake_up_at_once_have_their_share_only(hogs: str) -> None:
    """What a part may use before the others go on does not grow with its number of tasks."""

    class Both(Composed):
        parts: ClassVar = {"a": Part(hogs), "b": Part("vtime")}
        part_of = Three.part_of

    machine = OfflineMachine(make_topology(cpus=2), Both)
    first = [machine.add(f"a{number}") for number in range(4)]
    many = [machine.add(f"b{number}") for number in range(16)]
    for task in (*first, *many):
        machine.wake(task)
    machine.run(1000 * MS)
    for task in many:
        machine.sleep(task)
    machine.run(1000 * MS)
    assert asleep(machine) == "b"
    for task in many:
        machine.wake(task)
    for _ in range(4):
        assert 0.12 < used_ns(machine, first, 100 * MS) / (200 * MS) < 0.35  # 4 of 20 tasks


def test_a_part_of_a_part_that_slept() -> None:
    """Its keys are not mistaken for those of the machine, where its part has moved them."""

    class Inner(Composed):
        parts: ClassVar = {"x": Part("deadline"), "y": Part("rr")}

        def part_of(self, task: Task) -> str:
            return task.comm[1:2]

    class Outer(Composed):
        parts: ClassVar = {"a": Part(Inner), "b": Part("vtime")}
        part_of = Three.part_of

    machine = OfflineMachine(make_topology(cpus=2), Outer)
    tasks = {kind: [machine.add(f"{kind}{n}") for n in range(3)] for kind in ("ax", "ay", "b")}
    for task in machine.tasks.values():
        machine.wake(task)
    machine.run(1000 * MS)
    for task in (*tasks["ax"], *tasks["ay"]):
        machine.sleep(task)
    machine.run(3000 * MS)
    for task in tasks["ay"]:
        machine.wake(task)
    machine.run(500 * MS)
    for task in tasks["ax"]:
        machine.wake(task)
    before_ns = {kind: sum(one.total_runtime_ns for one in tasks[kind]) for kind in tasks}
    machine.run(1000 * MS)
    for kind, mine in tasks.items():
        mine_ns = sum(task.total_runtime_ns for task in mine) - before_ns[kind]
        assert 0.2 < mine_ns / (2000 * MS) < 0.5, kind


@pytest.mark.parametrize("policy", ["rr", "vtime", "deadline"])
def test_a_layer_with_a_policy_beside_layers_that_slept(policy: str) -> None:
    """The keys of its part follow those of the layers that have no policy."""
    layers = [with_policy(layer("mine", "Open"), policy)]
    loaded = Loaded(layers, make_topology(2))
    machine = loaded.machine
    other, mine = loaded.add("other", 4), loaded.add("mine", 4)
    machine.run(1000 * MS)
    for task in other:
        machine.sleep(task)
    machine.run(5000 * MS)
    for task in other:
        machine.wake(task)
    for _ in range(3):
        assert 0.3 < used_ns(machine, mine, 200 * MS) / (400 * MS) < 0.7


@pytest.mark.parametrize("case", ["decided before", "never decided", "swapped"])
def test_what_a_part_has_before_its_first_decision(machine: OfflineMachine, case: str) -> None:
    """Its present load, and keys that begin at its present time."""
    for number in range(4):
        machine.wake(machine.add(f"a{number}"))
        machine.wake(machine.add(f"b{number}", runs_ns=50 * MS))
    machine.run(4000 * MS)
    assert asleep(machine) == "bc"
    policy: Any = machine.policy
    place = policy._places["c" if case == "never decided" else "b"]
    if case == "swapped":
        policy.swap_part("b", choose("deadline", folder=Path("/")).policy, {})
    place.seat.load, place.seat.begins_at_ns = (99, 9900), 0
    policy._looks.wake(place, machine.now_ns)
    (group,) = policy._looks._sharing
    (clock,) = [one for one in group._clocks if one.place is place]
    assert place.seat.begins_at_ns == group._begin_ns + clock.served_ns
    assert abs(clock.served_ns - group._slowest_ns) <= clock.credit_ns
    assert group._slowest_ns > 1000 * MS
    assert place.seat.load == (1, 100)
    assert asleep(machine) == "bc".replace(place.name, "")


def test_a_part_that_holds_tasks_does_not_sleep(machine: OfflineMachine) -> None:
    """Its policy has to be asked again about these, although no gauge counts them."""
    policy: Any = machine.policy
    policy._places["b"].seat.nr_held = 1
    policy._looks.look(1000 * MS)
    assert asleep(machine) == "ac"


@pytest.mark.parametrize(
    ("nr", "apart_ns"), [(1, 4 * MS), (4, 4 * MS), (12, 12 * MS), (20, 16 * MS)]
)
def test_looks_are_further_apart_where_many_parts_have_tasks(nr: int, apart_ns: int) -> None:
    class Many(Three):
        parts: ClassVar = {f"p{number}": Part("rr") for number in range(max(nr, 2))}

    policy: Any = OfflineMachine(make_topology(cpus=2), Many).policy
    looks = policy._looks
    looks._awake = policy._in_order[:nr]
    assert looks.look(1000 * MS) == 1000 * MS + apart_ns
