# SPDX-License-Identifier: GPL-2.0-only
"""Python's end of a cycle (csrc/exchange.c says why it is not cffi's)."""

from collections.abc import Callable, Iterable
from typing import Any

from pyland.policy import Batch, Policy

class Exchange:
    """A cycle with lists and tuples."""

    stop: int
    """Why the last cycle returned None: a `pyland_cycle_end`."""

    def __init__(
        self,
        *,
        cycle: int,
        rings: int,
        memory: int,
        decisions: int,
        batch: Batch,
        max_batch: int,
        record_size: int,
        fields: tuple[tuple[int, str], ...],
    ) -> None:
        """The first four are addresses, of `pyland_cycle` and what the shim maps.

        `fields` are offsets and kinds in a record of `record_size` bytes.
        """

    flat: list[int] | None
    """The list that was refused last."""

    def run(
        self,
        *,
        policy: Policy,
        pending: list[int],
        place: Callable[[Any, list[int]], tuple[list[int], list[int]]],
        tell: Callable[[], None] | None,
        rows: Callable[[int], Iterable[tuple[Any, ...]]] | None,
        cap: int,
    ) -> int:
        """Cycles, and calls of `policy.decide`, until something stops them: what it was.

        `place` makes two lists, for now and for later, of decisions and those left over
        before: called when there are any, or `pending`, or what is no list. `tell` is
        called after every cycle, `rows` for the rows of so many records. `cap` is how many
        tasks the policy may hold. What the policy raises goes up, and what `cycle` does.
        """

    def cycle(self, flat: list[int], held: int, room: int, /) -> list[tuple[Any, ...]] | None:
        """Submit the decisions, yield, drain up to `room` records: a tuple for each.

        `nr`, `nr_runnable` and `weight_runnable` of the batch are set to what they are now.
        None when it is time to stop. Raises TypeError, ValueError or OverflowError when
        the list is none of decisions; nothing is submitted then.
        """
