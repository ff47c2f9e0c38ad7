# SPDX-License-Identifier: GPL-2.0-only
"""Fair shares by weight, and nothing else."""

from __future__ import annotations

from pyland.policy import CPU_ANY, Batch, Interim, Policy

# V starts here, so that a state of 0 means "no state yet".
_ORIGIN_NS = 1 << 32


class Vtime(Policy):
    """Fair shares by weight, and nothing else (scx_simple).

    A task's virtual time grows by its CPU time over its weight; the lowest runs first.
    A task that slept comes back at most one longest slice behind V, the highest virtual
    time with which a task has run. scx_simple updates V when a task begins to run; here
    this happens when the task is queued again.
    """

    fields = ("seq", "pid", "weight", "used_ns", "state")
    lasts_ns = 100_000_000
    interim: Interim = "vtime"

    def __init__(self) -> None:
        """No task has run yet."""
        slices = self.machine.slices
        self._credit_ns = slices.longest_ns
        self._slice_ns = slices.shortest_ns
        self._vtime_now = _ORIGIN_NS + slices.longest_ns

    def decide(self, batch: Batch) -> list[int]:
        """Decide every task at once; its state is its virtual time."""
        vtime_now, credit_ns, slice_ns = self._vtime_now, self._credit_ns, self._slice_ns
        out: list[int] = []
        for seq, pid, weight, used_ns, state in batch.rows:
            if state > vtime_now:
                vtime_now = state
            # A task uses more than a slice only while no other task waits: that is no debt.
            charged_ns = (used_ns if used_ns < credit_ns else credit_ns) * 100 // weight
            vtime_ns = state + charged_ns if state else vtime_now
            if vtime_ns < vtime_now - credit_ns:
                vtime_ns = vtime_now - credit_ns
            out += (seq, pid, CPU_ANY, slice_ns, vtime_ns, vtime_ns, 0)
        self._vtime_now = vtime_now
        return out
