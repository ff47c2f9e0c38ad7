# SPDX-License-Identifier: GPL-2.0-only
"""Remembers to which layer each task belongs, and asks again when what that depends on changes."""

from __future__ import annotations

from typing import Any

from pyland.policies.layered.facts import Facts, Proc, command_in
from pyland.policies.layered.matching import Matcher

_NEVER_NS = 1 << 62
_MISSED_AGAIN_NS = 1_000_000_000
"""A task whose cgroup could not be found out is matched again after this time."""

FIELDS = (
    "pid",
    "tgid",
    "comm",
    "ppid",
    "uid",
    "gid",
    "nice",
    "cgroup_id",
    "average_runtime_ns",
    "kthread",
    "pid_ns",
    "ns_pid",
    "leader_comm",
)
"""The fields that `Membership.of` reads, in this order."""


def usual_run_ns(average_ns: int, awake_ns: int, slice_ns: int) -> int:
    """How long a task runs for at a time, for `AvgRuntime`.

    `average_ns` is its average from a wakeup to the next sleep, 0 before the first sleep: then it
    is a quarter of a slice, as in scx_layered. `awake_ns` is what it has run since it last woke
    up. It counts up to one slice: a task that computes never sleeps, so it has no average.
    """
    return max(average_ns or slice_ns // 4, min(awake_ns, slice_ns))


class Known:
    """What is known of one task."""

    __slots__ = ("again_ns", "cpu", "joined", "key", "layer", "line")

    def __init__(self) -> None:
        """Nothing is known yet; `Membership.of` fills it in."""
        self.key: tuple[Any, ...] | None = None
        self.layer = 0
        self.again_ns = 0
        self.joined = ""
        self.cpu = -1
        self.line: object = None
        """The `Line` that its virtual time belongs to."""


UNKNOWN = Known()
"""Stands for a task of which nothing is known; it is never changed."""


class Membership:
    """The layers of all tasks that have been seen and have not exited."""

    def __init__(self, matcher: Matcher, source: Proc, *, every_ns: int) -> None:
        """`source` is asked what records do not say.

        Tasks are matched again every `every_ns` if the layers have matches whose answer may change
        although the task does not, such as average runtimes.
        """
        self._matcher, self._source = matcher, source
        self._every_ns = every_ns if matcher.changes_by_itself else _NEVER_NS
        self.tasks: dict[int, Known] = {}
        """By pid. A policy compares `Known.key` and `Known.again_ns` before it calls `of`."""
        self.machine_util = 1.0
        """How much of all CPU time is used: for `SystemCpuUtilBelow`."""
        self.nr_matched = 0
        """How often a task was matched."""

    def of(self, now_ns: int, key: tuple[Any, ...], row: tuple[Any, ...]) -> Known:
        """Match the task of a record anew, and return what is known of it.

        `key` is what `Known.key` becomes; `row` has the record's values for `FIELDS`.
        """
        (
            pid,
            tgid,
            comm,
            ppid,
            uid,
            gid,
            nice,
            cgroup_id,
            average_ns,
            kthread,
            ns,
            ns_pid,
            leader,
        ) = row
        known = self.tasks.get(pid)
        if known is None:
            known = self.tasks[pid] = Known()
        name = _text(comm)
        self._source.now_ns = now_ns
        command = command_in(name)
        if command is not None:
            known.joined = command.layer
        facts = Facts(
            self._source,
            pid,
            tgid,
            ppid,
            name,
            _text(leader),
            nice,
            uid,
            gid,
            cgroup_id,
            bool(kthread),
            ns,
            ns_pid,
            average_ns,
            known.joined,
            machine_util=self.machine_util,
        )
        self._source.missed = False
        known.layer = self._matcher.layer_of(facts)
        known.key, known.again_ns = key, now_ns + self._every_ns
        if self._source.missed:
            known.again_ns = min(known.again_ns, now_ns + _MISSED_AGAIN_NS)
        self.nr_matched += 1
        return known

    def changed(self, pid: int) -> None:
        """Match the task anew at its next record."""
        known = self.tasks.get(pid)
        if known is not None:
            known.again_ns = 0

    def forget(self, pid: int) -> None:
        """The task has exited."""
        self.tasks.pop(pid, None)


def _text(name: bytes) -> str:
    return name.rstrip(b"\0").decode(errors="replace")
