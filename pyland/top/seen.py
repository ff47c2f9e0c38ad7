# SPDX-License-Identifier: GPL-2.0-only
"""All that a frame shows, and which tasks it shows in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from pyland.top.machine import MachineSeen
from pyland.top.statistics import Statistics
from pyland.top.tasks import TaskSeen

SORTS: dict[str, Callable[[TaskSeen], tuple[float, ...]]] = {
    "wait": lambda task: (task.decides, -task.waits_s, -task.wait_share, task.tid),
    "mean": lambda task: (task.decides, -task.mean_wait_ns, task.tid),
    "cpu": lambda task: (-task.cpu_share, task.tid),
    "runs": lambda task: (-task.runs_per_s, task.tid),
    "number": lambda task: (task.tid,),
}
"""The orders of the tasks, by their name; the first is the one at the start."""


@dataclass(frozen=True, slots=True)
class Seen:
    """What was seen of the machine and of pyland in the last interval."""

    time: str = ""
    """The time of day."""
    machine: MachineSeen = field(default_factory=MachineSeen)
    tasks: tuple[TaskSeen, ...] = ()
    nr_tasks: int = 0
    """How many tasks are known, also those that are not in `tasks`."""
    nr_read: int = 0
    statistics: Statistics | None = None
    """None while there is no server."""
    trouble: str = ""
    """Why there are no statistics."""
    scheduler: str = ""
    """The scheduler that the kernel has loaded, if there are none; empty for the kernel's own."""


def chosen(
    tasks: Iterable[TaskSeen], sort: str, process: str = "", cgroup: str = ""
) -> list[TaskSeen]:
    """The tasks to show, in their order.

    `process` is a number of a process or task, or a part of a name; `cgroup` a part of a path.
    Without either, these are the tasks that ran or waited of late.
    """
    if not process and not cgroup:
        found = [task for task in tasks if task.runs_per_s or task.cpu_share or task.waits_s]
    else:
        found = [task for task in tasks if _matches(task, process, cgroup)]
    found.sort(key=SORTS[sort])
    return found


def _matches(task: TaskSeen, process: str, cgroup: str) -> bool:
    if cgroup.lower() not in task.cgroup.lower():
        return False
    if process.isascii() and process.isdecimal() and int(process) in (task.pid, task.tid):
        return True
    return process.lower() in task.comm.lower() or process.lower() in task.process.lower()
