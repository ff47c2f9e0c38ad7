# SPDX-License-Identifier: GPL-2.0-only
"""Rusty's domains on the machine: their CPUs, where their tasks may spill to, and their gauges."""

from __future__ import annotations

from collections.abc import Sequence

from pyland.machine import Machine
from pyland.policies.rusty.homes import Home


class Placing:
    """Rusty's access to the machine's domains; no other part of rusty uses them."""

    def __init__(self, machine: Machine, homes: Sequence[Home]) -> None:
        """Domain n of the machine gets the CPUs of the n-th home, and spills nowhere yet."""
        self._domains = machine.domains
        self._spills = [0] * len(homes)
        for number, home in enumerate(homes):
            self._domains[number].set(cpus=home.cpus, spill=0)

    def spill(self, number: int, cpus: int) -> None:
        """Tasks of this domain may go to these CPUs when none idles at home."""
        if self._spills[number] != cpus:
            self._spills[number] = cpus
            self._domains[number].set(spill=cpus)

    def waiting(self, number: int) -> int:
        """How many tasks wait in this domain."""
        return self._domains[number].gauges.nr_waiting

    def runnable(self, number: int) -> int:
        """How many tasks of this domain run or wait."""
        return self._domains[number].gauges.nr_runnable

    def weight(self, number: int) -> int:
        """The weight of the tasks that run or wait in this domain."""
        return self._domains[number].gauges.weight

    def used_ns(self, number: int) -> int:
        """CPU time that tasks of this domain have used."""
        return self._domains[number].gauges.used_ns


def reached(waiting: int, threshold: int) -> bool:
    """True if as many tasks wait as a threshold says; 1 is always reached, and 0 never."""
    return bool(threshold) and (threshold == 1 or waiting >= threshold)
