# SPDX-License-Identifier: GPL-2.0-only
"""The C part of composed policies, by itself: what it divides, joins, and leaves alone."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyland import CPU_ANY, Batch
from pyland._native import Division
from pyland.compose.seat import Seat
from tests.support.division import Answer, Divided, Place, places_of, usual


def keyed(key_ns: int) -> list[int]:
    """A decision with this key."""
    return [1, 1, CPU_ANY, 1, key_ns, 0, 0]


@pytest.mark.parametrize("as_list", [True, False])
def test_each_part_gets_its_rows_and_answers_are_joined(as_list: bool) -> None:
    divided = Divided(Place(usual, -2), Place(usual, -3))
    assert places_of(divided.decide(1, 2, 3, as_list=as_list)) == [
        *((2, -2, 50), (1, -3, 50), (3, -3, 50)),
    ]
    assert divided.done == [("new", [1, 2, 3])]
    # All are known: the parts are asked in the order in which their tasks come.
    assert [pid for pid, _, _ in places_of(divided.decide(1, 2, 3, as_list=as_list))] == [1, 3, 2]
    assert places_of(divided.decide(2, as_list=as_list)) == [(2, -2, 50)]
    assert divided.decide() == []
    assert len(divided.done) == 1
    assert all(place.rows == [] for place in divided.places)


def test_what_a_policy_is_shown() -> None:
    seen = []

    def noting(batch: Batch) -> list[int]:
        seen.append((batch.nr, batch.now_ns, [*batch.rows]))
        return [0] * 7 * batch.nr

    divided = Divided(Place(noting, -2, pick=(1, 2)), Place(noting, -3))
    divided.decide(2, 1, 4, now_ns=77)
    divided.decide(4, now_ns=78)
    assert seen == [
        (2, 77, [(2, "c2"), (4, "c4")]),
        (1, 77, [(101, 1, "c1")]),
        (1, 78, [(4, "c4")]),
    ]


def test_keys_are_shifted_and_not_below_zero() -> None:
    place = Place(usual, -2)
    divided = Divided(place)
    divided.decide(1)
    for shift_ns, key_ns in ((1 << 40, (1 << 40) + 50), (-20, 30), (-70, 0), (0, 50)):
        place.seat.shift_ns = shift_ns
        assert places_of(divided.decide(1)) == [(1, -2, key_ns)]


def test_keys_begin_where_the_seat_says() -> None:
    """From the first key on, and with the distances that the policy's keys have."""
    keys = [70, 50, 90]
    place = Place(lambda batch: [value for key_ns in keys for value in keyed(key_ns)], -2)
    divided = Divided(place)
    divided.decide(1, 2, 3)
    place.seat.begins_at_ns = 1 << 40
    for begin_ns in (1 << 40, 1 << 40):
        found = [key_ns for _, _, key_ns in places_of(divided.decide(1, 2, 3))]
        assert found == [begin_ns, begin_ns - 20, begin_ns + 20]
    assert (place.seat.begins_at_ns, place.seat.from_ns) == (0, 70)
    assert place.seat.shift_ns == (1 << 40) - 70
    # A key that C cannot move is left to Python, and so is the begin.
    place.seat.begins_at_ns, keys[0] = 1 << 41, 1 << 63
    divided.done.clear()
    divided.decide(1, 2, 3)
    assert divided.done == [("complete", 0, 3)]
    assert place.seat.begins_at_ns == 1 << 41


