# SPDX-License-Identifier: GPL-2.0-only
"""A composed policy, and policies for its parts that fail."""

from __future__ import annotations

from pyland.compose import Composed, Part
from pyland.policies.rr import RoundRobin
from pyland.policy import Batch, Task


class Desk(Composed):
    """A game that goes first, a build that is confined to half of the CPUs, and all other tasks."""

    reads = ("comm", "nice")

    def make_parts(self) -> dict[str, Part]:
        cpus = self.machine.topology.online
        half = len(cpus) // 2
        return {
            "game": Part("deadline", cpus=cpus[:half], spill=None, rank=1, preempt=True),
            "build": Part("rr", cpus=cpus[half:]),
            "rest": Part("deadline"),
        }

    def part_of(self, task: Task) -> str:
        if task.comm == "sleeper":
            return "game"
        return "build" if task.comm == "hogs" and task.nice == 5 else "rest"


class Broken(RoundRobin):
    """A policy that raises at each call."""

    def decide(self, batch: Batch) -> list[int]:
        raise RuntimeError("no idea")


class Hanging(RoundRobin):
    """A policy that does not return."""

    def decide(self, batch: Batch) -> list[int]:
        while True:
            pass


class Nonsense(RoundRobin):
    """A policy whose decisions are no numbers."""

    def decide(self, batch: Batch) -> list[int]:
        return [None if number == 0 else number for number in super().decide(batch)]  # type: ignore[misc]
