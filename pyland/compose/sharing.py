# SPDX-License-Identifier: GPL-2.0-only
"""Which CPUs the parts share, and which they do not."""

from __future__ import annotations

from collections.abc import Iterable

from pyland.compose.part_machine import PartMachine
from pyland.domains import mask_of
from pyland.machine import Machine


def overlap(parts: Iterable[PartMachine]) -> bool:
    """True if two parts may use the same CPU."""
    taken = 0
    for part in parts:
        if taken & part.reach:
            return True
        taken |= part.reach
    return False


def confine_newcomers(machine: Machine, parts: Iterable[PartMachine]) -> None:
    """If a part has not all CPUs, a task that was never decided is so before it runs.

    Else it would go to any idle CPU, and stay there while no other task wants that. Such tasks are
    in the domains of the caches. A part within a part gets decided tasks only.
    """
    whole = mask_of(machine.topology.online)
    confined = any(part.places_domains and whole & ~part.reach for part in parts)
    if confined and not isinstance(machine, PartMachine):
        for llc in range(machine.topology.nr_llcs):
            machine.domains[llc].set(direct=False)