@given(
    own_ns=st.lists(st.integers(0, 2**64 - 1), min_size=2, max_size=2),
    from_ns=st.integers(0, 2**62),
    rate=st.sampled_from((0, 1, 1 << 20, 3 << 30, 1 << 32)),
    shift_ns=st.integers(-(2**62), 2**62),
    most_ns=st.sampled_from((0, 1 << 37, 1 << 62)),
)
def test_keys_are_those_of_the_seat(
    own_ns: list[int], from_ns: int, rate: int, shift_ns: int, most_ns: int
) -> None:
    """A key of a policy becomes the same one in C and in Python; a far one is left to Python."""
    place = Place(lambda batch: [*keyed(own_ns[0]), *keyed(own_ns[1])], -2)
    divided = Divided(place)
    divided.decide(1, 2)
    seat: Any = place.seat
    seat.shift_ns, seat.from_ns, seat.rate = shift_ns, from_ns, rate
    seat.least_ns, seat.most_ns = max(most_ns - 3 * 10**9, 0), most_ns
    divided.done.clear()
    found = divided.decide(1, 2)
    keys = [Seat.key(seat, key_ns) for key_ns in own_ns]
    if divided.done:
        far = most_ns and keys[0] in (seat.least_ns, seat.most_ns)
        assert far or max(own_ns) >= 2**63
    elif shift_ns or most_ns:
        assert [key_ns for _, _, key_ns in places_of(found)] == [min(k, 2**63 - 1) for k in keys]


@pytest.mark.parametrize(
    "answer",
    [
        lambda batch: (*usual(batch),),
        lambda batch: usual(batch)[:-1],
        lambda batch: [*usual(batch), *usual(batch)],
        lambda batch: [3 if value == CPU_ANY else value for value in usual(batch)],
        lambda batch: [True if value == CPU_ANY else value for value in usual(batch)],
        lambda batch: [],
    ],
)
def test_an_answer_of_another_kind_is_left_to_be_completed(answer: Answer) -> None:
    divided = Divided(Place(answer, -2), Place(usual, -3))
    divided.decide(1, 2)
    divided.decide(2)
    assert divided.done[1:] == [("complete", 0, 1), ("complete", 0, 1)]
    assert divided.places[0].rows == []


def test_when_else_answers_are_completed() -> None:
    place = Place(usual, -2)
    divided = Divided(place)
    divided.decide(1)
    for change in (
        lambda: setattr(place.seat, "is_unusual", True),
        lambda: place.seat.outgoing.append(1),
        lambda: setattr(place.seat.policy, "nr_held", 1),
        lambda: setattr(place.seat, "check_due_ns", 5),
    ):
        divided.done.clear()
        change()
        divided.decide(1)
        assert ("complete", 0, 1) in divided.done
        place.seat.is_unusual = False
        place.seat.outgoing.clear()
        place.seat.policy.nr_held = 0
    divided.done.clear()
    divided.decide(1)
    assert divided.done == []
    assert place.seat.check_due_ns == 500_000_005
    # With a range of keys a part needs no comparison with others.
    place.seat.check_due_ns, place.seat.most_ns = 5, 1 << 40
    divided.decide(1)
    assert divided.done == []
    divided.division.look_due_ns = 5
    divided.decide(1)
    assert divided.done == [("look", 5)]


def test_a_part_that_sleeps_is_woken_by_its_own_tasks() -> None:
    divided = Divided(Place(usual, -2), Place(usual, -3))
    divided.decide(1, 2)
    divided.done.clear()
    for place in divided.places:
        place.sleeps = True
    divided.decide(1, now_ns=7)
    assert divided.done == [("wake", 1, 7)]
    divided.decide(1, 2, now_ns=8)
    assert divided.done == [("wake", 1, 7), ("wake", 0, 8)]


def test_rows_do_not_outlive_a_call_that_fails() -> None:
    """A look at a part may be interrupted; its rows are those of an old batch afterwards."""

    def fails(place: Place, now_ns: int) -> None:
        raise KeyboardInterrupt

    divided = Divided(Place(usual, -2), Place(usual, -3), wake=fails)
    divided.decide(1, 2)
    divided.places[0].sleeps = True
    with pytest.raises(KeyboardInterrupt):
        divided.decide(1, 2)
    assert [place.rows for place in divided.places] == [[], []]
    divided.places[0].sleeps = False
    assert [pid for pid, _, _ in places_of(divided.decide(1, 2))] == [1, 2]


