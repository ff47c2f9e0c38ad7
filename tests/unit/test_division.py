# SPDX-License-Identifier: GPL-2.0-only
"""The C part of composed policies, by itself: what it divides, joins, and leaves alone."""

from __future__ import annotations

import gc
import weakref
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pyland import CPU_ANY, Batch, Policy
from pyland._native import Division, DivisionPlace, DivisionSeat
from pyland.compose.seat import Seat

Row = tuple[Any, ...]
Answer = Callable[[Batch], Any]


class Held(Policy):
    """A policy that says how many tasks it keeps."""

    fields = ("seq", "pid")

    def decide(self, batch: Batch) -> list[int]:
        return []


class Place(DivisionPlace):
    """A part whose policy answers as a function says."""

    def __init__(self, answer: Answer, queue: int, *, pick: tuple[int, ...] | None = None) -> None:
        self.rows = []
        self.seat = seat = DivisionSeat()
        seat.policy, seat.decide, seat.batch = Held.__new__(Held), answer, Batch()
        seat.pick, seat.queue, seat.shift_ns, seat.outgoing = pick, queue, 0, []
        seat.is_unusual, seat.nr_held = False, 0


class Divided:
    """A division among places; it notes what it was left to do."""

    def __init__(self, *places: Place, **options: Any) -> None:
        self.done: list[Any] = []
        self.by_pid: dict[int, Place] = {}
        self.newcomers: list[Row] = []
        self.division: Division[Place] = Division(
            place_by_pid=self.by_pid,
            newcomers=self.newcomers,
            in_order=[*places],
            look=lambda now_ns: self.done.append(("look", now_ns)),
            sort_in=self.sort_in,
            complete=self.complete,
            without=self.without,
            is_alone=options.get("is_alone", False),
        )
        self.division.pid_at = 1
        self.division.look_due_ns = 1 << 60
        self.places = places

    def sort_in(self, batch: Batch) -> None:
        self.done.append(("new", [row[1] for row in self.newcomers]))
        for row in self.newcomers:
            place = self.by_pid[row[1]] = self.places[row[1] % len(self.places)]
            place.rows.append(row)
        self.newcomers.clear()

    def complete(self, place: Place, answer: Any) -> list[int]:
        self.done.append(("complete", self.places.index(place), len(place.rows)))
        return [*answer]

    def without(self, place: Place, error: BaseException, now_ns: int) -> list[int]:
        self.done.append(("without", self.places.index(place), type(error), now_ns))
        if isinstance(error, KeyError):
            raise LookupError from error
        return [0] * 7

    def decide(self, *pids: int, now_ns: int = 5, as_list: bool = True) -> list[int]:
        batch = Batch()
        rows = [(100 + pid, pid, f"c{pid}") for pid in pids]
        batch.rows = rows if as_list else iter(rows)
        batch.nr, batch.now_ns = len(pids), now_ns
        return self.division.decide(batch)


def keyed(key_ns: int) -> list[int]:
    """A decision with this key."""
    return [1, 1, CPU_ANY, 1, key_ns, 0, 0]


def usual(batch: Batch) -> list[int]:
    """A decision for each task; its key is 50."""
    return [value for row in batch.rows for value in (row[0], row[1], CPU_ANY, 1, 50, 0, 0)]


def places_of(flat: list[int]) -> list[tuple[int, int, int]]:
    """Pid, place and key of each decision."""
    return [(flat[at + 1], flat[at + 2], flat[at + 4]) for at in range(0, len(flat), 7)]


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
        lambda: setattr(divided.division, "look_due_ns", 5),
    ):
        divided.done.clear()
        change()
        divided.decide(1)
        assert ("complete", 0, 1) in divided.done
        place.seat.is_unusual = False
        place.seat.outgoing.clear()
        place.seat.policy.nr_held = 0
    assert divided.done[0] == ("look", 5)


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
            place_by_pid={}, newcomers=[], in_order=in_order, look=nothing, sort_in=nothing,
            complete=nothing, without=nothing, is_alone=False,
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
