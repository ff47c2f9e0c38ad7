# SPDX-License-Identifier: GPL-2.0-only
"""How long each task waits for a CPU, from /proc, within a bounded CPU time for each look.

A slow machine has no time for all tasks. Each look reads some tasks in any case: the busiest, those
active ones that were not read for longest, and the next ones of a round through all tasks.

The kernel adds up how long a task has waited (`/proc/TID/schedstat`), but only when the wait is
over. A task that is runnable and has not run between two looks waits since the first of them.
"""

from __future__ import annotations

import heapq
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path

BUDGET_S = 0.008
"""Seconds of CPU time for one look. The tasks that ran or waited last are read first."""

_HOT_PART = 0.6
"""The part of the budget for tasks that ran or waited last; the rest is for the round through all
tasks."""
_FIRST_LOOK = 4
"""The first look has this many times the budget: a task has rates only from its second look on."""
_BUSIEST, _ACTIVE_LEAST, _ROUND_LEAST = 8, 12, 8
"""How many tasks a look reads even without time: the busiest, the active ones (the busiest among
them), and those of the round. On a virtual machine the host may take the whole budget away before
the first task is read."""
_COOLS_AFTER = 3
"""Looks without a run after which a sleeping task waits for its turn in the round."""
_FORGET_ROUNDS = 2
_CGROUP_FOR_S = 10.0
_WAITS_FROM_S = 0.5
"""A CPU without ticks updates the time of a task that runs only so often."""


@dataclass(slots=True)
class TaskSeen:
    """What is known about a task. Rates are those between the last two looks at it."""

    pid: int
    """The process."""
    tid: int
    comm: str = ""
    process: str = ""
    """The name of the process, if it is another than the task's; both are not escaped."""
    cgroup: str = ""
    """The path in the hierarchy of cgroups 2, not escaped; only known after `know_cgroups`."""
    state: str = "?"
    cpu: int = 0
    """Where it runs, or ran last."""
    nice: int = 0
    cpu_share: float = 0.0
    """CPU time of a second, in seconds."""
    wait_share: float = 0.0
    """How much of a second it was runnable and did not run, in seconds."""
    mean_wait_ns: float = 0.0
    """The mean wait for a CPU before each run."""
    waits_s: float = 0.0
    """For how long it has waited at least, if it waits at present."""
    runs_per_s: float = 0.0
    ran_ns: int = 0
    """CPU time between the last two looks."""
    waited_ns: int = 0
    """The waits that ended between the last two looks."""
    nr_runs: int = 0
    """How often it began to run between the last two looks."""
    decides: bool = False
    """True for the process that decides: it waits on purpose while tasks run."""

    _exec_ns: int = -1
    _delay_ns: int = 0
    _runs: int = 0
    _at_s: float = 0.0
    _was_runnable: bool = False
    _waits_from_s: float = 0.0
    _idle_looks: int = 0
    _round: int = 0
    _cgroup_at_s: float = field(default=-_CGROUP_FOR_S)


