# SPDX-License-Identifier: GPL-2.0-only
"""The CPUs on which the process that decides may run: all that it can get.

Confined to one CPU it waits for that one while others are free, and so does every task
that waits for its decision: a p99 of 3.1 ms against 0.13.
"""

from __future__ import annotations

import os
from collections.abc import Set
from contextlib import suppress
from pathlib import Path

from pyland.topology import parse_cpu_list

_CPUS = Path("/sys/devices/system/cpu")
_CGROUPS = Path("/sys/fs/cgroup")


def widen() -> None:
    """Let this process, and what it starts, run on every CPU of the machine.

    A CPU that comes online later is one of them. Those that are set apart are left to
    their tasks, unless the process was there already.
    """
    wanted = _listed("possible") - _set_apart() | os.sched_getaffinity(0)
    # The kernel takes what the cgroup's cpuset leaves; `Confinement` tells of the rest.
    with suppress(OSError):
        os.sched_setaffinity(0, wanted)


class Confinement:
    """Notices CPUs that a process may not use, at the start and when a cpuset changes."""

    def __init__(self, pid: int) -> None:
        """Nothing was told so far."""
        self._pid = pid
        self._told: Set[int] = frozenset()

    def news(self) -> str:
        """One line about the CPUs that are missing, when they are others than last time."""
        try:
            own = os.sched_getaffinity(self._pid)
        except OSError:
            return ""
        online = _listed("online")
        missing = online - _set_apart() - own
        if missing == self._told:
            return ""
        self._told = missing
        if not missing:
            return ""
        return (
            f"the process that decides may use {len(own & online)} of {len(online)} CPUs, as the "
            "cpuset of its cgroup says: where those are busy, all tasks wait longer for a decision"
        )


def _set_apart() -> set[int]:
    """CPUs without ticks, and those of isolated partitions."""
    isolated = _listed("cpuset.cpus.isolated", _CGROUPS)
    return _listed("nohz_full") | _listed("isolated") | isolated


def _listed(name: str, folder: Path | None = None) -> set[int]:
    try:
        text = ((folder or _CPUS) / name).read_text().strip()
    except OSError:
        return set()
    # Without such CPUs `nohz_full` says "(null)".
    return set(parse_cpu_list(text)) if text[:1].isdigit() else set()
