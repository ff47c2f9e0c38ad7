# SPDX-License-Identifier: GPL-2.0-only
"""The compiled part: cffi's face of the C core, and Python's end of a cycle.

csrc/pyland_native.h declares and explains every function and struct of `lib`; csrc/exchange.c
says why `Exchange` does not go through cffi.
"""

from collections.abc import Callable, Iterable
from typing import Any, final

from pyland.policy import Batch, Policy

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

        `place` makes two lists, for now and for later, of decisions and those left over
        before: called when there are any, or `outgoing`, or what is no list. `tell` is
        called after every cycle, `rows` for the rows of so many records. `cap` is how many
        tasks the policy may hold. Raises what the policy raises, and what `cycle` raises.
        """

    def cycle(self, flat: list[int], held: int, room: int, /) -> list[tuple[Any, ...]] | None:
        """Submit the decisions, yield, drain up to `room` records: a tuple for each.

        Sets `nr`, `nr_runnable`, `weight_runnable` and `now_ns` of the batch to what they are
        now. None when it is time to stop. Raises TypeError, ValueError or OverflowError when
        the list is none of decisions, and submits nothing then.
        """
