# SPDX-License-Identifier: GPL-2.0-only
"""Whether the worker comes back from the policy."""

from __future__ import annotations

import os

LOOK_EVERY_S = 0.25
"""The supervisor looks so often."""


class Progress:
    """Notices a worker that is in the middle of one cycle for too long."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._cycles = -1
        self._since_s = self._looked_s = 0.0
        self._cpu_s: float | None = None

    def stuck_s(self, cycles: int, now_s: float) -> float:
        """How long the present cycle has had: CPU time if it computes, else time asleep.

        A worker that is stopped, or waits for a CPU, is not stuck. A cycle's time counts from
        the first look at which it was no new one.
        """
        # Who was not looking for a while was stopped or frozen, and so was the worker.
        absent, self._looked_s = now_s - self._looked_s > 4 * LOOK_EVERY_S, now_s
        if cycles != self._cycles or absent:
            self._cycles, self._since_s, self._cpu_s = cycles, now_s, None
            return 0.0
        state, cpu_s = _process_state(self._pid)
        if self._cpu_s is None or state in ("T", "t", ""):
            self._since_s, self._cpu_s = now_s, cpu_s
        return cpu_s - self._cpu_s if state == "R" else now_s - self._since_s


def _process_state(pid: int) -> tuple[str, float]:
    """The state's letter, and the CPU time in seconds; an empty letter for no process."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            # The name in brackets may hold blanks.
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return "", 0.0
    return fields[0], (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
