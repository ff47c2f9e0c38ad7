# SPDX-License-Identifier: GPL-2.0-only
"""Which part each task belongs to: the rule's answers, kept for half a second."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from pyland.compose.place import Place
from pyland.compose.seat import Row
from pyland.output import telling
from pyland.output.telling import PolicyTookTooLongError
from pyland.policy import FIELDS, Batch

AGAIN_NS = 500_000_000
"""A task is sorted anew after this time: its name or group may have changed."""
_GENERATION_NS = 10_000_000_000
_KNOWN_MAX = 16_384
_HUNG_MAX = 2


class Sorting:
    """Takes rows to places. `newcomers` and `place_by_pid` are for the loop over a batch."""

    def __init__(
        self,
        rule: Callable[[Row], str],
        reads: Iterable[str],
        places: Mapping[str, Place],
        failed: Callable[[BaseException], None],
    ) -> None:
        """`rule` names the place of a task by its values for `ruled`; `failed` is told if it fails.

        `reads` are the fields that the rule reads.
        """
        self._rule, self._places, self._failed = rule, places, failed
        self._last = [*places.values()][-1]
        self.ruled = tuple(name for name in FIELDS if name in {"pid", *reads})
        """The fields that the rule sees, and the pid."""
        self.newcomers: list[Row] = []
        """Rows of tasks that have no place yet."""
        self.place_by_pid: dict[int, Place] = {}
        self._pid_at = self._state_at = 0
        # By pid, the token of the seat that decided a task last, in two generations.
        self._token: dict[int, int] = {}
        self._token_before: dict[int, int] = {}
        self._again_ns = self._old_ns = 0
        self._hung = 0

    def reads(self, fields: tuple[str, ...]) -> None:
        """From here on rows have these fields; all tasks are sorted anew."""
        self._pid_at, self._state_at = fields.index("pid"), fields.index("state")
        self._clear()

    def look(self, now_ns: int) -> None:
        """Forget the places of all tasks twice a second, and more rarely the seats of old tasks."""
        if now_ns < self._again_ns:
            return
        self._again_ns = now_ns + AGAIN_NS
        self._clear()
        if now_ns >= self._old_ns or len(self._token) > _KNOWN_MAX:
            self._old_ns = now_ns + _GENERATION_NS
            self._token_before, self._token = self._token, {}

    def sort_in(self, batch: Batch) -> list[tuple[int, int]]:
        """Find the places of the newcomers, and take their rows there.

        Returns pid and token of each task that a seat with that token decided before: it has
        left that seat, and its state means nothing in another one.
        """
        rows = {row[self._pid_at]: row for row in self.newcomers}
        self.newcomers.clear()
        left: list[tuple[int, int]] = []
        pid_at = self.ruled.index("pid")
        for known in batch.view(self.ruled):
            pid = known[pid_at]
            row = rows.pop(pid, None)
            if row is None:
                continue
            place = self._place_of(known)
            token, before = place.seat.token, self.token(pid)
            if before != token:
                row = self.without_state(row)
                if before:
                    left.append((pid, before))
            self._token[pid] = token
            self.place_by_pid[pid] = place
            place.rows.append(row)
        return left

    def without_state(self, row: Row) -> Row:
        """The row with a state of 0, for a policy that did not give the task its state."""
        return (*row[: self._state_at], 0, *row[self._state_at + 1 :])

    def token(self, pid: int) -> int:
        """The token of the seat that decided a task last; 0 if that is not known."""
        return self._token.get(pid) or self._token_before.get(pid) or 0

    def forget(self, pid: int) -> None:
        """Forget a task that has exited, or whose next record is to be treated as its first."""
        for known in (self.place_by_pid, self._token, self._token_before):
            known.pop(pid, None)

    def unsort(self, pid: int) -> None:
        """Sort the task anew: what the rule reads of it may have changed."""
        self.place_by_pid.pop(pid, None)

    def _clear(self) -> None:
        self.place_by_pid.clear()

    def _place_of(self, known: Row) -> Place:
        """The place of the task with these fields, as the rule says; the last if it fails."""
        if self._hung >= _HUNG_MAX:
            return self._last
        wrong: BaseException
        try:
            name = self._rule(known)
        except BaseException as error:  # noqa: BLE001 - the rule is foreign code
            wrong = error
            if telling.is_a(error, PolicyTookTooLongError):
                self._hung += 1
        else:
            if (place := self._places.get(name)) is not None:
                return place
            wrong = ValueError(f"part_of() named {name!r}; there are {', '.join(self._places)}")
        self._failed(wrong)
        return self._last


TRANSPORT: tuple[Callable[..., Any], ...] = (Sorting.sort_in, Sorting._place_of)
