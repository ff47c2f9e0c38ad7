# SPDX-License-Identifier: GPL-2.0-only
"""Round robin with slices that shrink when many wait."""

from __future__ import annotations

from pyland.policy import CPU_ANY, Batch, Interim, Policy, option


class RoundRobin(Policy):
    """First come, first served, with slices that shrink when many wait (scx_rlfifo).

    A slice is `slice_us` divided by the number of tasks that wait, so that a task has its
    turn about as often whatever their number. scx_rlfifo 1.1 counts the tasks in its ring;
    here all runnable tasks without a CPU count.
    """

    name = "rr"
    fields = ("seq", "pid", "enqueue_ns")
    interim: Interim = "arrival"

    slice_us: int = option(5000, "slice while no task waits", least=100, most=100_000)

    def __init__(self) -> None:
        """Read the machine's slices and CPUs."""
        self.resized()
        self._longest_ns = self.slice_us * 1000
        self._shortest_ns = self.machine.slices.shortest_ns

    def resized(self) -> None:
        """Slices follow the number of tasks that wait."""
        self._nr_cpus = len(self.machine.topology.online)

    def decide(self, batch: Batch) -> list[int]:
        """Decide every task at once: its key is the time of its enqueue."""
        slice_ns = self._longest_ns
        waiting = batch.nr_runnable - self._nr_cpus
        if waiting > 0:
            slice_ns = max(slice_ns // (waiting + 1), self._shortest_ns)
        out: list[int] = []
        for seq, pid, enqueue_ns in batch.rows:
            out += (seq, pid, CPU_ANY, slice_ns, enqueue_ns, 0, 0)
        return out
