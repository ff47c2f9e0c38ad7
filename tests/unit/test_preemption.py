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


@pytest.mark.parametrize(("policy", "most_ns"), [(Deadline, 20 * MS // 6), (Vtime, 5 * MS // 2)])
def test_a_task_that_slept_preempts_those_that_compute(policy: type[Policy], most_ns: int) -> None:
    machine = OfflineMachine(make_topology(cpus=1), policy)
    hogs = [machine.add(f"hog{number}") for number in range(3)]
    for hog in hogs:
        machine.wake(hog)
    machine.run(200 * MS)
    editor = machine.add("editor", runs_ns=1 * MS, sleeps_ns=20 * MS)
    machine.wake(editor)
    machine.run(1000 * MS)
    # A slice among four tasks, when no running task is far enough behind. A decision of `deadline`
    # may have granted it among three, before the editor came.
    assert editor.longest_wait_ns <= most_ns
    assert min(hog.total_runtime_ns for hog in hogs) > 200 * MS


def test_no_task_is_preempted_where_none_is_due_later() -> None:
    machine = OfflineMachine(make_topology(cpus=1), Fifo)
    hog, other, late = (machine.add(name) for name in ("hog", "other", "late"))
    machine.wake(hog)
    machine.wake(other)
    machine.run(100 * MS)
    before = str(machine.trace)
    machine.wake(late)
    assert "makes room" not in str(machine.trace)[len(before) :]


def test_a_task_that_continues_after_its_slice_preempts_no_other() -> None:
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


def runs_at_once(margin_ns: int | None, behind_ns: int, later_ns: int | None = None) -> bool:
    """Does a task that wakes up run at once, if the one that runs is due later by this?"""

    class Keyed(Policy):
        def __init__(self) -> None:
            if margin_ns is not None:
                self.margin_ns = margin_ns

        def enqueue(self, task: Task) -> None:
            self.dispatch(task, vtime_ns=10**12 if task.comm == "hog" else 10**12 - behind_ns)

    machine = OfflineMachine(make_topology(cpus=1), Keyed)
    short, hog, woken = (machine.add(name) for name in ("short", "hog", "woken"))
    for task in (short, hog):
        machine.wake(task)
    machine.sleep(short)
    machine.run(1)
    assert hog.where == "running"
    if later_ns is not None:
        machine.policy.margin_ns = later_ns
    machine.wake(woken)
    return woken.where == "running"


@pytest.mark.parametrize("margin_ns", [None, 0, 7, 5 * MS])
def test_the_margin_is_the_policys_and_by_default_the_shortest_slice(margin_ns: int | None) -> None:
    """`tests/rings/test_loop.py` has the same table for what BPF gets."""
    wanted_ns = MS if margin_ns is None else margin_ns
    # The hog has run for 1 ns, which counts.
    assert not runs_at_once(margin_ns, wanted_ns - 1)
    assert runs_at_once(margin_ns, wanted_ns)


def test_a_margin_that_is_changed_later_has_no_effect() -> None:
    assert not runs_at_once(5 * MS, 2 * MS, later_ns=0)
    assert runs_at_once(0, 2 * MS, later_ns=5 * MS)


@pytest.mark.parametrize("margin_ns", [-1, 2**63])
def test_a_margin_that_is_no_time_is_refused(margin_ns: int) -> None:
    with pytest.raises(ValueError, match="keyed: margin_ns is"):
        runs_at_once(margin_ns, 0)
