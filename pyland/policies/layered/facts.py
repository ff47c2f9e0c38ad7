# SPDX-License-Identifier: GPL-2.0-only
"""What a layer's matches can ask about a task, and where the answers come from.

A `Facts` has what the task's record says, and asks a `Source` for the rest, once for each task and
only if a match needs it. Another source needs no change of the matches.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple, Protocol

from pyland.policies.layered.templates import CGROUPS, cgroups_below

_WALK_EVERY_NS = 1_000_000_000
_PATHS_MAX = 10_000
"""How many cgroups are remembered; when there are more, all are forgotten."""


class Source(Protocol):
    """Answers what a record does not say. None: the answer is not known, so no match holds."""

    missed: bool
    """Set to True by an answer that is not known at present, and may be later."""

    def cgroup_path(self, cgroup_id: int, pid: int) -> str | None:
        """The path of a cgroup, as `a/b/`; the root's is empty. `pid` is a task in it."""

    def allowed_cpus(self, pid: int) -> int | None:
        """The mask of the CPUs that the task's affinity allows."""


class Joined(NamedTuple):
    """What a command in a task's name asks for (`CmdJoin`)."""

    layer: str
    """The layer that the task wants to join; empty: the task leaves the one that it joined."""


def command_in(comm: str) -> Joined | None:
    """The command in a task's name; None for an ordinary name.

    A command has 0x5C10 in the first two bytes, then 1 to join or 2 to leave, then a name.
    """
    if comm[:2] != "\x10\\" or comm[2:3] not in ("\x01", "\x02"):
        return None
    return Joined(comm[3:] if comm[2] == "\x01" else "")


class Facts(NamedTuple):
    """One task."""

    source: Source
    pid: int
    tgid: int
    ppid: int
    comm: str
    leader_comm: str
    """The name of the thread that leads its process."""
    nice: int
    uid: int
    gid: int
    cgroup_id: int
    is_kthread: bool = False
    """True if it is a thread of the kernel."""
    namespace: int = 0
    """The number of its PID namespace."""
    namespace_pid: int = 0
    """Its id in that namespace."""
    average_runtime_ns: int = 0
    joined: str = ""
    """The layer that the task has asked to join; empty: none."""
    hint: int | None = None
    """The number that a program has given the task; None: there is none."""
    machine_util: float = 1.0
    """How much of all CPU time is used, from 0 to 1."""

    @property
    def is_leader(self) -> bool:
        """True if the task leads its process."""
        return self.pid == self.tgid

    @property
    def cgroup_path(self) -> str | None:
        """Its cgroup, as `system.slice/ssh.service/`."""
        return self.source.cgroup_path(self.cgroup_id, self.pid)


class Proc:
    """Reads /proc and /sys/fs/cgroup, as any user may.

    Measured on one core of a VM: an affinity 1 us, a new cgroup 24 us or, if its task has left, 17
    us for each cgroup of the machine, once a second at most. Paths are remembered.
    """

    def __init__(self, proc: str = "/proc", cgroups: str = str(CGROUPS)) -> None:
        """Nothing is read yet."""
        self._proc, self._cgroups = proc, cgroups
        self._paths: dict[int, str] = {}
        self._walked_ns = -_WALK_EVERY_NS
        self.missed = False
        self.now_ns = 0
        """The policy's clock, which it sets: it limits how often all cgroups are looked through."""

    def cgroup_path(self, cgroup_id: int, pid: int) -> str | None:
        """See `Source`."""
        known = self._paths.get(cgroup_id)
        if known is None:
            known = self._of_task(cgroup_id, pid)
            if known is None:
                self._walk()
                known = self._paths.get(cgroup_id)
        self.missed |= known is None
        return known

    def _of_task(self, cgroup_id: int, pid: int) -> str | None:
        """The path that the task's own file says, if the task is still in this cgroup."""
        try:
            with open(f"{self._proc}/{pid}/cgroup", "rb") as file:
                lines = file.read(1 << 14).decode(errors="replace").splitlines()
            path = next((line[4:] for line in lines if line.startswith("0::/")), None)
            if path is None or os.stat(f"{self._cgroups}/{path}").st_ino != cgroup_id:
                return None
        except OSError:
            return None
        _remember(self._paths, cgroup_id, f"{path}/" if path else "")
        return self._paths[cgroup_id]

    def _walk(self) -> None:
        if self.now_ns - self._walked_ns < _WALK_EVERY_NS:
            return
        self._walked_ns = self.now_ns
        self._paths = dict(cgroups_below(Path(self._cgroups)))

    def allowed_cpus(self, pid: int) -> int | None:
        """See `Source`."""
        try:
            return sum(1 << cpu for cpu in os.sched_getaffinity(pid))
        except OSError:
            return None


def _remember(where: dict[int, str], key: int, value: str) -> None:
    if len(where) >= _PATHS_MAX:
        where.clear()
    where[key] = value
