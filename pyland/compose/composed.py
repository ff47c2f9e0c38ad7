# SPDX-License-Identifier: GPL-2.0-only
"""Sorts tasks into parts, asks the policy of each, and replaces one that fails."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from itertools import count
from typing import Any, ClassVar

from pyland._native import Division
from pyland.compose import events, looks, sorting
from pyland.compose.events import Events
from pyland.compose.looks import Looks
from pyland.compose.needs import needs_of
from pyland.compose.newcomers import ask_first
from pyland.compose.part import LAST_RESORT, Part, construct
from pyland.compose.place import Place
from pyland.compose.seat import NEAR_NS, Row, Seat, check
from pyland.compose.sorting import Sorting
from pyland.decision import DECISION_FIELDS
from pyland.errors import UsageError
from pyland.options import Value
from pyland.policy import FIELDS, Batch, Policy, Task
from pyland.task import task_class

_WIDTH = len(DECISION_FIELDS)
_KEY = DECISION_FIELDS.index("vtime_ns")
_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)


class Composed(Events):
    """Tasks belong to parts, and each part has a policy of its own.

    Derive from it, say what parts there are, and which one a task belongs to:

        class Mine(Composed):
            parts = {
                "game": Part("deadline", cpus=range(4)),
                "rest": Part("vtime", cpus=range(4, 8)),
            }

            def part_of(self, task: Task) -> str:
                return "game" if task.comm == "game" else "rest"

    Parts whose CPUs depend on the machine or on options come from `make_parts`. A part may be
    a composed policy itself.
    """

    _needs: ClassVar[tuple[str, ...]] = ()
    _often_ns: ClassVar[int] = 0

    parts: ClassVar[Mapping[str, Part]] = {}
    """The parts by name; a name has a to z, digits and _."""

    reads: ClassVar[tuple[str, ...]] = ("comm",)
    """The fields of a task that `part_of` reads."""

    def make_parts(self) -> Mapping[str, Part]:
        """The parts; override it if they depend on `self.machine` or on options."""
        return self.parts

    def part_of(self, task: Task) -> str:
        """The name of the part that a task belongs to.

        Asked about a new task, and about each task that is decided, twice a second at
        most. `task` has the fields of `reads`, and `pid`. If it raises or names no part, the
        task belongs to the last one; if it did not return for a second twice, all do.
        """
        raise TypeError(f"{type(self).__name__} has no part_of()")

    def __init__(self) -> None:
        """Make the parts; raises UsageError for a part that cannot be made."""
        machine = self.machine
        declared = self.make_parts()
        if not declared:
            raise UsageError(f"policy {self.name} has no parts")
        self._places: dict[str, Place] = {}
        # The domains of the caches are for tasks that were never decided.
        free = count(machine.topology.nr_llcs)
        self._alone = len(declared) == 1 and next(iter(declared.values())).cpus is None
        for name, part in declared.items():
            if not _NAME.fullmatch(name):
                raise UsageError(f"part {name!r}: a name has a to z, 0 to 9 and _, as of a number")
            place = Place(name, part, machine, free.__next__, alone=self._alone)
            place.machine.guarded = partial(self._call, place)
            place.swapped = self._swapped
            self._places[name] = place
        self._in_order = [*self._places.values()]
        self._newest_ns = 0
        self._hearing = {}
        self._reach_ns = NEAR_NS
        self._looks = Looks(self._in_order)
        self._sorting = Sorting(self._ruled, self.reads, self._places, self._rule_failed)
        self._make_task = task_class(self._sorting.ruled)
        self._division: Division[Place] = Division(
            place_by_pid=self._sorting.place_by_pid,
            newcomers=self._sorting.newcomers,
            in_order=self._in_order,
            look=self._look,
            wake=self._looks.wake,
            sort_in=self._sort_in,
            complete=self._complete,
            without=self._without,
            is_alone=self._alone,
        )
        if type(self).decide is Composed.decide:
            self.decide = self._division.decide  # type: ignore[assignment]
        self._settle()

    def _swapped(self) -> None:
        """Called when a part has another policy, which does not know the state of its tasks."""
        # A single part does not note its tasks. From here on it does: old states do not count.
        self._division.is_alone = False
        self._note_hearing()

    def _ruled(self, known: Row) -> str:
        """The name of the part of a task; `known` has its values for `Sorting.ruled`."""
        if len(self._in_order) == 1:
            return self._in_order[0].name
        return self.part_of(self._make_task(*known))

    def _rule_failed(self, error: BaseException) -> None:
        self.machine.part_failed("rule", self.name, error)

    def _settle(self) -> None:
        """Take over what the present policies of the parts need."""
        needs = needs_of(self._in_order, self._needs, self.reads, self._often_ns)
        for name, value in needs._asdict().items():
            setattr(self, name, value)
        self._division.pid_at = self.fields.index("pid")
        self._division.cpu_at = self.fields.index("cpu")
        self._sorting.reads(self.fields)
        for place in self._in_order:
            place.reads(self.fields)
            place.seat.batch.view = partial(self._part_view, place)
        self._count_held()
        self._note_hearing()
        ask_first(self.machine, self._in_order)
        self._division.look_due_ns = 0

    def leave(self) -> None:
        """Another policy schedules: drop all parts, which refer to this and to each other."""
        for place in self._in_order:
            inner = place.seat.policy
            if isinstance(inner, Composed):
                inner.leave()
            vars(place).clear()
            del place.seat, place.rows
        vars(self).clear()

    # Live changes.

    def part_names(self) -> dict[str, str]:
        """The name of each part's present policy, by part; a part of a part is `outer.inner`."""
        names: dict[str, str] = {}
        for name, place in self._places.items():
            policy = place.seat.policy
            names[name] = policy.name
            if isinstance(policy, Composed):
                names |= {f"{name}.{inner}": one for inner, one in policy.part_names().items()}
        return names

    def part_name(self, name: str) -> str:
        """The name of a part in `part_names`, from what `swap_part` takes; raises UsageError."""
        return name

    def swap_part(self, name: str, policy: type[Policy], options: Mapping[str, Value]) -> str:
        """Let another policy take over in one part; returns the name of the one before.

        Tasks, CPUs and policies of other parts stay as they are. Tasks of this part are new to its
        policy: their `state` is 0. `fields` and all else that BPF is told of a policy may change.
        Raises UsageError, and then has changed nothing.
        """
        outer, dot, inner = name.partition(".")
        if (place := self._places.get(outer)) is None:
            has = ", ".join(self.part_names())
            raise UsageError(f"policy {self.name} has no part {outer!r}; it has: {has}")
        before = place.seat.policy
        if dot:
            if not isinstance(before, Composed):
                raise UsageError(f"part {outer}: policy {before.name} has no parts of its own")
            replaced = before.swap_part(inner, policy, options)
        else:
            replaced = before.name
            place.swap(lambda: construct(name, policy, place.machine, options))
        self._settle()
        return replaced

    def resize_part(self, name: str, home: int, reach: int) -> None:
        """Give a part with `near` other CPUs: `home` are its own, `reach` all that it may use.

        Both are masks. The part's policy is told by `resized`.
        """
        place = self._places[name]
        place.machine.resize(home, reach)
        for seat in (place.seat, place.reserve):
            seat.find_places()
            self._call(place, seat.policy.resized)

    # Deciding.

    def placed(self, name: str, rows: Sequence[Row], flat: list[int]) -> None:
        """Called when a part has decided; its tasks have the places that `Part.near` says.

        Called for parts with `near`, with rows of `fields` and the decisions, which may be changed
        here. It is not called for usual tasks whose answer is a decision for each of them:
        `Division` places these, and counts them.
        """

    def decide(self, batch: Batch) -> list[int]:
        """Each part decides its own tasks; what its policy leaves is decided by its reserve."""
        return self._division.decide(batch)

    def _sort_in(self, batch: Batch) -> None:
        """Called when a batch has tasks whose part is not known: find their parts."""
        for pid, token in self._sorting.sort_in(batch):
            self._pass_on(token, pid)

    def _look(self, now_ns: int) -> None:
        """Read the load of the parts anew, and sort tasks again whose part may have changed."""
        self._division.look_due_ns = self._looks.look(now_ns)
        self._sorting.look(now_ns)

    def _part_view(self, place: Place, fields: tuple[str, ...]) -> list[Row]:
        """The rows of the tasks that the policy of a part is shown, with these fields."""
        wanted = tuple(name for name in FIELDS if name in {"pid", *fields})
        pid_at, mine = wanted.index("pid"), [wanted.index(name) for name in fields]
        division = self._division
        known = {row[pid_at]: row for row in division.batch.view(wanted)}
        mine_only = (known[row[division.pid_at]] for row in place.rows)
        found = known.values() if division.is_alone else mine_only
        return [tuple(row[at] for at in mine) for row in found]

    def _complete(self, place: Place, answer: Any) -> list[int]:
        """Decisions for the machine from an unusual answer, or from one whose keys are compared."""
        flat = place.complete(answer, self._newest_ns, self._reach_ns)
        if not place.machine.places_domains:
            self.placed(place.name, place.rows, flat)
        if flat and flat[_KEY] > self._newest_ns:
            self._newest_ns = flat[_KEY]
        self._count_held()
        return flat

    def _without(self, place: Place, error: BaseException, now_ns: int) -> list[int]:
        """Decide the rows of a part whose policy failed."""
        sorting, pid_at = self._sorting, self._division.pid_at
        mine = self._division.batch.view(self.fields) if self._division.is_alone else place.rows
        rows = [sorting.without_state(row) for row in mine]
        # Their next records have a state that is not this policy's.
        for row in rows:
            sorting.forget(row[pid_at])
        try:
            place.failed(error, now_ns)
            flat = place.in_reserve(rows, now_ns, self._newest_ns, self._reach_ns)
            if not place.machine.places_domains:
                self.placed(place.name, rows, flat)
            return flat
        except Exception as another:  # noqa: BLE001 - without memory even this fails
            self.machine.part_failed(place.name, LAST_RESORT, another)
            return []

    def blame(self, refused: Sequence[Any]) -> bool:
        """Find the part whose answer is no list of decisions; True if one is found.

        The numbers of an answer are checked only after a failure of its part; this may be the
        first failure.
        """
        found = False
        for place in self._in_order:
            of_place: list[Any] = []
            for at in range(0, len(refused), _WIDTH):
                decision = refused[at : at + _WIDTH]
                pid = decision[1] if len(decision) > 1 and type(decision[1]) is int else -1
                if self._alone or self._sorting.token(pid) == place.seat.token:
                    of_place += decision
            try:
                check(of_place)
            except TypeError as error:
                found = True
                place.failed(error, self.machine.now_ns)
        return found


_METHODS: tuple[Callable[..., Any], ...] = (
    *(Composed.decide, Composed._sort_in, Composed._complete, Composed._without),
    *(Composed._look, Composed._part_view, Composed._ruled),
    *(Place.complete, Place.failed, Place.in_reserve, Seat.taken, Seat.shown, check),
)
TRANSPORT = (*_METHODS, *events.TRANSPORT, *looks.TRANSPORT, *sorting.TRANSPORT)
"""The code between the loop and the policies of parts: it is never interrupted, and not shown."""
