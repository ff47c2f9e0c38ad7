# SPDX-License-Identifier: GPL-2.0-only
"""The rights of the process that runs the policy: its user, its limits, its surroundings."""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pyland import policies
from pyland._native import lib
from pyland.errors import UsageError
from pyland.loading.caller import Caller
from pyland.supervisor import loader

_KEPT_VARIABLES = ("LANG", "LC_", "TZ", "PATH", "HOME", "OPENBLAS_", "OMP_", "MKL_")
GROWTH_MIB = 256
"""MiB that a policy may allocate after the start; beyond that it gets a MemoryError."""
_RESERVE_MIB = 32
"""MiB beyond that, for pyland's own work after a MemoryError of the policy."""


def drop(user: Caller) -> None:
    """Become this user for good, without any capability; raises UsageError."""
    if not _reaches(user, policies.FOLDER):
        # pyland is in a folder that this user cannot enter, such as /root: import all policies now.
        policies.load_all()
    if lib.pyland_drop_privileges(user.uid, user.gid):
        raise UsageError(loader.error())


def _reaches(user: Caller, folder: Path) -> bool:
    """True if the modes of `folder` and of all folders above it let this user in."""
    for step in (folder, *folder.parents):
        found = step.stat()
        mine = 0o100 if found.st_uid == user.uid else 0o010 if found.st_gid == user.gid else 0o001
        if not found.st_mode & mine:
            return False
    return True


def limit_locked_memory(locked_mib: float) -> None:
    """Limit locked memory to what the process may allocate: no other limit counts shared memory."""
    most = (int(locked_mib) + GROWTH_MIB + _RESERVE_MIB) << 20
    resource.setrlimit(resource.RLIMIT_MEMLOCK, (most, most))


def leave_surroundings() -> None:
    """Leave root's current folder and scheduling limits, and most of the environment.

    A process can open files of its current folder even if its user cannot enter the folders
    above it.
    """
    os.chdir("/")
    for limit in (resource.RLIMIT_RTPRIO, resource.RLIMIT_NICE):
        resource.setrlimit(limit, (0, 0))
    for name in [*os.environ]:
        if not name.startswith(_KEPT_VARIABLES):
            del os.environ[name]


def limit_memory() -> None:
    """Limit the data of this process: a policy that takes too much gets a MemoryError."""
    used_kib = _status_kib(os.getpid(), "VmData")
    all_of_it = (used_kib << 10) + (GROWTH_MIB + _RESERVE_MIB << 20)
    given = resource.getrlimit(resource.RLIMIT_DATA)[1]
    if given != resource.RLIM_INFINITY:
        all_of_it = min(all_of_it, given)
    resource.setrlimit(resource.RLIMIT_DATA, (all_of_it - (_RESERVE_MIB << 20), all_of_it))


@contextmanager
def memory_reserve() -> Iterator[None]:
    """In this block pyland may use its reserve: the policy may have used up its own memory."""
    most, all_of_it = resource.getrlimit(resource.RLIMIT_DATA)
    resource.setrlimit(resource.RLIMIT_DATA, (all_of_it, all_of_it))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_DATA, (most, all_of_it))


def described(pid: int) -> dict[str, str]:
    """User and capabilities of a process, as `pyland status` shows them."""
    fields = _status(pid)
    uid = fields.get("Uid", "?").split()[0]
    effective = fields.get("CapEff", "?")
    return {
        "user": uid,
        "capabilities": "none" if effective.strip("0") == "" else effective,
        "no new privileges": "yes" if fields.get("NoNewPrivs") == "1" else "no",
    }


def _status(pid: int) -> dict[str, str]:
    try:
        lines = Path(f"/proc/{pid}/status").read_text(errors="replace").split("\n")
    except OSError:
        return {}
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _status_kib(pid: int, name: str) -> int:
    return int(_status(pid).get(name, "0 kB").split()[0])
