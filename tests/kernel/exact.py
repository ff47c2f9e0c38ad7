# SPDX-License-Identifier: GPL-2.0-only
"""A policy that checks the CPU time in its records; it leaves some tasks undecided for a while."""

from __future__ import annotations

from pyland.policy import CPU_ANY, Batch, Interim, Policy

_LEFT_OUT = 5
"""One record of this many is not decided: the task is asked about again later."""
_SHOWN = 200
"""A line is printed after this many checks."""


class Exact(Policy):
    """First come, first served; a task's state is its whole CPU time at its last decision, + 1."""

    fields = ("seq", "pid", "used_ns", "total_runtime_ns", "state")
    interim: Interim = "arrival"

    def __init__(self) -> None:
        self._checked = self._seen = 0

    def decide(self, batch: Batch) -> list[int]:
        """Decides all but some; prints where `used_ns` is not the CPU time since a decision."""
        out: list[int] = []
        for seq, pid, used_ns, total_ns, state in batch.rows:
            if state:
                self._checked += 1
                if used_ns != total_ns - (state - 1):
                    print(f"inexact: {used_ns} ns used, {total_ns - (state - 1)} ns since state")
                if self._checked % _SHOWN == 0:
                    print(f"checked {self._checked}")
            self._seen += 1
            if self._seen % _LEFT_OUT:
                out += [seq, pid, CPU_ANY, 0, batch.now_ns, total_ns + 1, 0]
        return out
