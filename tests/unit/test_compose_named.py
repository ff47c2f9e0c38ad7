# SPDX-License-Identifier: GPL-2.0-only
"""Policies of parts that name CPUs and domains: each stays on the CPUs of its part."""

from __future__ import annotations

from typing import ClassVar

import pytest

from pyland import Batch, Policy, Task
from pyland.compose import Composed, Part
from pyland.decision import domain_queue
from pyland.testing import OfflineMachine, make_topology

MS = 1_000_000


class Naming(Policy):
    """All tasks go to one place."""

    fields = ("seq", "pid")
    place = 0

    def __init__(self) -> None:
        if self.place < 0:
            self.machine.domains[1].set(cpus={1})

    def decide(self, batch: Batch) -> list[int]:
        return [
            value
            for seq, pid in batch.rows
            for value in (seq, pid, self.place, 3 * MS, batch.now_ns, 0, 0)
        ]


@pytest.mark.parametrize(
    ("place", "where"),
    [(1, {1}), (3, {0, 1}), (domain_queue(1), {1}), (domain_queue(7), {0, 1})],
    ids=["a CPU", "a CPU of another part", "a domain", "a domain that it does not have"],
)
def test_tasks_are_where_the_policy_says_and_in_their_part(place: int, where: set[int]) -> None:
    """Twice a second answers go through Python, else through C: both say the same."""

    class Here(Naming):
        pass

    Here.place = place

    class Both(Composed):
        parts: ClassVar = {"a": Part(Here, cpus=(0, 1)), "b": Part("rr", cpus=(2, 3))}

        def part_of(self, task: Task) -> str:
            return task.comm[:1]

    machine = OfflineMachine(make_topology(cpus=4), Both)
    tasks = [machine.add(f"{letter}{n}") for letter in "ab" for n in range(4)]
    for task in tasks:
        machine.wake(task)
    machine.run(30 * MS)
    seen: set[int] = set()
    for _ in range(300):
        machine.run(4 * MS)
        seen |= {task.cpu for task in tasks[:4]}
    assert seen == where
    assert machine.part_failures == []
