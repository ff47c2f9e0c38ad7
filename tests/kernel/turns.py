# SPDX-License-Identifier: GPL-2.0-only
"""One running pyland that tests take turns with: a swap takes a second, a start half a minute."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from tests.kernel.harness import ask, swap, undisturbed, went_well
from tools.load.scheduler import Scheduler, Totals


class Turn:
    """What a test does with the pyland that all share, from the swap to its own policy on."""

    def __init__(self, scheduler: Scheduler) -> None:
        self.scheduler = scheduler
        self._before = _counters()

    @property
    def totals(self) -> Totals:
        """By how much the counters have grown in this turn."""
        now = _counters()
        return Totals("", {name: value - self._before[name] for name, value in now.items()})


def _counters() -> dict[str, int]:
    counters: dict[str, int] = ask("status")["counters"]
    return counters


class Shared:
    """A pyland without options, from the first turn on."""

    def __init__(self) -> None:
        self.scheduler: Scheduler | None = None
        """None before the first turn, and after the end."""
        self._broken = False

    @contextlib.contextmanager
    def turn(self, policy: str, *options: str) -> Iterator[Turn]:
        """A turn with this policy and its options, which it is swapped to before the block begins.

        Asserts that pyland schedules during the whole block, and that nothing went wrong in it.
        After a block that raises, the next turn has another pyland.
        """
        if self._broken:
            self.end()
        if self.scheduler is None:
            self.scheduler = Scheduler()
            self._broken = True
            self.scheduler.wait_enabled()
        self._broken = True
        with undisturbed(self.scheduler):
            swap(policy=policy, options=list(options))
            turn = Turn(self.scheduler)
            yield turn
        went_well(turn.totals)
        self._broken = False

    def end(self) -> None:
        """End it; asserts that it ends as it should, unless a turn has failed."""
        scheduler, self.scheduler = self.scheduler, None
        broken, self._broken = self._broken, False
        if scheduler is None:
            return
        try:
            if not broken:
                end = scheduler.end()
                assert end.status == 0, end.output
                assert end.totals["swaps"] > 0
        finally:
            scheduler.__exit__()