class Tasks:
    """All tasks of the machine, some of which are read at each look."""

    def __init__(self, proc: Path = Path("/proc"), budget_s: float = BUDGET_S) -> None:
        """Nothing is read before the first look."""
        self._proc = str(proc)
        self.budget_s = budget_s
        self.known: dict[int, TaskSeen] = {}
        """By task number."""
        self.nr_read = 0
        """Tasks read by the last look."""
        self.rounds = 0
        """Finished rounds through all tasks."""
        self._walk = self._all_tasks()
        self._hot: set[int] = set()

    def look(self, now_s: float | None = None, first: Iterable[int] = ()) -> None:
        """Read as many tasks as the budget allows, and at least some: the active ones first.

        The processes of `first` are read in any case, before all others.
        """
        now_s = time.monotonic() if now_s is None else now_s
        begin_s = time.thread_time()
        budget_s = self.budget_s if self.known else self.budget_s * _FIRST_LOOK
        read: set[int] = set()
        for pid in first:
            read.add(pid)
            self._read(pid, pid, now_s)
        self._read_active(read, begin_s + budget_s * _HOT_PART, now_s)
        until_s = begin_s + budget_s
        for nr in count():
            if nr >= _ROUND_LEAST and time.thread_time() >= until_s:
                break
            found = next(self._walk)
            if found is None:  # the end of a round: another begins with the next look
                break
            if found[1] not in read:
                read.add(found[1])
                self._read(*found, now_s)
        self.nr_read = len(read & self.known.keys())

    def _read_active(self, read: set[int], until_s: float, now_s: float) -> None:
        """Read the busiest tasks, and then those active ones that were not read for longest."""
        active = [self.known[tid] for tid in self._hot - read]
        busiest = heapq.nlargest(_BUSIEST, active, lambda one: one.cpu_share + one.wait_share)
        chosen = {one.tid for one in busiest}
        others = sorted((one for one in active if one.tid not in chosen), key=lambda o: o._at_s)
        for nr, one in enumerate((*busiest, *others)):
            if nr >= _ACTIVE_LEAST and time.thread_time() > until_s:
                break
            read.add(one.tid)
            self._read(one.pid, one.tid, now_s)

    @property
    def active(self) -> list[TaskSeen]:
        """The tasks that ran or waited in one of the last looks at them."""
        return [self.known[tid] for tid in self._hot]

    def know_cgroups(self, tasks: Iterable[TaskSeen], now_s: float) -> None:
        """Set the cgroups of these tasks, of as many as a quarter of the budget allows.

        Each is read anew after some seconds.
        """
        until_s = time.thread_time() + self.budget_s / 4
        for task in sorted(tasks, key=lambda one: one._cgroup_at_s):
            if now_s - task._cgroup_at_s < _CGROUP_FOR_S:
                return
            task._cgroup_at_s = now_s
            for entry in self._text(f"{task.pid}/task/{task.tid}/cgroup").splitlines():
                if entry.startswith("0::"):
                    task.cgroup = entry[3:]
            if time.thread_time() > until_s:
                return

    def _all_tasks(self) -> Iterator[tuple[int, int] | None]:
        """All processes and tasks, again and again; None at the end of each round.

        The newest come first: those of the kernel have the lowest numbers, and do the least.
        """
        while True:
            for pid in sorted(self._numbers(self._proc), reverse=True):
                for tid in self._numbers(f"{self._proc}/{pid}/task"):
                    yield pid, tid
            self.rounds += 1
            self._forget()
            yield None

    def _forget(self) -> None:
        """Forget the tasks that the last rounds did not find."""
        gone = [
            tid for tid, one in self.known.items() if one._round + _FORGET_ROUNDS <= self.rounds
        ]
        for tid in gone:
            self._drop(tid)

    def _drop(self, tid: int) -> None:
        self.known.pop(tid, None)
        self._hot.discard(tid)

    @staticmethod
    def _numbers(folder: str) -> list[int]:
        try:
            return [int(name) for name in os.listdir(folder) if name.isdecimal()]
        except OSError:  # the process has ended
            return []

    def _text(self, name: str) -> str:
        """The beginning of a file; empty if the task has ended."""
        try:
            fd = os.open(f"{self._proc}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return ""
        try:
            return os.read(fd, 4096).decode(errors="surrogateescape")
        except OSError:
            return ""
        finally:
            os.close(fd)

    def _read(self, pid: int, tid: int, now_s: float) -> None:
        folder = f"{pid}/task/{tid}"
        stat = self._text(f"{folder}/stat")
        # The name may have any character: it ends at the last bracket.
        head, _, tail = stat.rpartition(")")
        words = tail.split()
        if len(words) < 37:
            self._drop(tid)
            return
        waited = self._text(f"{folder}/schedstat").split()
        task = self.known.get(tid)
        if task is None or task.pid != pid:
            task = self.known[tid] = TaskSeen(pid, tid)
        task._round = self.rounds
        comm = head.partition("(")[2]
        if comm != task.comm:
            task.comm = comm
            task.process = "" if pid == tid else self._text(f"{pid}/comm").rstrip("\n")
        task.state, task.nice, task.cpu = words[0], int(words[16]), int(words[36])
        counts = [int(one) for one in waited] if len(waited) == 3 else [0, 0, 0]
        self._rate(task, counts, now_s)
        if task._idle_looks < _COOLS_AFTER:
            self._hot.add(tid)
        else:
            self._hot.discard(tid)

    @staticmethod
    def _rate(task: TaskSeen, counts: list[int], now_s: float) -> None:
        exec_ns, delay_ns, runs = counts
        passed_s = now_s - task._at_s
        if task._exec_ns < 0:  # seen for the first time
            task._waits_from_s = now_s
            task._idle_looks = 0 if task.state == "R" else _COOLS_AFTER
        elif passed_s <= 0:
            return
        else:
            ran_ns, waited_ns = max(exec_ns - task._exec_ns, 0), max(delay_ns - task._delay_ns, 0)
            nr_runs = max(runs - task._runs, 0)
            changed = bool(ran_ns or nr_runs)
            if changed or task.state != "R" or not task._was_runnable:
                task._waits_from_s = now_s
            waits_s = now_s - task._waits_from_s
            task.waits_s = waits_s if waits_s >= _WAITS_FROM_S else 0.0
            task.waited_ns, task.nr_runs = waited_ns, nr_runs
            task.ran_ns = ran_ns
            task.cpu_share = ran_ns / passed_s / 1e9
            # At the end of a wait the kernel counts all of it, also what was before this interval.
            share = waited_ns / passed_s / 1e9
            task.wait_share = 1.0 if task.waits_s else min(share, 1.0)
            task.mean_wait_ns = waited_ns / nr_runs if nr_runs else task.waits_s * 1e9
            task.runs_per_s = nr_runs / passed_s
            idle = not changed and task.state != "R"
            task._idle_looks = task._idle_looks + 1 if idle else 0
        task._exec_ns, task._delay_ns, task._runs, task._at_s = exec_ns, delay_ns, runs, now_s
        task._was_runnable = task.state == "R"
