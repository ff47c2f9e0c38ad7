# SPDX-License-Identifier: GPL-2.0-only
"""Looks at everything once for each frame."""

from __future__ import annotations

import os
import time
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from pyland.top.feed import Feed
from pyland.top.keys import LATENCY_PAGE, Choices
from pyland.top.machine import Machine, MachineSeen
from pyland.top.seen import Seen
from pyland.top.tasks import BUDGET_S, Tasks, TaskSeen

_OPS = Path("/sys/kernel/sched_ext/root/ops")
_BUDGET_MIN_S, _BUDGET_MAX_S = BUDGET_S / 2, 0.05
_ANSWER_WITHIN_S = 0.2
"""Seconds that a frame waits for an answer; if it comes later, the frame has the last one."""


class Measure:
    """All sources of a frame."""

    def __init__(self, feed: Feed) -> None:
        """The first look has no rates."""
        self._feed = feed
        self._machine, self._tasks = Machine(), Tasks()
        self._always = {os.getpid()}

    def look(self, choices: Choices) -> Seen:
        """What was seen since the last look."""
        asked = self._feed.ask(latency=choices.page == LATENCY_PAGE)
        budget_s = BUDGET_S * choices.interval_s
        self._tasks.budget_s = min(max(budget_s, _BUDGET_MIN_S), _BUDGET_MAX_S)
        self._tasks.look(first=self._always)
        active = self._tasks.active
        filtered = bool(choices.process or choices.cgroup)
        tasks = [*self._tasks.known.values()] if filtered else active
        self._tasks.know_cgroups(tasks if choices.cgroup else active, time.monotonic())
        statistics, trouble = self._feed.answer(asked, _ANSWER_WITHIN_S)
        worker_pid = statistics.worker_pid if statistics else 0
        self._always = {os.getpid(), worker_pid} - {0}
        decides = self._tasks.known.get(worker_pid)
        for task in active:
            task.decides = task is decides
        machine = _with_tasks(self._machine.look(decides), active)
        return Seen(
            time=datetime.now().strftime("%H:%M:%S"),
            machine=machine,
            tasks=tuple(tasks),
            nr_tasks=len(self._tasks.known),
            nr_read=self._tasks.nr_read,
            knows_all=self._tasks.rounds > 0,
            statistics=statistics,
            trouble=trouble,
            scheduler="" if statistics else _scheduler(),
        )


def _scheduler() -> str:
    """The scheduler that the kernel has loaded; empty for its own."""
    try:
        return _OPS.read_text(errors="replace").strip()
    except OSError:
        return ""


def _with_tasks(machine: MachineSeen, tasks: list[TaskSeen]) -> MachineSeen:
    """The machine with the task that ran most on each CPU."""
    most: dict[int, TaskSeen] = {}
    for task in tasks:
        if task.cpu_share > (most[task.cpu].cpu_share if task.cpu in most else 0):
            most[task.cpu] = task
    cpus = tuple(
        replace(cpu, runs_task=most[cpu.id].comm if cpu.id in most else "") for cpu in machine.cpus
    )
    return replace(machine, cpus=cpus)
