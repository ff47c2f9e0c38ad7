# SPDX-License-Identifier: GPL-2.0-only
"""Fair shares by weight, and nothing else."""

from __future__ import annotations

from pyland.policy import CPU_ANY, Batch, Policy

# V starts here, for "no state yet" to be different from "long ago".
_ORIGIN_NS = 1 << 32


class Vtime(Policy):
    """Fair shares by weight, and nothing else (scx_simple).

    A task's virtual time grows by its CPU time over its weight; the lowest runs first.
    One that slept comes back at most a longest slice behind V, the highest virtual time
    with which a task has run. scx_simple takes V when a task begins to run; here it is
    seen when the task is queued again.
    """

    fields = ("seq", "pid", "weight", "used_ns", "state")
    lasts_ns = 100_000_000

    def __init__(self) -> None:
        """No task has run yet."""
        slices = self.machine.slices
        self._credit_ns = slices.longest_ns
        self._slice_ns = slices.shortest_ns
        self._vtime_now = _ORIGIN_NS + slices.longest_ns

    def decide(self, batch: Batch) -> list[int]:
        """The state that comes back with a task is its virtual time."""
        vtime_now, credit_ns, slice_ns = self._vtime_now, self._credit_ns, self._slice_ns
        out: list[int] = []
        for seq, pid, weight, used_ns, state in batch.rows:
            if state > vtime_now:
                vtime_now = state
            # What was used beyond a slice was used while nobody waited: no debt to others.
            charged_ns = (used_ns if used_ns < credit_ns else credit_ns) * 100 // weight
            vtime_ns = state + charged_ns if state else vtime_now
            if vtime_ns < vtime_now - credit_ns:
                vtime_ns = vtime_now - credit_ns
            out += (seq, pid, CPU_ANY, slice_ns, vtime_ns, vtime_ns, 0)
        self._vtime_now = vtime_now
        return out
