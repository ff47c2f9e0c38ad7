# SPDX-License-Identifier: GPL-2.0-only
"""Python's end of a cycle (csrc/exchange.c says why it is not cffi's)."""

from typing import Any

from pyland.policy import Batch

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

    def cycle(self, flat: list[int], held: int, room: int, /) -> list[tuple[Any, ...]] | None:
        """Submit the decisions, yield, drain up to `room` records: a tuple for each.

        `nr`, `nr_runnable` and `weight_runnable` of the batch are set to what they are now.
        None when it is time to stop. Raises TypeError, ValueError or OverflowError when
        the list is none of decisions; nothing is submitted then.
        """
