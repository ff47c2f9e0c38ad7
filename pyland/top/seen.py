# SPDX-License-Identifier: GPL-2.0-only
"""All that a frame shows."""

from __future__ import annotations

from dataclasses import dataclass, field

from pyland.top.machine import MachineSeen
from pyland.top.statistics import Statistics
from pyland.top.tasks import TaskSeen


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of the machine and of pyland in the last interval."""

    time: str = ""
    """The time of day."""
    machine: MachineSeen = field(default_factory=MachineSeen)
    tasks: tuple[TaskSeen, ...] = ()
    nr_tasks: int = 0
    """How many tasks are known, also those that are not in `tasks`."""
    nr_read: int = 0
    """How many of them were read for this frame; the others have older figures."""
    statistics: Statistics | None = None
    """None while there is no server."""
    trouble: str = ""
    """Why there are no statistics."""
    scheduler: str = ""
    """Without statistics, the scheduler that the kernel has loaded; empty for the kernel's own."""
    knows_all: bool = False
    """True if there was time to read each task once."""
