# SPDX-License-Identifier: GPL-2.0-only
"""Timers of a policy, and what it can see of a CPU."""

from __future__ import annotations

import pytest

from pyland import Policy, Task
from pyland.testing import OfflineMachine, make_topology

MS = 1_000_000


class Timed(Policy):
    """Counts its calls."""

    def __init__(self) -> None:
        self.often: list[int] = []
        self.once: list[int] = []
        begin_ns = self.machine.now_ns
        self.timer = self.machine.every(10 * MS, lambda: self.often.append(self.machine.now_ns))
        self.machine.at(begin_ns + 25 * MS, lambda: self.once.append(self.machine.now_ns))

    def enqueue(self, task: Task) -> None:
        self.dispatch(task, slice_ns=5 * MS)


def test_calls_come_when_they_are_due() -> None:
    machine = OfflineMachine(make_topology(cpus=1), Timed)
    begin_ns = machine.now_ns
    policy = machine.policy
    assert isinstance(policy, Timed)
    machine.run(100 * MS)
    assert [time_ns - begin_ns for time_ns in policy.often] == [n * 10 * MS for n in range(1, 11)]
    assert policy.once == [begin_ns + 25 * MS]
    policy.timer.cancel()
    machine.run(100 * MS)
    assert len(policy.often) == 10
    policy.timer.cancel()


def test_a_bad_interval_is_refused() -> None:
    machine = OfflineMachine(make_topology(cpus=1), Timed)
    with pytest.raises(ValueError, match="it takes 1 or more"):
        machine.every(0, print)


def test_what_runs_on_a_cpu() -> None:
    machine = OfflineMachine(make_topology(cpus=2), Timed)
    assert machine.idle_mask == 0b11
    hog = machine.add("hog", cpus=[1])
    other = machine.add("other", cpus=[1])
    machine.wake(hog)
    machine.wake(other)
    machine.run(12 * MS)
    assert machine.idle_mask == 0b01
    state = machine.cpu(1)
    assert state.pid in (hog.pid, other.pid)
    assert state.nr_waiting == 1
    assert machine.now_ns - 20 * MS <= state.since_ns <= machine.now_ns
    assert state.busy_ns + machine.now_ns - state.since_ns == 12 * MS
    assert machine.cpu(0).pid == 0
    with pytest.raises(IndexError, match="there are 0 to 1"):
        machine.cpu(2)
