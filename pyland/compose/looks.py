# SPDX-License-Identifier: GPL-2.0-only
"""Looks at the parts every few milliseconds: how much load each has, and where its keys are."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from pyland.compose.place import Place
from pyland.compose.sharing import shared

_LOOK_NS = 4_000_000
_LOOK_EACH_NS = 1_000_000
_LOOK_MOST_NS = 16_000_000
"""With more parts that have tasks the looks are further apart, so that they cost as much."""
_SLEEPS_AFTER_NS = 64_000_000
"""A part without a decision for so long is left out of the looks once it has no runnable task."""


class Looks:
    """A look costs 1.2 us for each part that has tasks; parts without tasks *sleep*.

    Most of twelve parts have nothing to do at most times. While decisions are further apart than
    looks, each of them waits for one.
    """

    def __init__(self, places: Sequence[Place]) -> None:
        """None of the places has decided a task yet."""
        self._awake = list(places)
        self._sharing = shared(places)

    def look(self, now_ns: int) -> int:
        """Tell each policy its load, and move the keys of parts that share CPUs.

        Returns the time of the next look.
        """
        awake = self._awake
        for place in awake:
            seat, machine = place.seat, place.machine
            seat.load = machine.look()
            if machine.is_empty and now_ns - seat.batch.now_ns > _SLEEPS_AFTER_NS:
                # The keys of all others follow those of a part that keeps its own.
                place.sleeps = not (seat.nr_held or machine.keeps_keys)
        for group in self._sharing:
            group.look(now_ns)
        self._awake = [place for place in awake if not place.sleeps]
        return now_ns + min(max(_LOOK_NS, _LOOK_EACH_NS * len(awake)), _LOOK_MOST_NS)

    def wake(self, place: Place, now_ns: int) -> None:
        """Look at a part that has slept, before its policy is asked."""
        place.sleeps = False
        self._awake.append(place)
        place.seat.load = place.machine.look()
        for group in self._sharing:
            group.wake(place, now_ns)


TRANSPORT: tuple[Callable[..., Any], ...] = (Looks.look, Looks.wake)
