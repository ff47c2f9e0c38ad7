# SPDX-License-Identifier: GPL-2.0-only
"""Round robin with slices that shrink when many wait."""

from __future__ import annotations

from pyland.policy import CPU_ANY, Batch, Policy, option


class RoundRobin(Policy):
    """First come, first served, with slices that shrink when many wait (scx_rlfifo).

    A slice is `slice_us` over the number of tasks that wait, so that each gets its turn
    about as often however many there are. scx_rlfifo 1.1 counts the tasks in its ring;
    here it is all that are runnable and have no CPU.
    """

    name = "rr"
    fields = ("seq", "pid", "enqueue_ns")

    slice_us: int = option(5000, "what a task gets when nobody waits", least=100, most=100_000)

    def __init__(self) -> None:
        """The machine as it is."""
        self._nr_cpus = len(self.machine.topology.online)
        self._longest_ns = self.slice_us * 1000
        self._shortest_ns = self.machine.slices.shortest_ns

    def decide(self, batch: Batch) -> list[int]:
        """The kernel's queue keeps the order of the enqueues."""
        slice_ns = self._longest_ns
        waiting = batch.nr_runnable - self._nr_cpus
        if waiting > 0:
            slice_ns = max(slice_ns // (waiting + 1), self._shortest_ns)
        out: list[int] = []
        for seq, pid, enqueue_ns in batch.rows:
            out += (seq, pid, CPU_ANY, slice_ns, enqueue_ns, 0, 0)
        return out
