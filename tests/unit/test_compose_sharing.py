# SPDX-License-Identifier: GPL-2.0-only
"""Parts that share CPUs: each has its time by the weight of its tasks, whatever its keys are."""

from __future__ import annotations

import random
from collections.abc import Callable
from itertools import count
from typing import ClassVar

import pytest

from pyland import CPU_ANY, Batch, Policy, Task
from pyland.compose import Composed, Part
from pyland.testing import OfflineMachine, OfflineTask, make_topology
from tests.support.composed import named

MS = 1_000_000


def both(left: str | type[Policy], right: str | type[Policy], cpus: int = 2) -> OfflineMachine:
    """Two parts that may use all CPUs; tasks whose names begin with a are in the left one."""

    class Both(Composed):
        parts: ClassVar = {"left": Part(left), "right": Part(right)}

        def part_of(self, task: Task) -> str:
            return "left" if task.comm.startswith("a") else "right"

    return OfflineMachine(make_topology(cpus=cpus), Both)


def add(machine: OfflineMachine, letter: str, nr: int, weight: int = 100) -> list[OfflineTask]:
    """Hogs that wake up at once."""
    hogs = [machine.add(f"{letter}{number}", weight=weight) for number in range(nr)]
    for hog in hogs:
        machine.wake(hog)
    return hogs


def used_ns(machine: OfflineMachine, time_ns: int) -> dict[str, int]:
    """What each task has used after this time."""
    before_ns = {task.name: task.total_runtime_ns for task in machine.tasks.values()}
    machine.run(time_ns)
    return {
        task.name: task.total_runtime_ns - before_ns[task.name] for task in machine.tasks.values()
    }


def part_of_left(used: dict[str, int]) -> float:
    left = sum(used_ns for name, used_ns in used.items() if name.startswith("a"))
    return left / sum(used.values())


@pytest.mark.parametrize("right", ["deadline", "rr"])
@pytest.mark.parametrize("left", ["deadline", "vtime", "rr", "fifo", "bpfland", "rusty"])
def test_keys_of_two_policies_have_nothing_in_common(left: str, right: str) -> None:
    """Times of arrival move on faster than virtual times; each part has its half anyway."""
    machine = both(left, right)
    add(machine, "a", 4)
    add(machine, "b", 4)
    machine.run(1000 * MS)
    used = used_ns(machine, 2000 * MS)
    assert 0.47 < part_of_left(used) < 0.53
    for letter in "ab":
        mine = [each_ns for name, each_ns in used.items() if name.startswith(letter)]
        assert min(mine) > 0.7 * max(mine)


@pytest.mark.parametrize(
    ("nr", "weight", "fair"), [(2, 100, 0.25), (6, 300, 0.75), (1, 300, 1 / 3)]
)
def test_time_goes_by_weight(nr: int, weight: int, fair: float) -> None:
    machine = both("rr", "deadline")
    add(machine, "a", nr, weight)
    add(machine, "b", 6)
    machine.run(1000 * MS)
    assert abs(part_of_left(used_ns(machine, 4000 * MS)) - fair) < 0.03


@pytest.mark.parametrize("hogs", ["rr", "deadline", "vtime"])
def test_a_part_whose_task_sleeps_does_not_wait_for_hogs_of_another(hogs: str) -> None:
    machine = both(hogs, "deadline")
    add(machine, "a", 8)
    sleeper = machine.add("b", runs_ns=MS, sleeps_ns=9 * MS)
    machine.wake(sleeper)
    machine.run(1000 * MS)
    sleeper.longest_wait_ns = 0
    assert used_ns(machine, 3000 * MS)["b"] > 0.95 * 300 * MS
    assert sleeper.longest_wait_ns < 5 * MS


def policy_with(key_ns: Callable[[int, bytes], int]) -> type[Policy]:
    """A policy that gives the n-th decision the key `key_ns(n, name of the task)`."""

    class Odd(Policy):
        name = "odd"
        fields = ("seq", "pid", "comm")
        numbers = count()

        def decide(self, batch: Batch) -> list[int]:
            return [
                value
                for seq, pid, comm in batch.rows
                for value in (seq, pid, CPU_ANY, 3 * MS, key_ns(next(self.numbers), comm), 0, 0)
            ]

    return Odd


