# SPDX-License-Identifier: GPL-2.0-only
"""Which tasks are shown, and in which order."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from pyland.top.tasks import TaskSeen

SORTS: dict[str, Callable[[TaskSeen], tuple[float, ...]]] = {
    "wait": lambda task: (task.decides, -task.waits_s, -task.wait_share, task.tid),
    "mean": lambda task: (task.decides, -task.mean_wait_ns, task.tid),
    "cpu": lambda task: (-task.cpu_share, task.tid),
    "runs": lambda task: (-task.runs_per_s, task.tid),
    "number": lambda task: (task.tid,),
}
"""The orders of the tasks, by their name; the first is the one at the start."""


def chosen(
    tasks: Iterable[TaskSeen], sort: str, process: str = "", cgroup: str = ""
) -> list[TaskSeen]:
    """The tasks to show, in their order.

    `process` is a number of a process or task, or a part of a name; `cgroup` a part of a path.
    Without a filter, these are the tasks that ran or waited between the last two looks.
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
