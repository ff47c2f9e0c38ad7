# SPDX-License-Identifier: GPL-2.0-only
"""Checks that the resource limits of this process are high enough, before anything is changed.

A soft limit is raised up to its hard limit. A hard limit was set on purpose, so it is kept, and
an error names it. Locked memory is the exception, because its default is meant for ordinary
programs: there the hard limit is raised, too.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from pyland.errors import UsageError
from pyland.host.rights import capabilities

OPEN_FILES = 256
"""For maps, programs and BTF while one scheduler replaces another, and for clients."""
PROCESSES = 5
"""Processes besides this one: they schedule, print, serve statistics, try a policy, and restore a
setting of the kernel."""
MEMORY_MIB = 512
"""Address space of the process that decides: its own, and what the policy may allocate."""
FILE_KIB = 64
"""For notes in /run/pyland, and for some lines of output if that goes to a file."""
LOCKED_MIB = 128
"""Memory that all processes of pyland use after the start, and keep."""

_MIB = 1 << 20
_CAP_SYS_RESOURCE = 24
_CGROUPS = Path("/sys/fs/cgroup")
_NO_LIMIT = resource.RLIM_INFINITY


def check_limits() -> None:
    """Raise UsageError for the first limit that is too low."""
    if not _raised(resource.RLIMIT_NOFILE, OPEN_FILES):
        raise UsageError(
            f"{_hard(resource.RLIMIT_NOFILE)} open files are allowed (ulimit -n): pyland needs "
            f"{OPEN_FILES}"
        )
    for kind, what in (
        (resource.RLIMIT_AS, "address space is limited to {} MiB (ulimit -v)"),
        (resource.RLIMIT_DATA, "data is limited to {} MiB (ulimit -d)"),
    ):
        if not _raised(kind, MEMORY_MIB * _MIB):
            told = what.format(_hard(kind) // _MIB)
            raise UsageError(f"{told}: pyland needs {MEMORY_MIB} MiB for its policy")
    if not _raised(resource.RLIMIT_FSIZE, FILE_KIB << 10):
        raise UsageError(
            f"files are limited to {_hard(resource.RLIMIT_FSIZE) >> 10} KiB (ulimit -f): pyland "
            f"notes what it changes in one, and needs {FILE_KIB} KiB"
        )
    if not _raised(resource.RLIMIT_CPU, _NO_LIMIT):
        raise UsageError(
            f"CPU time is limited to {_hard(resource.RLIMIT_CPU)} s (ulimit -t): the kernel would "
            "kill pyland after it"
        )
    if not (_may_raise_limits() or _raised(resource.RLIMIT_MEMLOCK, MEMORY_MIB * _MIB)):
        raise UsageError(
            f"locked memory is limited to {_hard(resource.RLIMIT_MEMLOCK) >> 10} KiB (ulimit -l)"
            f", and without CAP_SYS_RESOURCE pyland cannot raise that: it needs {MEMORY_MIB} MiB"
        )
    _check_memory()
    _check_processes()


def allow_locked_memory() -> None:
    """Remove the limit of locked memory if allowed; `check_limits` has checked the present one."""
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (_NO_LIMIT, _NO_LIMIT))


def _hard(kind: int) -> int:
    return resource.getrlimit(kind)[1]


def _raised(kind: int, needed: int) -> bool:
    """True if the soft limit is as high as needed, or has been raised to that."""
    soft, hard = resource.getrlimit(kind)
    if _reaches(soft, needed):
        return True
    if not _reaches(hard, needed):
        return False
    resource.setrlimit(kind, (needed, hard))
    return True


def _reaches(limit: int, needed: int) -> bool:
    return limit == _NO_LIMIT or (needed != _NO_LIMIT and limit >= needed)


def _may_raise_limits() -> bool:
    return bool(capabilities() >> _CAP_SYS_RESOURCE & 1)


def _check_memory() -> None:
    for name, left in room():
        if left < LOCKED_MIB * _MIB:
            raise UsageError(
                f"{name} leaves {left // _MIB} MiB of memory: pyland needs {LOCKED_MIB} MiB, "
                "locked, so that it cannot be swapped out"
            )


def room(cgroups: Path = _CGROUPS, proc: Path = Path("/proc")) -> Iterator[tuple[str, int]]:
    """Free memory in bytes: of the machine, of this process's cgroup and of those above it."""
    for line in _lines(proc / "meminfo"):
        if line.startswith("MemAvailable:"):
            yield "the machine", int(line.split()[1]) << 10
    for line in _lines(proc / "self/cgroup"):
        number, _, path = line.split(":", 2)
        if number != "0":
            continue
        group = Path(path)
        for one in (group, *group.parents):
            folder = cgroups / str(one).lstrip("/")
            usage = _lines(folder / "memory.current")
            # The kernel drops cached files of the group when the group allocates memory.
            stat = dict(line.split() for line in _lines(folder / "memory.stat"))
            files = int(stat.get("file", 0)) - int(stat.get("shmem", 0))
            for limit in ("memory.max", "memory.high"):
                for value in _lines(folder / limit):
                    if value != "max" and usage:
                        left = int(value) - int(usage[0]) + files
                        yield f"{limit} of the cgroup {one}", max(left, 0)


def _check_processes() -> None:
    """Start as many processes as pyland needs: this tests every limit that the kernel has."""
    reading, writing = os.pipe()
    started = []
    try:
        for _ in range(PROCESSES):
            pid = os.fork()
            if pid == 0:
                try:
                    os.close(writing)
                    os.read(reading, 1)  # until the parent has started all
                finally:
                    os._exit(0)
            started.append(pid)
    except OSError as error:
        raise UsageError(
            f"{len(started)} of the {PROCESSES} processes that pyland needs can be started: "
            f"{error.strerror} (ulimit -u, or pids.max of the cgroup)"
        ) from None
    finally:
        os.close(writing)
        os.close(reading)
        for pid in started:
            os.waitpid(pid, 0)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []
