# SPDX-License-Identifier: GPL-2.0-only
"""Rusty's domains on the machine: their CPUs, where their tasks may spill to, and their gauges."""

from __future__ import annotations

from collections.abc import Sequence

from pyland.machine import Machine
from pyland.policies.rusty.homes import Home
from pyland.policies.rusty.options import RustyOptions


class Placing:
    """Rusty's access to the machine's domains; no other part of rusty uses them."""

    def __init__(self, machine: Machine, homes: Sequence[Home]) -> None:
        """Domain n of the machine gets the CPUs of the n-th home, and spills nowhere yet."""
        self._domains, self._homes = machine.domains, homes
        self._spills = [0] * len(homes)
        for number, home in enumerate(homes):
            self._domains[number].set(cpus=home.cpus, spill=0, search="soon")
        # A CPU may be in two domains (`cpumasks`): it is in neither of these then.
        self._others = [self._near_and_far(number) for number in range(len(homes))]

    def spill(self, number: int, cpus: int) -> None:
        """Tasks of this domain may go to these CPUs when none idles at home."""
        if self._spills[number] != cpus:
            self._spills[number] = cpus
            self._domains[number].set(spill=cpus)

    def sums(self, number: int) -> Sequence[int]:
        """`Domains.sums` of one domain."""
        return self._domains.sums((number,))

    def set_spills(self, busy: Sequence[float], options: RustyOptions) -> None:
        """Say where the tasks of each domain may go, while it is this busy (0 to 1 each)."""
        if len(self._homes) == 1:
            return
        direct = self._less_busy(busy, options.direct_greedy_under)
        kicked = self._less_busy(busy, options.kick_greedy_under)
        for number, (near, far) in enumerate(self._others):
            waiting = self.sums(number)[3]
            spill = direct & (near | far if options.direct_greedy_numa else near)
            if reached(waiting, options.greedy_threshold):
                spill |= kicked & near
                if reached(waiting, options.greedy_threshold_x_numa):
                    spill |= kicked & far
            self.spill(number, spill)

    def _less_busy(self, busy: Sequence[float], percent: float) -> int:
        """The CPUs of all domains that are less busy than this; 100 is all, 0 none."""
        return sum(
            home.cpus
            for part, home in zip(busy, self._homes, strict=True)
            if percent >= 100 or part * 100 < percent
        )

    def _near_and_far(self, number: int) -> tuple[int, int]:
        """The CPUs of other domains, of the same node and of other nodes."""
        near = far = 0
        for other, home in enumerate(self._homes):
            if other != number and home.node == self._homes[number].node:
                near |= home.cpus
            elif other != number:
                far |= home.cpus
        own = self._homes[number].cpus
        return near & ~own, far & ~own


def reached(waiting: int, threshold: int) -> bool:
    """True if as many tasks wait as a threshold says; 1 is always reached, and 0 never."""
    return bool(threshold) and (threshold == 1 or waiting >= threshold)
