# SPDX-License-Identifier: GPL-2.0-only
"""A task that wakes up does not wait for the slice of a task that is due later."""

from __future__ import annotations

import pytest

from pyland import Policy, Task
from pyland.policies.deadline import Deadline
from pyland.policies.fifo import Fifo
from pyland.policies.vtime import Vtime
from pyland.testing import OfflineMachine, make_topology

MS = 1_000_000


@pytest.mark.parametrize("policy", [Deadline, Vtime])
def test_a_task_that_slept_interrupts_those_that_compute(policy: type[Policy]) -> None:
    machine = OfflineMachine(make_topology(cpus=1), policy)
    hogs = [machine.add(f"hog{number}") for number in range(3)]
    for hog in hogs:
        machine.wake(hog)
    machine.run(200 * MS)
    editor = machine.add("editor", runs_ns=1 * MS, sleeps_ns=20 * MS)
    machine.wake(editor)
    machine.run(1000 * MS)
    # A slice among four tasks, when no running task is far enough behind.
    assert editor.longest_wait_ns <= 2.5 * machine.slices.shortest_ns
    assert min(hog.total_runtime_ns for hog in hogs) > 200 * MS


def test_no_task_is_interrupted_where_none_is_due_later() -> None:
    machine = OfflineMachine(make_topology(cpus=1), Fifo)
    hog, other, late = (machine.add(name) for name in ("hog", "other", "late"))
    machine.wake(hog)
    machine.wake(other)
    machine.run(100 * MS)
    before = str(machine.trace)
    machine.wake(late)
    assert "makes room" not in str(machine.trace)[len(before) :]


def test_a_task_that_continues_after_its_slice_interrupts_no_other() -> None:
    class LastFirst(Policy):
        """Prefers the task that was enqueued last."""

        def enqueue(self, task: Task) -> None:
            self.dispatch(task, vtime_ns=2**60 - task.enqueue_ns, slice_ns=5 * MS)

    machine = OfflineMachine(make_topology(cpus=2), LastFirst)
    for number in range(3):
        machine.wake(machine.add(f"hog{number}"))
    machine.run(1 * MS)
    before = str(machine.trace)
    machine.run(500 * MS)
    assert "makes room" not in str(machine.trace)[len(before) :]
