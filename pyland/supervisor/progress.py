# SPDX-License-Identifier: GPL-2.0-only
"""Finds out whether the policy returns in time, and what else may hold the worker."""

from __future__ import annotations

import os
from enum import Enum, auto
from pathlib import Path
from typing import NamedTuple

LOOK_EVERY_S = 0.25
"""Seconds between two looks of the supervisor."""
LOOK_WHEN_QUIET_S = 0.75
"""Seconds between two looks while no task waits: a stuck policy then delays no task."""
_ABSENT_S = 4 * LOOK_EVERY_S
_HELD_S = 1.0
"""Seconds that something must hold the worker before it is reported."""

_PROC, _CGROUPS = Path("/proc"), Path("/sys/fs/cgroup")
# Kernel functions in which a frozen task waits: the first two with cgroup v2 (the compiler may
# inline the first into the second), the third with v1.
_FREEZERS = ("do_freezer_trap", "get_signal", "__refrigerator")


class _Kind(Enum):
    COMPUTES = auto()
    SLEEPS = auto()
    WAITS = auto()  # in the kernel; no signal ends that, not even SIGKILL
    HELD = auto()
    GONE = auto()


class _State(NamedTuple):
    kind: _Kind
    cpu_s: float = 0.0
    held_by: str = ""


class Progress:
    """Measures how long the worker has been in one cycle, as far as the policy causes it.

    A debugger, a freezer or SIGSTOP can hold the worker for any time. That time does not
    count: the policy is not the cause. A wait in the kernel, for example for a disk, counts
    as `busy_s` and not as `stuck_s`: a kill would have no effect.
    """

    def __init__(self, pid: int, *, proc: Path = _PROC, cgroups: Path = _CGROUPS) -> None:
        """`proc` and `cgroups` are where those file systems are mounted."""
        self.busy_s = 0.0
        """Seconds in the present cycle: CPU time, and time asleep or in the kernel."""
        self.stuck_s = 0.0
        """`busy_s` without the time in which the worker could not be killed."""
        self._process, self._cgroups = proc / str(pid), cgroups
        self._cycles = -1
        self._looked_s = self._cpu_s = self._held_s = 0.0
        self._held_by = ""
        self._told = False

    def look(self, cycles: int, now_s: float) -> None:
        """Note the state at this time; `cycles` is how many cycles the worker has begun."""
        passed_s, self._looked_s = now_s - self._looked_s, now_s
        state = self._state()
        used_s, self._cpu_s = state.cpu_s - self._cpu_s, state.cpu_s
        if state.held_by != self._held_by:
            self._held_by, self._held_s, self._told = state.held_by, 0.0, False
        elif passed_s < _ABSENT_S:
            self._held_s += passed_s
        if cycles != self._cycles:
            self._cycles, self.busy_s, self.stuck_s = cycles, 0.0, 0.0
            return
        # If the last look is so long ago, this process was stopped or frozen, as was the worker.
        if passed_s >= _ABSENT_S or state.kind in (_Kind.HELD, _Kind.GONE):
            return
        own_s = used_s if state.kind is _Kind.COMPUTES else passed_s
        self.busy_s += own_s
        if state.kind is not _Kind.WAITS:
            self.stuck_s += own_s

    def news(self) -> str:
        """The cause that has held the worker for a second; told once each time, else empty."""
        if self._told or not self._held_by or self._held_s < _HELD_S:
            return ""
        self._told = True
        return self._held_by

    def _state(self) -> _State:
        try:
            # The process's name in brackets may have any character.
            fields = _read(self._process / "stat").rpartition(")")[2].split()
            letter, ticks = fields[0], int(fields[11]) + int(fields[12])
        except (IndexError, ValueError):
            return _State(_Kind.GONE)
        cpu_s = ticks / os.sysconf("SC_CLK_TCK")
        if letter in "ZXx":
            return _State(_Kind.GONE)
        if letter == "T":
            return _State(_Kind.HELD, cpu_s, "stopped by a signal (SIGCONT lets it go on)")
        if letter == "t":
            return _State(_Kind.HELD, cpu_s, f"held by a debugger{self._tracer()}")
        if letter == "R":
            return _State(_Kind.COMPUTES, cpu_s)
        place = _read(self._process / "wchan")
        if place in _FREEZERS or self._cgroup_is_frozen():
            return _State(_Kind.HELD, cpu_s, "frozen by its cgroup")
        if letter != "D":
            return _State(_Kind.SLEEPS, cpu_s)
        where = f" ({place})" if place not in ("", "0") else ""
        return _State(_Kind.WAITS, cpu_s, f"waiting in the kernel{where}, not to be interrupted")

    def _tracer(self) -> str:
        for line in _read(self._process / "status").split("\n"):
            if line.startswith("TracerPid:"):
                return f" (process {line.split()[1]})"
        return ""

    def _cgroup_is_frozen(self) -> bool:
        """True if the cgroup is frozen; for kernels that do not say where a task waits (wchan)."""
        for line in _read(self._process / "cgroup").splitlines():
            number, _, path = line.split(":", 2)
            if number == "0":
                events = _read(self._cgroups / path.lstrip("/") / "cgroup.events")
                return "frozen 1" in events.splitlines()
        return False


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace").strip()
    except OSError:
        return ""