def test_places_that_a_policy_names() -> None:
    """Domains and CPUs of the part are those of the machine; what is for any CPU goes nearby."""
    cpus, flags = [-3, 4, CPU_ANY, -2], [0, 0, 0, 0]

    def naming(batch: Batch) -> list[int]:
        named = zip(cpus, flags, strict=True)
        return [value for cpu, flag in named for value in (0, 1, cpu, 1, 50, 0, flag)]

    place = Place(naming, -9)
    divided = Divided(place)
    seat, division = place.seat, divided.division
    divided.by_pid[1], pids = place, (1, 1, 1, 1)
    seat.places, seat.cpus = {-2: -5, -3: -6}, {4: 4}
    assert [at for _, at, _ in places_of(divided.decide(*pids))] == [-6, 4, -9, -5]
    # A task for any CPU goes to where its last CPU says; that is the second value of a row here.
    division.cpu_at, seat.near = 1, {1: -7}
    assert [at for _, at, _ in places_of(divided.decide(*pids))] == [-6, 4, -7, -5]
    assert divided.done == []
    for at, cpu, flag in (
        (0, -4, 0),  # a domain that the part does not have
        (1, 5, 0),  # a CPU that it may not use
        (1, 4, 1),  # a flag: it may be a kick
    ):
        before = cpus[at], flags[at]
        cpus[at], flags[at] = cpu, flag
        divided.done.clear()
        divided.decide(*pids)
        assert divided.done == [("complete", 0, 4)]
        cpus[at], flags[at] = before


def test_parts_that_keep_tasks_are_asked_without_rows() -> None:
    kept, other = Place(lambda batch: [], -2), Place(usual, -3)
    divided = Divided(kept, other)
    divided.decide(1)
    kept.seat.nr_held = divided.division.nr_held = 1
    divided.done.clear()
    assert places_of(divided.decide(1)) == [(1, -3, 50)]
    assert divided.done == []
    kept.seat.policy.nr_held = 1
    divided.decide()
    assert divided.done == [("complete", 0, 0)]


def test_a_failure_is_that_of_one_part() -> None:
    def failing(batch: Batch) -> list[int]:
        raise [ValueError, ValueError, KeyError].pop(failures.pop())

    failures = [2, 1, 0]
    divided = Divided(Place(failing, -2), Place(usual, -3))
    flat = divided.decide(1, 2, now_ns=9)
    assert flat[:7] == [0] * 7
    assert places_of(flat)[1:] == [(1, -3, 50)]
    divided.decide(2, now_ns=10)
    assert divided.done[1:] == [("without", 0, ValueError, 9), ("without", 0, ValueError, 10)]
    with pytest.raises(LookupError):
        divided.decide(2)
    assert len(divided.places[0].rows) == 0


def test_the_only_part_answers_for_the_machine() -> None:
    answers: list[Any] = [[1] * 7, (2,) * 7, [], ValueError()]

    def answering(batch: Batch) -> Any:
        answer = answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    divided = Divided(Place(answering, -2), is_alone=True)
    assert divided.decide(1) == [1] * 7
    assert divided.places[0].seat.last == [1] * 7
    assert divided.decide(1) == [2] * 7
    assert divided.decide(1) == []
    assert divided.decide(1, now_ns=8) == [0] * 7
    assert divided.done == [("complete", 0, 0), ("without", 0, ValueError, 8)]


def test_rows_that_are_none_are_refused() -> None:
    divided = Divided(Place(usual, -2))
    wrong: list[list[Any]] = [[1, 2], [(1,)], [[1, 2]], [(1, [])]]
    for rows in wrong:
        batch = Batch()
        batch.rows = rows
        with pytest.raises(TypeError):
            divided.division.decide(batch)


def test_what_cannot_be_divided_among() -> None:
    def make(in_order: list[Any]) -> None:
        def nothing(*_: Any) -> Any:
            return None

        Division(
            place_by_pid={}, newcomers=[], in_order=in_order, look=nothing, wake=nothing,
            sort_in=nothing, complete=nothing, without=nothing, is_alone=False,
        )  # fmt: skip

    with pytest.raises(ValueError, match="there are no parts"):
        make([])
    with pytest.raises(TypeError, match="a part is no Place"):
        make(["place"])


def test_cycles_are_collected() -> None:
    divided = Divided(Place(usual, -2))
    divided.places[0].seat.decide = divided.decide
    gone = [weakref.ref(one) for one in (divided.places[0], divided)]
    del divided
    gc.collect()
    assert [one() for one in gone] == [None, None]
