# SPDX-License-Identifier: GPL-2.0-only
"""The calls of a composed policy beside `decide`: each part is told of its own tasks and times."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from pyland._native import Division
from pyland.compose.place import Place
from pyland.compose.sorting import Sorting
from pyland.policy import Policy, forget
from pyland.timers import Call


class Events(Policy):
    """Passes events on to the parts."""

    _in_order: list[Place]
    _sorting: Sorting
    _division: Division[Place]
    _alone: bool
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
        """True if the policy of a part wants to be told of it."""
        # A task that changes may belong to another part by that.
        sorts = event == "changed" and not self._alone
        return sorts or any(place.seat.hears(event) for place in self._in_order)

    def stopped(self, pid: int, ran_ns: int) -> None:
        """The part of the task is told, if it wants to be."""
        self._pass_on(self._sorting.token(pid), "stopped", pid, ran_ns)

    def running(self, pid: int) -> None:
        """The part of the task is told, if it wants to be."""
        self._pass_on(self._sorting.token(pid), "running", pid)

    def changed(self, pid: int) -> None:
        """The part of the task is told, if it wants to be; the task is sorted anew."""
        self._pass_on(self._sorting.token(pid), "changed", pid)
        self._sorting.unsort(pid)

    def slept(self, pid: int) -> None:
        """The part of the task is told, if it wants to be."""
        self._pass_on(self._sorting.token(pid), "slept", pid)

    def exited(self, pid: int) -> None:
        """The part of the task is told, if it wants to be; the task is forgotten here."""
        self._pass_on(self._sorting.token(pid), "exited", pid)
        self._sorting.forget(pid)

    def _pass_on(self, token: int, event: str, pid: int, *more: int) -> None:
        """Tell the policy in the seat with this token of an event."""
        for place in self._in_order:
            # Of a task that had no record for long it is not known which part decided it.
            gone = event == "exited" and not token
            if self._alone or gone or place.seat.token == token:
                if event == "exited":
                    forget(place.seat.policy, pid)
                if place.seat.hears(event):
                    self._call(place, partial(getattr(place.seat.policy, event), pid, *more))

    def _call(self, place: Place, call: Call) -> None:
        """Call a part's policy outside of `decide`, and carry out what it dispatches."""
        seat = place.seat
        try:
            call()
            if not self._alone:
                self.machine.outgoing += seat.taken([], self._newest_ns, self._reach_ns, {})
        except BaseException as error:  # noqa: BLE001 - a policy may raise anything
            place.failed(error, self.machine.now_ns)
            return
        seat.nr_held = seat.policy.nr_held
        self._count_held()

    def _count_held(self) -> None:
        self.nr_held = sum(place.seat.nr_held for place in self._in_order)
        self._division.nr_held = self.nr_held


TRANSPORT: tuple[Callable[..., Any], ...] = (
    *(Events._call, Events._pass_on, Events.tick, Events.stopped, Events.slept, Events.exited),
    *(Events.running, Events.changed),
)
