# SPDX-License-Identifier: GPL-2.0-only
"""One running pyland that tests take turns with: a swap takes 5 ms, a start six seconds."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from tests.kernel.harness import counted, swap
from tools.load.scheduler import Scheduler, Totals


@dataclass(frozen=True)
class Turn:
    """What a test does with the pyland that all share, from the swap to its own policy on."""

    scheduler: Scheduler
    totals: Totals
    """By how much the counters have grown in the turn; known after it."""
    _said_before: int = 0

    @property
    def output(self) -> str:
        """What pyland has printed in the turn so far."""
        return self.scheduler.output[self._said_before :]


class Shared:
    """A pyland without options, from the first turn on."""

    def __init__(self) -> None:
        self.scheduler: Scheduler | None = None
        """None before the first turn, and after the end."""
        self._broken = False

    @contextlib.contextmanager
    def turn(self, policy: str, *options: str, right: bool = True) -> Iterator[Turn]:
        """A turn with this policy and its options, which it is swapped to before the block begins.

        Asserts that pyland schedules during the whole block, and, if `right`, that its decisions
        are right: a hostile policy's are not.
        After a block that raises, the next turn has another pyland.
        """
        if self._broken:
            self.end()
        if self.scheduler is None:
            self.scheduler = Scheduler()
            self._broken = True
            self.scheduler.wait_enabled()
        self._broken = True
        said = len(self.scheduler.output)
        swap(policy=policy, options=list(options))
        with counted(self.scheduler, right=right) as totals:
            yield Turn(self.scheduler, totals, said)
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
