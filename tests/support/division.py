# SPDX-License-Identifier: GPL-2.0-only
"""The C part of composed policies without the Python one: parts that answer as a test says."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyland import CPU_ANY, Batch, Policy
from pyland._native import Division, DivisionPlace, DivisionSeat

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
        seat.is_unusual, seat.nr_held, seat.check_due_ns = False, 0, 1 << 60


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
            wake=options.get("wake", self.wake),
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

    def wake(self, place: Place, now_ns: int) -> None:
        self.done.append(("wake", self.places.index(place), now_ns))
        place.sleeps = False

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


def usual(batch: Batch) -> list[int]:
    """A decision for each task; its key is 50."""
    return [value for row in batch.rows for value in (row[0], row[1], CPU_ANY, 1, 50, 0, 0)]


def places_of(flat: list[int]) -> list[tuple[int, int, int]]:
    """Pid, place and key of each decision."""
    return [(flat[at + 1], flat[at + 2], flat[at + 4]) for at in range(0, len(flat), 7)]
