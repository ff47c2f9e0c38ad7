# SPDX-License-Identifier: GPL-2.0-only
"""Decisions that still hold on an offline machine, as in bpf/holding.bpf.h."""

from __future__ import annotations

from dataclasses import dataclass

from pyland.policy import CPU_ANY, Policy
from pyland.task import WAKEUP
from pyland.testing.arithmetic import (
    slice_at_weight_100,
    slice_goes_on,
    usual_slice_ns,
    vtime_after,
)
from pyland.testing.task import OfflineTask


@dataclass
class _Hold:
    """What one decision granted."""

    until_ns: int
    left_ns: int
    asleep: bool
    """It was for a wakeup, and holds for more of them."""
    total_runtime_ns: int
    """Of the task, when `left_ns` was true."""
    keyed_runtime_ns: int
    """Of the task, when its key was."""


class Holds:
    """The decisions of one policy, by task."""

    def __init__(self, policy: Policy, longest_ns: int) -> None:
        """None yet."""
        self._holds_ns, self._longest_ns = policy.holds_ns, longest_ns
        self._slice_ns = 0  # of the latest decisions, at weight 100
        self._by_pid: dict[int, _Hold] = {}

    def let_hold(self, task: OfflineTask, cpu: int, now_ns: int) -> None:
        """`task` was decided just now, with the slice that it has."""
        self._by_pid.pop(task.pid, None)
        if cpu != CPU_ANY or not self._holds_ns:
            return
        slice_ns = slice_at_weight_100(task.slice_ns, task.weight)
        self._slice_ns = usual_slice_ns(self._slice_ns, slice_ns)
        asleep = bool(task.enq_flags & WAKEUP)
        until_ns = now_ns + self._holds_ns
        so_far_ns = task.total_runtime_ns
        self._by_pid[task.pid] = _Hold(until_ns, task.slice_ns, asleep, so_far_ns, so_far_ns)

    def go_on(self, task: OfflineTask, now_ns: int) -> bool:
        """Give a task that is to be queued again the slice and the key that it still has.

        False when it has none, and the policy has to be asked.
        """
        hold = self._by_pid.get(task.pid)
        if hold is None or task.vtime_ns is None:
            return False
        hold.left_ns -= task.total_runtime_ns - hold.total_runtime_ns
        hold.total_runtime_ns = task.total_runtime_ns
        woke_up = bool(task.enq_flags & WAKEUP)
        left_ns, usual_ns = hold.left_ns, self._slice_ns
        if not slice_goes_on(
            left_ns, task.weight, woke_up, hold.asleep, hold.until_ns, now_ns, usual_ns
        ):
            del self._by_pid[task.pid]
            return False
        task.slice_ns = hold.left_ns
        # Who was interrupted has its turn still.
        if woke_up:
            used_ns = task.total_runtime_ns - hold.keyed_runtime_ns
            hold.keyed_runtime_ns = task.total_runtime_ns
            task.vtime_ns = vtime_after(task.vtime_ns, used_ns, task.weight, self._longest_ns)
        return True
