# SPDX-License-Identifier: GPL-2.0-only
"""The shim over real rings: no record is lost or comes twice, and the order is kept."""

import errno

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyland._native import lib
from pyland.engine.loop import Stop
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
