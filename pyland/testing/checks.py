# SPDX-License-Identifier: GPL-2.0-only
"""What an offline machine makes of a decision's numbers, as bpf/decisions.bpf.h does."""

from __future__ import annotations

from pyland.machine import Slices
from pyland.testing import arithmetic
from pyland.testing.task import OfflineTask


def weighted_slice_ns(slice_ns: int, task: OfflineTask, slices: Slices) -> int:
    """The slice of this task, where a task of weight 100 has `slice_ns`."""
    of_task_ns = arithmetic.slice_of_weight(slice_ns, task.weight)
    return arithmetic.slice_within(of_task_ns, slices.longest_ns)


def checked_slice_ns(slice_ns: int, task: OfflineTask, slices: Slices) -> tuple[int, str]:
    """The slice that a decision gives; and the counter of its mistake, empty if there is none."""
    wrong = "bad_decisions" if arithmetic.is_no_slice(slice_ns, slices.longest_ns) else ""
    if wrong or not slice_ns:
        return weighted_slice_ns(slices.shortest_ns, task, slices), wrong
    return arithmetic.slice_within(slice_ns, slices.longest_ns), wrong
