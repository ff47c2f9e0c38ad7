# SPDX-License-Identifier: GPL-2.0-only
"""Do the limits that pyland was started with leave room for what it promises?

Asked before anything is changed. A soft limit is raised as far as its hard limit lets it;
a hard one was set by somebody, so it is named and kept. Locked memory is the exception:
its default is made for ordinary programs.
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
"""Maps, programs and their BTF while one scheduler replaces another, and clients."""
PROCESSES = 4
"""Those that schedule, watch, print, and try a policy out."""
MEMORY_MIB = 512
"""Address space of the process that decides: its own, and what a policy may allocate."""
FILE_KIB = 64
"""What is noted in /run/pyland, and some lines of output where that goes to a file."""
LOCKED_MIB = 128
"""Memory that all of pyland has in use when it starts, and that stays."""

_MIB = 1 << 20
_CAP_SYS_RESOURCE = 24
_CGROUPS = Path("/sys/fs/cgroup")
_NO_LIMIT = resource.RLIM_INFINITY


def check_limits() -> None:
    """Raise UsageError for the first limit that would break a promise."""
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
    """Let this process lock as much as it may; `check_limits` has found that to be enough."""
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_MEMLOCK, (_NO_LIMIT, _NO_LIMIT))


def _hard(kind: int) -> int:
    return resource.getrlimit(kind)[1]


def _raised(kind: int, needed: int) -> bool:
    """Whether the soft limit is as high as needed, or could be made so."""
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
    """Bytes that can still be had: of the machine, of this process's cgroup and those above."""
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
            # What the group has read from files is given up for what it allocates.
            stat = dict(line.split() for line in _lines(folder / "memory.stat"))
            files = int(stat.get("file", 0)) - int(stat.get("shmem", 0))
            for limit in ("memory.max", "memory.high"):
                for value in _lines(folder / limit):
                    if value != "max" and usage:
                        left = int(value) - int(usage[0]) + files
                        yield f"{limit} of the cgroup {one}", max(left, 0)


def _check_processes() -> None:
    """Start as many as will be needed: the kernel's own answer to all limits there are."""
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
