# SPDX-License-Identifier: GPL-2.0-only
"""The dispatch loop over real rings: every record is answered, and the policy hears of events."""

import socket
from typing import Any

import pytest

from pyland._native import lib
from pyland.engine import guard
from pyland.engine.channel import Channel
from pyland.engine.loop import DispatchLoop, Stop
from pyland.engine.parts import Parts
from pyland.policies.deadline import Deadline
from pyland.policy import Batch, Decision, Policy, Task
from tools.rings.harness import Rings


@pytest.mark.parametrize("max_batch", [1, 3, 64, 512])
def test_the_loop_answers_every_record_whatever_its_batch(max_batch: int) -> None:
    rings = Rings(max_batch=512)

    class Until(Deadline):
        left = 1000

        def decide(self, batch: Batch) -> list[int]:
            flat = super().decide(batch)
            self.left -= len(flat) // 7
            rings.user.exited = self.left <= 0
            return flat

    try:
        rings.produce(1000)
        machine = rings.machine()
        loop = DispatchLoop(rings.shim, Until.create(machine), machine, max_batch=max_batch)
        assert loop.run() is Stop.KERNEL
        assert rings.consume(2000) == 1000
        assert [row[0] for row in rings.taken(1000)] == list(range(1000))
    finally:
        rings.close()


def run_until_kernel_ends_it(rings: Rings, policy: type[Policy]) -> Policy:
    """Run a policy over the records in the ring until it ends the loop."""
    machine = rings.machine()
    made = policy.create(machine)
    assert DispatchLoop(rings.shim, made, machine).run() is Stop.KERNEL
    return made


def test_more_decisions_than_a_batch_go_out_in_several_cycles(rings: Rings) -> None:
    class Hoard(Policy):
        """Keeps 1,500 tasks and lets them go at once, the last first."""

        interval_ns = 1

        def __init__(self) -> None:
            self.kept: list[Task] = []
            self.ticks_after = 0

        def enqueue(self, task: Task) -> None:
            self.kept.append(task)
            if len(self.kept) == 1500:
                for one in reversed(self.kept):
                    self.dispatch(one)

        def tick(self) -> None:
            rings.user.clock_ns += 1
            # All records were seen; the decisions need a few cycles more.
            self.ticks_after += len(self.kept) == 1500
            rings.user.exited = self.ticks_after > 6

    rings.produce(1500)
    rings.user.clock_ns = 10**9
    made = run_until_kernel_ends_it(rings, Hoard)
    assert made.nr_held == 0
    seen: list[int] = []
    while taken := rings.consume(1000):
        seen += [row[0] for row in rings.taken(taken)]
    assert seen == list(reversed(range(1500)))


@pytest.mark.parametrize("batches", [1, 4])
def test_decisions_as_objects_arrive_like_flat_ones(rings: Rings, batches: int) -> None:
    class Typed(Policy):
        left = 100 * batches

        def decide(self, batch: Batch) -> list[Decision]:
            self.left -= batch.nr
            rings.user.exited = self.left <= 0
            return [
                Decision(task, 1, slice_ns=5, vtime_ns=2**63 + task.seq, preempt=True)
                for task in batch.tasks
            ]

    for _ in range(batches):
        rings.produce(100)
    run_until_kernel_ends_it(rings, Typed)
    assert rings.consume(1000) == 100 * batches
    for seq, _, cpu, slice_ns, vtime_ns, _, flags in rings.taken(100 * batches):
        assert (cpu, slice_ns, vtime_ns, flags) == (1, 5, 2**63 + seq, 1)


@pytest.mark.parametrize(
    ("more", "told"),
    [
        ([], "the decision for task 1 has slice_ns = -1: it takes an integer from 0 to 2**64 - 1"),
        ([7], "decide() returned 2 numbers: it takes 7 for each decision"),
        ([7] * 6, "has seq = Decision(seq=0,"),
    ],
)
def test_a_wrong_decision_as_an_object_is_told_like_a_flat_one(
    rings: Rings, more: list[Any], told: str
) -> None:
    class Wrong(Policy):
        def decide(self, batch: Batch) -> list[Decision]:
            return [Decision(task, slice_ns=-1) for task in batch.tasks] + more

    rings.produce(1)
    machine = rings.machine()
    loop = DispatchLoop(rings.shim, Wrong.create(machine), machine)
    with pytest.raises((OverflowError, TypeError)) as raised:
        loop.run()
    # The order of the worker: it looks for a part first, and describes the failure after that.
    ours, theirs = socket.socketpair()
    with ours, theirs:
        assert not Parts(Channel(ours), strict=False).to_blame(loop)
    assert told in guard.describe(raised.value)
    assert rings.consume(10) == 0


@pytest.mark.parametrize("wanted", [None, 0, 7, 2**62])
def test_the_margin_that_bpf_gets_is_the_policys(rings: Rings, wanted: int | None) -> None:
    """`tests/unit/test_preemption.py` has the same table for the offline machine."""

    class Ends(Policy):
        def __init__(self) -> None:
            if wanted is not None:
                self.margin_ns = wanted

        def decide(self, batch: Batch) -> list[int]:
            rings.user.exited = 1
            return []

    rings.produce(1)
    policy = run_until_kernel_ends_it(rings, Ends)
    shortest_ns = policy.machine.slices.shortest_ns
    assert rings.user.margin_ns == policy.margin_ns == (shortest_ns if wanted is None else wanted)


def test_events_are_told_in_order_and_before_the_tasks(rings: Rings) -> None:
    class Listener(Policy):
        def __init__(self) -> None:
            self.heard: list[tuple[str, int]] = []

        def stopped(self, pid: int, ran_ns: int) -> None:
            self.heard.append((f"stopped after {ran_ns}", pid))

        def slept(self, pid: int) -> None:
            self.heard.append(("slept", pid))

        def exited(self, pid: int) -> None:
            self.heard.append(("exited", pid))
            rings.user.exited = 1

        def enqueue(self, task: Task) -> None:
            self.heard.append(("enqueued", task.pid))

    for kind, pid in ((lib.PYLAND_EVENT_STOPPED, 9), (lib.PYLAND_EVENT_SLEPT, 9)):
        rings.produce_event(kind, pid)
    rings.produce(2)
    rings.produce_event(lib.PYLAND_EVENT_EXITED, 1)
    heard = run_until_kernel_ends_it(rings, Listener).heard  # type: ignore[attr-defined]
    # Task 1 had a record, and has ended: the policy hears no more of it.
    assert heard == [
        ("stopped after 5000", 9), ("slept", 9), ("exited", 1), ("enqueued", 2),
    ]  # fmt: skip


def test_extra_fields_come_only_with_records_that_have_them(rings: Rings) -> None:
    class Curious(Policy):
        fields = ("seq", "pid", "enqueue_ns", "state", "comm", "uid", "nice", "cgroup_id")

        def __init__(self) -> None:
            self.seen: list[Task] = []

        def enqueue(self, task: Task) -> None:
            self.seen.append(task)
            rings.user.exited = len(self.seen) == 3

    rings.produce(1)
    rings.produce_whole()
    rings.produce(1)
    seen = run_until_kernel_ends_it(rings, Curious).seen  # type: ignore[attr-defined]
    assert [task.seq for task in seen] == [0, 1, 2]
    assert [(task.uid, task.nice, task.cgroup_id) for task in seen] == [
        (0, 0, 0), (1000, -5, 1 << 40), (0, 0, 0),
    ]  # fmt: skip
