# SPDX-License-Identifier: GPL-2.0-only
"""The shim over real rings: no record is lost or comes twice, and the order is kept."""

import errno
import socket
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyland._native import lib
from pyland.engine import guard
from pyland.engine.channel import Channel
from pyland.engine.loop import DispatchLoop, Stop
from pyland.engine.parts import Parts
from pyland.policies.deadline import Deadline
from pyland.policy import Batch, Decision, Policy, Task
from pyland.supervisor.loader import MAX_BATCH
from tools.rings.harness import DISPATCHED, QUEUED, Rings


def write_decisions(rings: Rings, seqs: list[int]) -> None:
    for index, seq in enumerate(seqs):
        rings.shim.decisions[index].seq = seq
        rings.shim.decisions[index].pid = 1


def test_records_arrive_in_the_order_in_which_they_were_written(rings: Rings) -> None:
    assert rings.produce(100) == 100
    assert lib.pyland_drain(rings.shim, 64) == 64
    assert rings.records()[:64] == list(range(64))
    assert lib.pyland_drain(rings.shim, 64) == 36
    assert rings.records()[:36] == list(range(64, 100))
    assert lib.pyland_drain(rings.shim, 64) == 0


def test_a_full_ring_refuses_records_and_takes_them_again_after_a_drain(rings: Rings) -> None:
    assert rings.produce(QUEUED + 100) == QUEUED
    assert lib.pyland_drain(rings.shim, 10) == 10
    assert rings.produce(20) == 10


def test_decisions_arrive_whole_and_in_order(rings: Rings) -> None:
    write_decisions(rings, [7, 8, 9])
    rings.shim.decisions[1].slice_ns = 123
    rings.shim.decisions[1].state = 2**63
    assert lib.pyland_submit(rings.shim, 3) == 3
    assert rings.consume(10) == 3
    assert [row[0] for row in rings.taken(3)] == [7, 8, 9]
    assert rings.taken(3)[1] == (8, 1, 0, 123, 0, 2**63, 0)


def test_decisions_that_find_the_ring_full_go_out_in_the_next_cycle(rings: Rings) -> None:
    seq = 0
    while seq + MAX_BATCH <= DISPATCHED:
        write_decisions(rings, list(range(seq, seq + MAX_BATCH)))
        assert lib.pyland_cycle(rings.shim, MAX_BATCH, 0, MAX_BATCH) == 0
        seq += MAX_BATCH
    write_decisions(rings, list(range(seq, seq + MAX_BATCH)))
    rings.produce(5)
    # A drain takes only as many records as the backlog leaves room for in a batch.
    left = seq + MAX_BATCH - DISPATCHED
    lib.pyland_cycle(rings.shim, MAX_BATCH, 0, MAX_BATCH)
    assert rings.shim.nr_backlog == left
    assert rings.user.nr_held == left
    seq += MAX_BATCH

    seen: list[int] = []
    while taken := rings.consume(1000):
        assert taken > 0
        seen += [row[0] for row in rings.taken(taken)]
        lib.pyland_cycle(rings.shim, 0, 0, MAX_BATCH)
    assert seen == list(range(seq))
    assert rings.shim.nr_backlog == 0


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    steps=st.lists(
        st.tuples(
            st.integers(0, 700),  # records that arrive
            st.integers(1, MAX_BATCH),  # the most that a cycle drains
            st.integers(0, 700),  # decisions that the kernel takes
        ),
        min_size=1,
        max_size=25,
    )
)
def test_every_record_is_answered_exactly_once_in_order(
    rings: Rings, steps: list[tuple[int, int, int]]
) -> None:
    rings = Rings()
    try:
        nr = nr_read = 0
        seen: list[int] = []
        for arrive, most, take in [*steps, *[(0, MAX_BATCH, 20_000)] * 40]:
            rings.produce(arrive)
            write_decisions(rings, rings.records()[:nr])
            nr = lib.pyland_cycle(rings.shim, nr, 0, most)
            assert nr >= 0
            nr_read += nr
            if taken := rings.consume(take) if take else 0:
                seen += [row[0] for row in rings.taken(taken)]
        assert nr_read == rings.produced
        assert seen == list(range(rings.produced))
    finally:
        rings.close()


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


def test_a_whole_record_fits_a_policy_that_wants_the_base(rings: Rings) -> None:
    rings.produce_whole()
    rings.produce(2)
    assert lib.pyland_drain(rings.shim, 64) == 3
    assert rings.records()[:3] == [0, 1, 2]


def test_a_request_stops_the_loop_once(rings: Rings) -> None:
    rings.user.request = 1
    assert lib.pyland_cycle(rings.shim, 0, 0, 64) == Stop.REQUEST
    assert lib.pyland_cycle(rings.shim, 0, 0, 64) == 0


def test_a_broken_ring_of_decisions_is_reported_and_not_walked_for_ever(rings: Rings) -> None:
    write_decisions(rings, [1, 2])
    lib.pyland_submit(rings.shim, 2)
    rings.corrupt_decisions()
    assert rings.consume(10) == -errno.EINVAL
