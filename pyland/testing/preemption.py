# SPDX-License-Identifier: GPL-2.0-only
"""When a task that wakes up on an offline machine preempts one, as in bpf/preemption.bpf.h."""

from __future__ import annotations

from pyland.testing import arithmetic
from pyland.testing.cpus import Cpus
from pyland.testing.placement import Placement
from pyland.testing.task import OfflineTask


class Preemption:
    """Finds the CPU that a task which woke up takes from the task that runs there."""

    def __init__(self, cpus: Cpus, placement: Placement, margin_ns: int, longest_ns: int) -> None:
        """`margin_ns` is the policy's; `longest_ns` is the machine's longest slice."""
        self._cpus, self._placement = cpus, placement
        self._margin_ns, self._longest_ns = margin_ns, longest_ns

    def cpu_for(self, task: OfflineTask, number: int, now_ns: int) -> int | None:
        """The CPU whose task makes room; None if all go on.

        It is one whose task has a lower rank; else the CPU `number`, if its task is due later
        than this one by more than the margin.
        """
        lower = self._placement.of_lower_rank(task)
        if lower is not None:
            return lower
        running = self._cpus[number].task
        if running is None or number not in task.cpus or self._placement.outranks(running, task):
            return None
        ran_ns = now_ns - running.start_ns
        due_ns = running.vtime_ns
        if due_ns is None:  # it found an idle CPU and has no key: it is due after all that wait
            due_ns = self._cpus.vtime_now_ns + self._longest_ns
        assert task.vtime_ns is not None
        if ran_ns > 0 and arithmetic.is_due_later(due_ns, ran_ns, task.vtime_ns, self._margin_ns):
            return number
        return None
