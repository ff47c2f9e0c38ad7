# SPDX-License-Identifier: GPL-2.0-only
"""Remembers to which layer each task belongs, and asks again when what that depends on changes."""

from __future__ import annotations

from collections.abc import Hashable

from pyland.policies.layered.facts import Facts, Proc, command_in
from pyland.policies.layered.matching import Matcher

_NEVER_NS = 1 << 63
_AGAIN_NS = 1_000_000_000


class Known:
    """What is known of one task."""

    __slots__ = ("again_ns", "cpu", "joined", "key", "layer", "line")

    def __init__(self) -> None:
        """Nothing; `Membership.of` fills it in."""
        self.key: Hashable = None
        self.layer = 0
        self.again_ns = 0
        self.joined = ""
        self.cpu = -1
        self.line: object = None
        """The order in which its virtual time counts."""


class Membership:
    """The layers of all tasks that have been seen and have not exited."""

    def __init__(self, matcher: Matcher, source: Proc, *, every_ns: int) -> None:
        """`source` is asked what records do not say.

        Matches on average runtimes are asked again every `every_ns`, those on names of leaders
        and on affinities every second.
        """
        self._matcher, self._proc = matcher, source
        self._every_ns = _NEVER_NS
        if matcher.changes_by_itself:
            only_average = matcher.names.isdisjoint(("PcommPrefix", "PcommPrefixExclude"))
            self._every_ns = every_ns if only_average else min(every_ns, _AGAIN_NS)
        self._forgets_ns = 0
        self.tasks: dict[int, Known] = {}
        """By pid. A policy compares `Known.key` and `Known.again_ns` before it calls `of`."""
        self.machine_util = 1.0
        """How much of all CPU time is used: for `SystemCpuUtilBelow`."""
        self.nr_matched = 0
        """How often a task was matched."""

    def of(
        self, now_ns: int, key: Hashable, pid: int, tgid: int, ppid: int, comm: bytes, nice: int,
        uid: int, gid: int, cgroup_id: int, average_runtime_ns: int,
    ) -> Known:  # fmt: skip
        """The task with what its record says, matched anew."""
        known = self.tasks.get(pid)
        if known is None:
            known = self.tasks[pid] = Known()
        name = comm.rstrip(b"\0").decode(errors="replace")
        self._proc.now_ns = now_ns
        if now_ns >= self._forgets_ns:
            self._proc.forget_leaders()
            self._forgets_ns = now_ns + _AGAIN_NS
        if pid == tgid:
            self._proc.note_leader(pid, name)
        command = command_in(name)
        if command is not None:
            known.joined = command.layer
        facts = Facts(
            self._proc,
            pid,
            tgid,
            ppid,
            name,
            nice,
            uid,
            gid,
            cgroup_id,
            average_runtime_ns,
            known.joined,
            machine_util=self.machine_util,
        )
        known.layer = self._matcher.layer_of(facts)
        known.key, known.again_ns = key, now_ns + self._every_ns
        self.nr_matched += 1
        return known

    def forget(self, pid: int) -> None:
        """The task has exited."""
        self.tasks.pop(pid, None)
        self._proc.forget(pid)
