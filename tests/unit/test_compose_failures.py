# SPDX-License-Identifier: GPL-2.0-only
"""Parts of a policy that fail: only their own tasks notice; and parts that cannot be made."""

from __future__ import annotations

from typing import Any

import pytest

from pyland import Batch, Policy, Task
from pyland.compose import Composed, Part
from pyland.errors import UsageError
from pyland.output.telling import PolicyTookTooLongError
from pyland.policies.vtime import Vtime
from pyland.testing import OfflineMachine, make_topology
from tests.support.composed import Halves, Raising, halves, loaded, named, parts_of

MS = 1_000_000


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
