# SPDX-License-Identifier: GPL-2.0-only
"""An offline machine with hogs, for tests of a policy."""

from __future__ import annotations

from typing import Any

from pyland import Policy
from pyland.testing import OfflineMachine, OfflineTask, make_topology


def loaded(policy: type[Policy], hogs: int = 5, **options: Any) -> OfflineMachine:
    """Hogs that all woke up at once."""
    machine = OfflineMachine(make_topology(cpus=2), policy, **options)
    for number in range(hogs):
        machine.wake(machine.add(f"hog{number}"))
    return machine


def hogs(machine: OfflineMachine) -> list[OfflineTask]:
    return list(machine.tasks.values())
