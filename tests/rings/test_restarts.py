# SPDX-License-Identifier: GPL-2.0-only
"""What outlives a restart or a swap: the batch's memory, the place in the ring, the clock."""

from typing import Any

import pytest

from pyland._native import lib
from pyland.engine.loop import DispatchLoop
from pyland.policy import Batch, Policy, Task
from pyland.supervisor.loader import MAX_BATCH
from tools.rings.harness import QUEUED, Rings


class NeedsRealTasks(Policy):
    """Fails on what a warm-up makes up."""

    def enqueue(self, task: Task) -> None:
        raise LookupError(task.comm)


def test_a_warm_up_that_fails_leaves_the_policy_that_schedules(rings: Rings) -> None:
    machine = rings.machine()
    policy = NeedsRealTasks.create(machine)
    loop = DispatchLoop(rings.shim, policy, machine)
    with pytest.raises(LookupError):
        loop.warm_up(NeedsRealTasks.create(machine))
    assert loop.policy is policy
    assert not policy.held


def test_a_machine_can_be_asked_when_its_memory_is_gone(rings: Rings) -> None:
    machine = rings.machine()
    machine.leave_memory()
    machine.domains[3].set(cpus=1)
    assert not machine.is_idle(0)
    assert machine.now_ns == 0
    assert rings.shim.cpus[0].nr_served == 0
    assert rings.shim.domains[3].cpus[0] == 0


class Keeps(Policy):
    """Keeps the array of its last batch."""

    uses_numpy = True
    kept: Any = None

    def decide(self, batch: Batch) -> list[int]:
        self.kept = batch.array
        return []


def test_an_array_of_records_outlives_a_restart(rings: Rings) -> None:
    """The array has the records of later batches, as within a single start."""
    machine = rings.machine()
    policy = Keeps.create(machine)
    assert isinstance(policy, Keeps)
    loop = DispatchLoop(rings.shim, policy, machine)
    loop.warm_up(policy)
    assert policy.kept["pid"].tolist() == list(range(1, MAX_BATCH + 1))
    for _ in range(3):
        machine.leave_memory()
        rings.load_again()
        machine = rings.machine()
        rings.produce(7)
        assert lib.pyland_drain(rings.shim, MAX_BATCH) == 7
        assert policy.kept["seq"][:7].tolist() == list(range(7))


@pytest.mark.parametrize("written", [1, 8, 2**32 - 1, 2**63, 2**64 - 8, 2**64 - 1])
def test_the_next_policy_gets_records_whatever_was_written(rings: Rings, written: int) -> None:
    """A policy has written over the position up to which it has read."""
    rings.produce(10)
    rings.shim.queued.consumer_pos[0] = written
    lib.pyland_drain(rings.shim, MAX_BATCH)
    lib.pyland_mend(rings.shim)
    assert rings.produce(5) == 5
    assert lib.pyland_drain(rings.shim, MAX_BATCH) == 5
    assert rings.records()[:5] == list(range(10, 15))


def test_mending_a_sound_ring_loses_no_record(rings: Rings) -> None:
    for _ in range(20):
        assert rings.produce(QUEUED // 3) == QUEUED // 3
        assert rings.produce_event(lib.PYLAND_EVENT_SLEPT, 1) == 1
        lib.pyland_mend(rings.shim)
        got = 0
        while nr := lib.pyland_drain(rings.shim, MAX_BATCH):
            got += nr
        assert got == QUEUED // 3


def test_a_clock_that_was_written_over_does_not_stop_the_time(rings: Rings) -> None:
    rings.user.clock_ns = 2**62
    lib.pyland_drain(rings.shim, 1)
    rings.user.clock_ns = 77
    lib.pyland_mend(rings.shim)
    lib.pyland_drain(rings.shim, 1)
    assert rings.shim.batch.now_ns == 77
