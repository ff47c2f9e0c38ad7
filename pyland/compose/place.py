# SPDX-License-Identifier: GPL-2.0-only
"""One part at work: its machine, its policy, the one in reserve, and how often it failed."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from pathlib import Path
from typing import Any

from pyland._native import DivisionPlace
from pyland.compose.part import LAST_RESORT, Part, construct
from pyland.compose.part_machine import PartMachine
from pyland.compose.seat import Row, Seat
from pyland.decision import DECISION_FIELDS
from pyland.errors import UsageError
from pyland.loading.finder import choose
from pyland.machine import Machine
from pyland.output import telling
from pyland.output.telling import PolicyTookTooLongError
from pyland.policy import Policy

FAILURES_MAX = 10
"""After this many failures within `WINDOW_NS` the reserve's policy takes the part over."""
WINDOW_NS = 10_000_000_000
TOO_LONG_COUNTS = 5
"""A call that was interrupted counts as this many: each takes a second."""

_NOWHERE = Path("/")
_WIDTH = len(DECISION_FIELDS)
_PID = DECISION_FIELDS.index("pid")
_tokens = count(1)


class ForgottenTasksError(Exception):
    """The policy was shown tasks, and some it did not decide and does not keep."""


class Place(DivisionPlace):
    """A part while it schedules."""

    seat: Seat

    def __init__(
        self, name: str, part: Part, whole: Machine, take: Callable[[], int], *, alone: bool
    ) -> None:
        """`take` gives the number of an unused domain; `alone` if all tasks and CPUs are its own.

        Raises UsageError for a part that cannot be made.
        """
        self.name = name
        self.machine = PartMachine(whole, name, part, take, alone=alone)
        self.rows: list[Row] = []
        """What its policy has not been shown yet; always this list."""
        self.swapped: Callable[[], None] = lambda: None
        """Called when it has another policy."""
        self._whole = whole
        self._failures: deque[int] = deque(maxlen=FAILURES_MAX)
        self._fields: tuple[str, ...] = ()
        # Found here: later there is no time to look for it, and perhaps no right to read its file.
        self._last_resort = choose(LAST_RESORT, folder=_NOWHERE).policy
        self.seat = self._seat(self._construct(part))
        self.reserve = self._seat(self._deadline())

    def reads(self, fields: tuple[str, ...]) -> None:
        """From here on rows have these fields."""
        self._fields = fields
        self.seat.reads(fields)
        self.reserve.reads(fields)

    def swap(self, make: Callable[[], Policy]) -> None:
        """Let the policy that `make` returns decide from here on.

        If `make` raises, so does this, and nothing has changed.
        """
        key_ns, load = self.seat.front_ns, self.seat.load
        before = self.machine.set_aside()
        try:
            policy = make()
        except BaseException:
            self.machine.take_back(before)
            raise
        self.machine.drop(before)
        self.seat = self._seat(policy)
        self.reserve.find_places()
        self.seat.load = load
        self.seat.begin_at(key_ns)
        # If it reads further fields, the composed policy lets rows have them after this call.
        if set(policy.fields) <= set(self._fields):
            self.seat.reads(self._fields)
        self._failures.clear()
        self.swapped()

    def complete(self, answer: Any, newest_ns: int, near_ns: int) -> list[int]:
        """An answer of any kind as decisions for the machine.

        Raises TypeError for nonsense and ForgottenTasksError for rows that have no decision.
        """
        seat = self.seat
        held, seat.nr_held = seat.nr_held, seat.policy.nr_held
        flat = seat.taken(answer, newest_ns, near_ns, self._cpus_by_pid(self.rows))
        if len(flat) < _WIDTH * len(self.rows) and not held and not seat.nr_held:
            decided = {*flat[_PID::_WIDTH]}
            pid_at = self._fields.index("pid")
            nr = sum(row[pid_at] not in decided for row in self.rows)
            if nr:
                raise ForgottenTasksError(f"{nr} of {len(self.rows)} tasks have no decision")
        return flat

    def in_reserve(
        self, rows: Sequence[Row], now_ns: int, newest_ns: int, near_ns: int
    ) -> list[int]:
        """The decisions of `deadline` about rows that the part's policy failed to decide.

        The rows have a state of 0, because the state that the policy gave a task means nothing to
        `deadline`.
        """
        seat = self.reserve
        self.machine.outgoing.clear()
        seat.load = self.seat.load
        seat.begin_at(self.seat.front_ns)
        answer = seat.decide(seat.shown(rows, now_ns))
        return seat.taken(answer, newest_ns, near_ns, self._cpus_by_pid(rows))

    def failed(self, error: BaseException, now_ns: int) -> None:
        """Tell of a failure, and let another policy take over after too many."""
        times = TOO_LONG_COUNTS if telling.is_a(error, PolicyTookTooLongError) else 1
        self._failures.extend([now_ns] * times)
        failed = self.seat.policy.name
        self._whole.part_failed(self.name, failed, error)
        telling.forget_traceback(error)
        self.seat.is_checked = self.seat.is_unusual = True
        if len(self._failures) == FAILURES_MAX and now_ns - self._failures[0] <= WINDOW_NS:
            why = f"failed {FAILURES_MAX} times within {WINDOW_NS / 1e9:g} s"
            self.swap(self._deadline)
            self._whole.part_replaced(self.name, failed, why, self.seat.policy.name)

    def _cpus_by_pid(self, rows: Sequence[Row]) -> dict[int, int]:
        """Where the tasks of these rows ran last, if their part has several caches."""
        if not self.seat.near:
            return {}
        pid_at, cpu_at = self._fields.index("pid"), self._fields.index("cpu")
        return {row[pid_at]: row[cpu_at] for row in rows}

    def _seat(self, policy: Policy) -> Seat:
        return Seat(policy, self.machine, next(_tokens))

    def _construct(self, part: Part) -> Policy:
        policy = part.found(self.name)
        try:
            return construct(self.name, policy, self.machine, part.options)
        except UsageError:
            raise
        except Exception as error:
            error.add_note(f"part {self.name}")
            raise

    def _deadline(self) -> Policy:
        return self._last_resort.create(self.machine)


MENDING = frozenset(method.__code__ for method in (Place.failed, Place.in_reserve))
"""The code that takes a failed policy's place. It and all that it calls is never interrupted."""