_chance = random.Random(1)


@pytest.mark.parametrize(
    "key_ns",
    [
        lambda n, comm: 5,
        lambda n, comm: n,
        lambda n, comm: n * 1_000_000_000,
        lambda n, comm: max((1 << 50) - n * 10 * MS, 0),
        lambda n, comm: _chance.randrange(1 << 60),
        lambda n, comm: ((comm == b"b0") << 40) + n,
    ],
    ids=["constant", "count", "fast", "falling", "random", "priority"],
)
def test_no_keys_starve_another_part(key_ns: Callable[[int, bytes], int]) -> None:
    """Whatever a policy makes up, each part has a good deal of its half."""
    machine = both("deadline", policy_with(key_ns))
    add(machine, "a", 4)
    add(machine, "b", 4)
    machine.run(1000 * MS)
    assert 0.3 < part_of_left(used_ns(machine, 6000 * MS)) < 0.85
    assert max(task.longest_wait_ns for task in named(machine, "a")) < 2500 * MS


def test_a_part_comes_back_after_it_slept() -> None:
    """It has no claim to the time in which it had no task, and does not wait for the others."""
    machine = both("deadline", "rr")
    add(machine, "a", 4)
    late = add(machine, "b", 4)
    machine.run(500 * MS)
    for task in late:
        machine.sleep(task)
    machine.run(3000 * MS)
    for task in late:
        machine.wake(task)
        task.longest_wait_ns = 0
    used = used_ns(machine, 400 * MS)
    assert 0.35 < part_of_left(used) < 0.65
    assert max(task.longest_wait_ns for task in late) < 150 * MS


@pytest.mark.parametrize("policy", ["rr", "deadline"])
def test_a_part_that_was_empty_has_no_claim(policy: str) -> None:
    """Two tasks have a CPU each for three seconds; then sixteen come to the other part."""
    machine = both(policy, "deadline")
    add(machine, "a", 2)
    machine.run(3000 * MS)
    add(machine, "b", 16)
    assert 0.08 < part_of_left(used_ns(machine, 1000 * MS)) < 0.16


@pytest.mark.parametrize("light", ["rr", "deadline"])
@pytest.mark.parametrize(("cpus", "nr", "fair"), [(1, 1, 1 / 101), (2, 8, 8 / 208)])
def test_a_light_part_has_little(light: str, cpus: int, nr: int, fair: float) -> None:
    machine = both(light, "deadline", cpus)
    add(machine, "a", nr, 1)
    add(machine, "b", cpus, 100)
    machine.run(2000 * MS)
    assert part_of_left(used_ns(machine, 10_000 * MS)) == pytest.approx(fair, rel=0.4)


@pytest.mark.parametrize("hogs_elsewhere", [0, 1, 4])
def test_a_part_with_other_cpus_does_not_matter(hogs_elsewhere: int) -> None:
    class Three(Composed):
        parts: ClassVar = {
            "a": Part("rr", cpus=(0, 1)),
            "b": Part("deadline", cpus=(0, 1)),
            "c": Part("deadline", cpus=(2, 3)),
        }

        def part_of(self, task: Task) -> str:
            return task.comm[0]

    machine = OfflineMachine(make_topology(cpus=4), Three)
    add(machine, "a", 4, 400)
    add(machine, "b", 4, 100)
    add(machine, "c", hogs_elsewhere)
    machine.run(2000 * MS)
    used = {name: ns for name, ns in used_ns(machine, 2000 * MS).items() if name[0] in "ab"}
    assert 0.77 < part_of_left(used) < 0.83


@pytest.mark.parametrize("keys", ["large", "any"])
def test_keys_of_64_bits_are_no_failure(keys: str) -> None:
    """They are as late as keys can be; the part keeps its policy, and the other one its share."""
    chance = random.Random(2)
    first = 1 << 63 if keys == "large" else 0
    machine = both("deadline", policy_with(lambda n, comm: chance.randrange(first, 1 << 64)))
    add(machine, "a", 4)
    add(machine, "b", 4)
    machine.run(4000 * MS)
    assert not machine.part_failures
    assert part_of_left(used_ns(machine, 2000 * MS)) > 0.4
