# SPDX-License-Identifier: GPL-2.0-only
"""What earlier decisions still grant on an offline machine, as in bpf/grants.bpf.h."""

from __future__ import annotations

from dataclasses import dataclass

from pyland.policy import Policy
from pyland.task import WAKEUP
from pyland.testing.arithmetic import (
    SLICE_FLOOR_NS,
    granted_slices,
    slice_at_weight_100,
    slice_continues,
    slice_of_weight,
    usual_slice_ns,
    vtime_after,
)
from pyland.testing.task import OfflineTask


@dataclass
class _Grant:
    """What one decision granted."""

    until_ns: int
    slice_ns: int
    left_ns: int
    slices_left: int
    """Further slices, when nothing is left of this one."""
    asleep: bool
    """True if the decision was for a wakeup, and so also lasts over a sleep."""
    total_runtime_ns: int
    """The task's CPU time when `left_ns` was right."""
    keyed_runtime_ns: int
    """The task's CPU time when its key was right."""


class Grants:
    """The decisions of one policy that last, by task."""

    def __init__(self, policy: Policy, longest_ns: int) -> None:
        """It begins without a decision."""
        self._lasts_ns, self._longest_ns = policy.lasts_ns, longest_ns
        self._lasts_slices = policy.lasts_slices if policy.interim == "vtime" else 1
        self._usual_ns = 0  # slices of the latest decisions, at weight 100
        self._by_pid: dict[int, _Grant] = {}

    def note(self, task: OfflineTask, cpu: int, now_ns: int) -> None:
        """Note that `task` was decided just now for `cpu`, with the slice that it has."""
        self._by_pid.pop(task.pid, None)
        if cpu >= 0 or not self._lasts_ns:
            return
        slice_ns = slice_at_weight_100(task.slice_left_ns, task.weight)
        self._usual_ns = usual_slice_ns(self._usual_ns, slice_ns)
        self._by_pid[task.pid] = _Grant(
            until_ns=now_ns + self._lasts_ns,
            slice_ns=task.slice_left_ns,
            left_ns=task.slice_left_ns,
            slices_left=granted_slices(slice_ns, self._lasts_slices, self._longest_ns) - 1,
            asleep=bool(task.enq_flags & WAKEUP),
            total_runtime_ns=task.total_runtime_ns,
            keyed_runtime_ns=task.total_runtime_ns,
        )

    def lasts(self, task: OfflineTask, now_ns: int) -> bool:
        """True if the task's last decision still lasts at this time."""
        grant = self._by_pid.get(task.pid)
        return grant is not None and now_ns < grant.until_ns

    def renew(self, task: OfflineTask, now_ns: int) -> bool:
        """Give a task that is queued again the slice and the key that its decision leaves it.

        False if nothing is left, and the policy has to be asked.
        """
        grant = self._by_pid.get(task.pid)
        if grant is None or task.vtime_ns is None:
            return False
        grant.left_ns -= task.total_runtime_ns - grant.total_runtime_ns
        grant.total_runtime_ns = task.total_runtime_ns
        woke_up = bool(task.enq_flags & WAKEUP)
        next_slice = self._begin_next_slice(grant, task, woke_up, now_ns)
        left_ns, usual_ns = grant.left_ns, self._usual_ns
        if not next_slice and not slice_continues(
            left_ns, task.weight, woke_up, grant.asleep, grant.until_ns, now_ns, usual_ns
        ):
            del self._by_pid[task.pid]
            return False
        task.slice_left_ns = grant.left_ns
        # A task that was preempted still has its turn, and keeps its key.
        if woke_up or next_slice:
            used_ns = task.total_runtime_ns - grant.keyed_runtime_ns
            grant.keyed_runtime_ns = task.total_runtime_ns
            task.vtime_ns = vtime_after(task.vtime_ns, used_ns, task.weight, self._longest_ns)
        return True

    def _begin_next_slice(
        self, grant: _Grant, task: OfflineTask, woke_up: bool, now_ns: int
    ) -> bool:
        """True if a slice is used up and the decision grants another one."""
        ended = now_ns >= grant.until_ns or woke_up != grant.asleep
        if ended or not grant.slices_left or grant.left_ns >= SLICE_FLOOR_NS:
            return False
        grant.slices_left -= 1
        most_ns = max(slice_of_weight(2 * self._usual_ns, task.weight), SLICE_FLOOR_NS)
        grant.left_ns = min(grant.slice_ns, most_ns)
        return True
