# SPDX-License-Identifier: GPL-2.0-only
"""Tasks that were never decided: where parts have CPUs of their own, they are decided first."""

from __future__ import annotations

from collections.abc import Iterable

from pyland.compose.events import Events
from pyland.compose.part_machine import PartMachine
from pyland.compose.place import Place
from pyland.cpumask import mask_of
from pyland.machine import Machine


def ask_first(machine: Machine, places: Iterable[Place]) -> None:
    """Let a task be decided before its first turn, if that says where it may run.

    Else it would go to any idle CPU, and stay there while no other task wants that. Until it is
    decided it is in the domain of a cache. A policy that is a part leaves this to the outer one.
    """
    whole = mask_of(machine.topology.online)
    if not isinstance(machine, PartMachine) and _confines(places, whole):
        for llc in range(machine.topology.nr_llcs):
            machine.domains[llc].set(direct=False)


def _confines(places: Iterable[Place], whole: int) -> bool:
    """True if a part, or a part of a part, may not use all of these CPUs, which are a mask."""
    for place in places:
        if place.machine.places_domains and whole & ~place.machine.reach:
            return True
        policy = place.seat.policy
        if isinstance(policy, Events) and _confines(policy._in_order, whole):
            return True
    return False
