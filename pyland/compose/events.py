# SPDX-License-Identifier: GPL-2.0-only
"""The calls of a composed policy beside `decide`: each part is told of its own tasks and times."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pyland._native import Division
from pyland.compose.place import Place
from pyland.compose.sorting import Sorting
from pyland.policy import Policy, forget

_EVENTS = ("stopped", "running", "changed", "slept")


class Events(Policy):
    """Passes events on to the parts."""

    _in_order: list[Place]
    _sorting: Sorting
    _division: Division[Place]
    _alone: bool
    _hearing: dict[str, dict[int, tuple[Place, Callable[..., None]]]]
    _token_of: Callable[[int], int]
    _newest_ns: int
    _reach_ns: int

    def tick(self) -> None:
        """Each part's `tick`, when its interval has passed."""
        now_ns = self.machine.now_ns
        for place in self._in_order:
            seat = place.seat
            interval_ns = seat.policy.interval_ns
            if interval_ns and now_ns >= seat.tick_due_ns:
                seat.tick_due_ns = now_ns + interval_ns
                self._call(place, seat.policy.tick)

    def hears(self, event: str) -> bool:
        """True if the policy of a part hears the event, or if tasks are sorted by it."""
        # A task that changes may belong to another part by that.
        sorts = event == "changed" and not self._alone
        return sorts or any(place.seat.hears(event) for place in self._in_order)

    def stopped(self, pid: int, ran_ns: int) -> None:
        """Tell the part of the task, if its policy hears the event."""
        if heard := self._hearing["stopped"].get(self._token_of(pid)):
            self._call(*heard, pid, ran_ns)

    def running(self, pid: int) -> None:
        """Tell the part of the task, if its policy hears the event."""
        if heard := self._hearing["running"].get(self._token_of(pid)):
            self._call(*heard, pid)

    def changed(self, pid: int) -> None:
        """Tell the part of the task, if its policy hears the event; sort the task anew."""
        if heard := self._hearing["changed"].get(self._token_of(pid)):
            self._call(*heard, pid)
        self._sorting.unsort(pid)

    def slept(self, pid: int) -> None:
        """Tell the part of the task, if its policy hears the event."""
        if heard := self._hearing["slept"].get(self._token_of(pid)):
            self._call(*heard, pid)

    def _note_hearing(self) -> None:
        """Note, by event and token, which part hears the event and which method is called."""
        for event in _EVENTS:
            self._hearing[event] = {
                seat.token: (place, getattr(seat.policy, event))
                for place in self._in_order
                if (seat := place.seat).hears(event)
            }
        # A single part has all tasks, also those that it has never decided.
        only = self._in_order[0].seat.token
        self._token_of = (lambda pid: only) if self._alone else self._sorting.token

    def exited(self, pid: int) -> None:
        """Tell the part of the task, if its policy hears the event; forget the task here."""
        self._pass_on(self._sorting.token(pid), pid)
        self._sorting.forget(pid)

    def _pass_on(self, token: int, pid: int) -> None:
        """Tell the policy in the seat with this token that a task has left it."""
        for place in self._in_order:
            # The part that decided a task is forgotten when the task has had no record for long.
            if self._alone or not token or place.seat.token == token:
                forget(place.seat.policy, pid)
                if place.seat.hears("exited"):
                    self._call(place, place.seat.policy.exited, pid)

    def _call(self, place: Place, call: Callable[..., None], *arguments: int) -> None:
        """Call a part's policy outside of `decide`, and carry out what it dispatches."""
        seat = place.seat
        try:
            call(*arguments)
            if seat.outgoing and not self._alone:
                self.machine.outgoing += seat.taken([], self._newest_ns, self._reach_ns, {})
            held = seat.policy.nr_held
        except BaseException as error:  # noqa: BLE001 - a policy may raise anything
            place.failed(error, self.machine.now_ns)
            return
        if held != seat.nr_held:
            seat.nr_held = held
            self._count_held()

    def _count_held(self) -> None:
        self.nr_held = sum(place.seat.nr_held for place in self._in_order)
        self._division.nr_held = self.nr_held


TRANSPORT: tuple[Callable[..., Any], ...] = (
    *(Events._call, Events._pass_on, Events.tick, Events.stopped, Events.slept, Events.exited),
    *(Events.running, Events.changed),
)
