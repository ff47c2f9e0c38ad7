# SPDX-License-Identifier: GPL-2.0-only
"""Lets the process that decides run on as many CPUs as possible.

If it may use a single CPU, it waits for that CPU while others are free, and every task that needs
a decision waits with it: p99 3.1 ms, against 0.13 ms with all CPUs.
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
    """Let this process and its children run on every CPU of the machine.

    This includes CPUs that come online later. CPUs that are set apart (without ticks, or
    isolated) are left to their tasks, unless this process could run there before.
    """
    wanted = _listed("possible") - _set_apart() | os.sched_getaffinity(0)
    # The kernel takes only the CPUs of the cgroup's cpuset; `Confinement` reports the others.
    with suppress(OSError):
        os.sched_setaffinity(0, wanted)


class Confinement:
    """Finds CPUs that a process may not use, at the start and after a cpuset has changed."""

    def __init__(self, pid: int) -> None:
        """Nothing has been reported yet."""
        self._pid = pid
        self._told: Set[int] = frozenset()

    def news(self) -> str:
        """One line about the missing CPUs if they are not those of the last call, else empty."""
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
    """CPUs without ticks, and isolated CPUs."""
    isolated = _listed("cpuset.cpus.isolated", _CGROUPS)
    return _listed("nohz_full") | _listed("isolated") | isolated


def _listed(name: str, folder: Path | None = None) -> set[int]:
    try:
        text = ((folder or _CPUS) / name).read_text().strip()
    except OSError:
        return set()
    # Without such CPUs `nohz_full` says "(null)".
    return set(parse_cpu_list(text)) if text[:1].isdigit() else set()
