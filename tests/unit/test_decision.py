# SPDX-License-Identifier: GPL-2.0-only
"""A decision as an object, as seven numbers, and through dispatch() is the same decision."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from pyland import (
    CPU_ANY,
    DECISION_FIELDS,
    NR_CLASSES,
    PREEMPT,
    Batch,
    Decision,
    Policy,
    Task,
    class_flags,
)
from pyland._native import lib
from pyland.decision import flat_decisions
from pyland.task import ENQUEUE_FIELDS, task_class
from pyland.testing import Decided, OfflineMachine, make_topology

MS = 1_000_000
FLAT = [1, 100, -1, 5, 6, 7, 0, 2, 101, 3, 8, 9, 10, 1]


class Dispatches(Policy):
    def enqueue(self, task: Task) -> None:
        task.state += 3
        self.dispatch(
            task, 0, slice_ns=2 * MS, vtime_ns=task.total_runtime_ns, preempt=task.is_wakeup
        )


class Returns(Policy):
    def decide(self, batch: Batch) -> list[Decision]:
        return [self.decided(task) for task in batch.tasks]

    def decided(self, task: Task) -> Decision:
        task.state += 3
        key_ns = task.total_runtime_ns
        return Decision(task, 0, slice_ns=2 * MS, vtime_ns=key_ns, preempt=task.is_wakeup)


class Flat(Policy):
    fields = ("seq", "pid", "enq_flags", "total_runtime_ns", "state")

    def decide(self, batch: Batch) -> list[int]:
        out: list[int] = []
        for seq, pid, enq_flags, runtime_ns, state in batch.rows:
            out += (seq, pid, 0, 2 * MS, runtime_ns, state + 3, PREEMPT if enq_flags & 1 else 0)
        return out


def made_by(policy: type[Policy]) -> list[Decided]:
    machine = OfflineMachine(make_topology(cpus=2), policy)
    for number in range(4):
        machine.wake(machine.add(f"hog{number}"))
    machine.wake(machine.add("talker", runs_ns=MS, sleeps_ns=3 * MS))
    machine.run(200 * MS)
    return machine.decisions


def test_all_forms_give_the_same_decisions() -> None:
    dispatched = made_by(Dispatches)
    assert len(dispatched) > 100
    assert {each.preempt for each in dispatched} == {True, False}
    assert dispatched == made_by(Returns) == made_by(Flat)


def test_without_a_vtime_the_order_is_that_of_the_enqueues() -> None:
    task = task_class(ENQUEUE_FIELDS)(5, 100, 77, 9)  # type: ignore[call-arg]
    decided = Decision(task)
    assert decided == (5, 100, CPU_ANY, 0, 77, 9, 0)
    assert decided._asdict() == dict(zip(DECISION_FIELDS, decided, strict=True))
    with pytest.raises(AttributeError):
        decided.cpu = 3  # type: ignore[misc]
    with pytest.raises(AttributeError):
        decided.core = 3  # type: ignore[attr-defined]


def test_a_flat_list_and_decisions_are_turned_into_each_other() -> None:
    both = list(Decision.each_of(FLAT))
    assert both[1].vtime_ns == 9
    assert flat_decisions(both) == FLAT
    assert flat_decisions([]) == []
    with pytest.raises(ValueError, match="zip"):
        list(Decision.each_of(FLAT[:-1]))


def test_a_flat_list_is_not_copied() -> None:
    assert flat_decisions(FLAT) is FLAT


@pytest.mark.parametrize("wrong", [None, 7, {1: 2}, np.zeros(3), "1234567"])
def test_no_list_of_decisions_is_refused_with_what_would_be_right(wrong: Any) -> None:
    with pytest.raises(TypeError, match="it takes a list of decisions, a flat list"):
        flat_decisions(wrong)


class Classed(Policy):
    """Notes the flags that a class makes, in both ways."""

    def __init__(self) -> None:
        self.flags: set[tuple[int, int]] = set()

    def enqueue(self, task: Task) -> None:
        one = Decision(task, 0, preempt=task.is_wakeup, task_class=5)
        self.dispatch(task, 0, preempt=task.is_wakeup, task_class=5)
        self.flags.add((one.flags, self.machine.outgoing[-1]))


def test_a_class_is_in_the_flags_of_a_decision() -> None:
    machine = OfflineMachine(make_topology(cpus=1), Classed)
    for number in range(2):
        machine.wake(machine.add(f"hog{number}"))
    machine.run(50 * MS)
    assert isinstance(machine.policy, Classed)
    both = class_flags(5), class_flags(5) | PREEMPT
    assert machine.policy.flags == {(flags, flags) for flags in both}
    assert NR_CLASSES == (lib.PYLAND_DECISION_CLASS >> lib.PYLAND_CLASS_SHIFT) + 1
    assert class_flags(NR_CLASSES - 1) == lib.PYLAND_DECISION_CLASS
