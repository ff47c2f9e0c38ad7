# SPDX-License-Identifier: GPL-2.0-only
"""First come, first served."""

from __future__ import annotations

from pyland.policy import Policy, Task


class Fifo(Policy):
    """First come, first served: the smallest policy there is.

    Fair to nobody in particular: who comes back at once waits behind all others, and
    weights mean nothing. What scx_simple does with `-f`.
    """

    def enqueue(self, task: Task) -> None:
        """Tasks that are dispatched without a vtime run in the order of their enqueue."""
        self.dispatch(task, slice_ns=self.machine.slices.shortest_ns)
