# SPDX-License-Identifier: GPL-2.0-only
"""The compiled part: cffi's face of the C core, and Python's end of a cycle.

csrc/pyland_native.h declares and explains every function and struct of `lib`; csrc/exchange.c
says why `Exchange` does not go through cffi.
"""

from collections.abc import Callable, Iterable
from typing import Any, Generic, TypeVar, final

from typing_extensions import disjoint_base

from pyland.policy import Batch, Policy

_Place = TypeVar("_Place", bound="DivisionPlace")

ffi: Any
lib: Any

@final
class Exchange:
    """A cycle with lists and tuples."""

    def __new__(
        cls, *, rings: Any, batch: Batch, max_batch: int, fields: tuple[tuple[int, str], ...]
    ) -> Exchange:
        """`rings` is a `struct pyland_rings *` that stays mapped for as long as this lives.

        `fields` are offsets in a record and kinds, as `pyland.engine.wire.places` makes them.
        Raises TypeError for other pointers, ValueError for fields that no record has and for
        a batch larger than that of the rings.
        """

    @property
    def refused(self) -> list[int] | None:
        """The list that was refused last."""

    quiet_until_ns: int
    """Until then `tell` is called for events only."""

    def run(
        self,
        *,
        policy: Policy,
        outgoing: list[int],
        place: Callable[[Any, list[int]], tuple[list[int], list[int]]],
        tell: Callable[[], None] | None,
        rows: Callable[[int], Iterable[tuple[Any, ...]]] | None,
        cap: int,
    ) -> int:
        """Repeat a cycle and a call of `policy.decide` until a cycle ends it: `pyland_cycle_end`.

        `place` gets an answer of the policy and the decisions left over from before, and returns
        two lists of decisions, to submit now and later. It is called only if decisions are left
        over, if there is something in `outgoing`, or if the answer is no list. `tell` is called
        after each cycle that has events, and after every cycle from `quiet_until_ns` on. `rows`
        makes rows of a number of records. `cap` is how many tasks the policy may hold.
        Raises what the policy raises, and what `cycle` raises.
        """

    def cycle(self, flat: list[int], held: int, room: int, /) -> list[tuple[Any, ...]] | None:
        """Submit the decisions, yield, drain up to `room` records: a tuple for each.

        Sets `nr`, `nr_runnable`, `weight_runnable` and `now_ns` of the batch to their present
        values. None when it is time to stop. If the list is no list of decisions it submits
        nothing, and raises TypeError, ValueError or OverflowError.
        """

@disjoint_base
class DivisionSeat:
    """The policy of a part at work, as `Division` sees it."""

    policy: Policy
    decide: Callable[[Batch], Any]
    batch: Batch
    pick: tuple[int, ...] | None
    """Where the policy's fields are in a row; None if rows come with exactly these."""
    queue: int
    """The place of its tasks, unless it is unusual."""
    shift_ns: int
    """What is added to its keys."""
    least_ns: int
    """The lowest key that its tasks may have on the machine."""
    most_ns: int
    """The highest one; 0: any."""
    from_ns: int
    """The key of its policy from which `rate` holds."""
    rate: int
    """How fast its keys grow from there, by 2**32; 0: as those of the policy."""
    outgoing: list[int]
    places: dict[int, int]
    """By the `cpu` of a decision that names a domain, the `cpu` on the machine."""
    cpus: dict[int, int]
    """The CPUs that its tasks may use, each by itself. What is in neither is unusual."""
    near: dict[int, int] | None
    """By CPU, the place of its tasks that ran there last; None: `queue`."""
    home: frozenset[int] | None
    """The part's own CPUs, for `away_ns` alone."""
    nr_placed: int
    """How many decisions were placed by `near`, and counted."""
    nr_moved: int
    """How many of their tasks had run on another CPU before."""
    used_ns: int
    """The CPU time in their records."""
    away_ns: int
    """The part of it on CPUs that are not in `home`."""
    last: list[Any] | None
    """The first decision of its last answer, if that was a usual one; else None."""
    begins_at_ns: int
    """The key that its next decision has to get, from 0 on; 0: as the policy says."""
    check_due_ns: int
    """When its next answer is completed, to compare its keys; of no effect with a range of keys."""
    is_unusual: bool
    """True if each of its answers has to be completed."""
    nr_held: int

@disjoint_base
class DivisionPlace:
    """A part, as `Division` sees it."""

    rows: list[tuple[Any, ...]]
    """What its policy has not been shown yet; always this list."""
    seat: Any
    sleeps: bool
    """True if `wake` is called before its next task is decided."""

@final
class Division(Generic[_Place]):
    """Divides batches among parts, and joins their answers."""

    batch: Batch
    """That of this call, or of the last one."""
    pid_at: int
    """Where a row has the pid."""
    nr_held: int
    """How many tasks all parts keep: while there are any, all are asked."""
    look_due_ns: int
    """When `look` is called next."""
    is_alone: bool
    """True if one part has all tasks, and its decisions are the machine's."""
    cpu_by_pid: dict[int, int] | None
    """Where near tasks ran last; None: they are not counted."""
    nr_allowed: int | None
    """A row with another number at `allowed_at` is special: answers with such are completed."""
    cpu_at: int
    used_at: int
    allowed_at: int
    """Where a row has the CPU, the CPU time, and the number of CPUs that the task may use."""
    is_moving: bool
    """True if all answers about near tasks are completed."""

    def __new__(
        cls,
        *,
        place_by_pid: dict[int, _Place],
        newcomers: list[tuple[Any, ...]],
        in_order: list[_Place],
        look: Callable[[int], None],
        wake: Callable[[_Place, int], None],
        sort_in: Callable[[Batch], None],
        complete: Callable[[_Place, Any], list[int]],
        without: Callable[[_Place, BaseException, int], list[int]],
        is_alone: bool,
    ) -> Division[_Place]:
        """`newcomers` gets the rows of tasks that are not in `place_by_pid`.

        `sort_in` then takes them to places. `wake` is called before a place that sleeps decides.
        `complete` makes decisions of an answer that is not usual, and twice a second of one that
        is; `without` decides when a policy has raised.
        Raises TypeError if a place is no `DivisionPlace`.
        """

    def decide(self, batch: Batch, /) -> list[int]:
        """The decisions of all parts. Raises what the four functions raise."""
