# SPDX-License-Identifier: GPL-2.0-only
"""Python's end of a cycle: rows equal the records, and only decisions are sent."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pyland._native import Exchange, ffi
from pyland.domains import NR_DOMAINS, Domains
from pyland.engine.loop import DispatchLoop
from pyland.policies.deadline import Deadline
from pyland.policy import BASE_FIELDS, EXTRA_FIELDS, Batch, Policy
from tools.rings.harness import Rings

GOOD = [5, 1, -1, 1000, 2**63, 0, 1]


class Everything(Deadline):
    fields = (*BASE_FIELDS, *EXTRA_FIELDS)  # type: ignore[assignment]


def loop_over(rings: Rings, policy: type[Policy] = Deadline) -> tuple[DispatchLoop, Exchange]:
    machine = rings.machine()
    loop = DispatchLoop(rings.shim, policy.create(machine), machine)
    return loop, loop._exchange()


@pytest.mark.parametrize("wrong", ["another struct", "void *", "address", "name", "NULL"])
def test_only_rings_are_taken_for_rings(rings: Rings, wrong: str) -> None:
    given = {
        "another struct": rings.shim.batch,
        "void *": ffi.cast("void *", rings.shim),
        "address": int(ffi.cast("uintptr_t", rings.shim)),
        "name": "struct pyland_rings *",
        "NULL": ffi.cast("struct pyland_rings *", 0),
    }[wrong]
    with pytest.raises((TypeError, ValueError)):
        Exchange(rings=given, batch=Batch(), max_batch=1, fields=())


@pytest.mark.parametrize(
    ("max_batch", "fields"),
    [(1, ((4096, "Q"),)), (1, ((2**32 - 4, "i"),)), (1, ((0, "x"),)), (2**31, ())],
)
def test_what_is_beyond_the_memory_of_the_rings_is_refused(
    rings: Rings, max_batch: int, fields: tuple[tuple[int, str], ...]
) -> None:
    with pytest.raises(ValueError, match=r"no field|batch"):
        Exchange(rings=rings.shim, batch=Batch(), max_batch=max_batch, fields=fields)


def test_rows_are_what_struct_makes_of_the_records(rings: Rings) -> None:
    rings.produce(100)
    loop, exchange = loop_over(rings)
    rows = exchange.cycle([], 0, 64)
    assert rows == list(loop._rows(64))
    assert loop._batch.nr == 64
    assert exchange.cycle([], 0, 0) == []
    assert loop._batch.nr == 0


def test_whole_records_have_all_fields(rings: Rings) -> None:
    loop, exchange = loop_over(rings, Everything)
    loop.want()
    rings.produce_whole()
    (row,) = exchange.cycle([], 0, 8) or []
    assert [row] == list(loop._rows(1))
    named = dict(zip(Everything.fields, row, strict=True))
    assert (named["nice"], named["cgroup_id"], named["uid"]) == (-5, 1 << 40, 1000)
    assert len(named["comm"]) == 16


@settings(
    max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(
            st.integers(0, 2**64 - 1),
            st.integers(-(2**31), 2**31 - 1),
            st.integers(-(2**31), 2**31 - 1),
            *[st.integers(0, 2**64 - 1)] * 4,
        ),
        max_size=40,
    )
)
def test_all_numbers_that_fit_arrive_unchanged(
    rings: Rings, decisions: list[tuple[int, ...]]
) -> None:
    _, exchange = loop_over(rings)
    exchange.cycle([number for row in decisions for number in row], 0, 0)
    assert rings.consume(100) == len(decisions)
    assert rings.taken(len(decisions)) == decisions


def test_numbers_of_numpy_are_numbers(rings: Rings) -> None:
    _, exchange = loop_over(rings)
    flat: list[Any] = [np.int64(number) if number < 2**62 else number for number in GOOD]
    exchange.cycle(flat, 0, 0)
    assert rings.consume(1) == 1
    assert rings.taken(1) == [tuple(GOOD)]


@pytest.mark.parametrize(
    ("at", "value", "error"),
    [
        (0, -1, OverflowError),
        (1, 2**31, OverflowError),
        (2, -(2**31) - 1, OverflowError),
        (3, 2**64, OverflowError),
        (3, 1.0, TypeError),
        (4, None, TypeError),
        (5, "1", TypeError),
        (6, -1, OverflowError),
    ],
)
def test_what_does_not_fit_is_refused_and_nothing_is_sent(
    rings: Rings, at: int, value: Any, error: type[Exception]
) -> None:
    _, exchange = loop_over(rings)
    wrong = [*GOOD, *GOOD]
    wrong[7 + at] = value
    with pytest.raises(error):
        exchange.cycle(wrong, 0, 8)
    assert rings.consume(10) == 0


@pytest.mark.parametrize("flat", [[1], GOOD * 513, tuple(GOOD), None])
def test_no_list_of_decisions_is_refused(rings: Rings, flat: Any) -> None:
    _, exchange = loop_over(rings)
    with pytest.raises((ValueError, TypeError)):
        exchange.cycle(flat, 0, 8)
    assert rings.consume(10) == 0


def test_a_list_that_changes_while_it_is_read_is_refused(rings: Rings) -> None:
    flat: list[Any] = [*GOOD, *GOOD]

    class Nasty:
        def __index__(self) -> int:
            flat.clear()
            return 1

    flat[3] = Nasty()
    _, exchange = loop_over(rings)
    with pytest.raises(ValueError, match="changed"):
        exchange.cycle(flat, 0, 8)
    assert rings.consume(10) == 0


def test_the_batch_has_the_gauges_of_its_moment(rings: Rings) -> None:
    loop, exchange = loop_over(rings)
    cpus = rings.shim.cpus
    cpus[0].nr_runnable, cpus[1].nr_runnable, cpus[0].weight_runnable = 3, 4, 700
    # A record's number is its time in us; the sums are taken once in a millisecond.
    rings.produce(2000)
    for _ in range(4):
        exchange.cycle([], 0, 512)
    assert (loop._batch.nr_runnable, loop._batch.weight_runnable) == (7, 700)
    assert loop._batch.now_ns == loop._machine.now_ns > 0


def test_the_sums_of_domains_are_those_of_their_gauges(rings: Rings) -> None:
    """As `Domains.sums` works them out in Python; a counter may be below zero for a moment."""
    machine = rings.machine()
    domains, memory = machine.domains, rings.shim.domains
    for number, (nr, weight) in enumerate(((3, 700), (-1, -100), (2, 10_000))):
        memory[number].nr_runnable, memory[number].weight_runnable = nr, weight
        memory[number].used_ns, memory[number].nr_waiting = 10**15 + number, number
    for numbers in ((), (0,), (2, 0), (0, 1, 2), (1, 1)):
        assert [*domains.sums(numbers)] == Domains.sums(domains, numbers)
    assert [*domains.sums((0, 1, 2))] == [5, 10_700, 3 * 10**15 + 3, 3]
    # A number that no domain has is none of the memory's.
    assert [*domains.sums((NR_DOMAINS, 2**32 - 1))] == [0, 0, 0, 0]


def test_a_policy_with_an_interval_is_told_when_it_has_passed(rings: Rings) -> None:
    """And not in each cycle: a call from C costs as much as half of a decision."""
    told: list[int] = []

    class Ticking(Deadline):
        interval_ns = 20_000_000
        left = 2_000

        def tick(self) -> None:
            told.append(self.machine.now_ns)

        def decide(self, batch: Batch) -> list[int]:
            self.left -= batch.nr
            if self.left <= 0:
                rings.user.exited = 1
            return super().decide(batch)

    loop, _ = loop_over(rings, Ticking)
    loop._max_batch = 1
    tell, calls = loop._tell, []

    def counted() -> None:
        calls.append(1)
        tell()

    loop._tell = counted  # type: ignore[method-assign]
    rings.user.exited = 0
    assert rings.produce(2_000) == 2_000
    loop.run()
    assert told
    assert len(calls) == len(told)
    pairs = itertools.pairwise(told)
    assert all(after - before >= 20_000_000 for before, after in pairs)
