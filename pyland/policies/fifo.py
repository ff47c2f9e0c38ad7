# SPDX-License-Identifier: GPL-2.0-only
"""First come, first served."""

from __future__ import annotations

from pyland.policy import Interim, Policy, Task


class Fifo(Policy):
    """First come, first served (scx_simple with `-f`).

    Weights have no effect, and a task that comes back waits behind all others.
    """

    interim: Interim = "arrival"

    def enqueue(self, task: Task) -> None:
        """Without a vtime, tasks run in the order in which they became runnable."""
        self.dispatch(task, slice_ns=self.machine.slices.shortest_ns)
