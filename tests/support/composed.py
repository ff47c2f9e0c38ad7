# SPDX-License-Identifier: GPL-2.0-only
"""A composed policy of two parts, its hogs, and a part that fails."""

from __future__ import annotations

from typing import Any, ClassVar

from pyland import Batch, Policy, Task
from pyland.compose import Composed, Part
from pyland.policies.vtime import Vtime
from pyland.testing import OfflineMachine, OfflineTask, make_topology


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


class Raising(Vtime):
    """A policy that fails."""

    def decide(self, batch: Batch) -> list[int]:
        raise RuntimeError("no idea")
