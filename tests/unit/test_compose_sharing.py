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


def both(left: str | type[Policy], right: str | type[Policy]) -> OfflineMachine:
    """Two CPUs that both parts may use; tasks whose names begin with a are in the left one."""

    class Both(Composed):
        parts: ClassVar = {"left": Part(left), "right": Part(right)}

        def part_of(self, task: Task) -> str:
            return "left" if task.comm.startswith("a") else "right"

    return OfflineMachine(make_topology(cpus=2), Both)


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
        assert min(mine) > 0.8 * max(mine)


@pytest.mark.parametrize(("nr", "weight", "fair"), [(2, 100, 0.25), (6, 300, 0.75), (1, 600, 0.5)])
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
