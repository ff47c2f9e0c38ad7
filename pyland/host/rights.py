# SPDX-License-Identifier: GPL-2.0-only
"""Checks if this process has the rights that pyland needs: a container may lack some of them."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from pyland.errors import UsageError

_PROC = Path("/proc")
_SYS_ADMIN = 21
# BPF loads programs; PERFMON, programs that see tasks. SETUID and SETGID are for becoming the
# policy's user, KILL for ending that user's process, CHOWN for giving it the control socket.
_NEEDED = {"BPF": 39, "PERFMON": 38, "SETUID": 7, "SETGID": 6, "KILL": 5, "CHOWN": 0}
_IN_SYS_ADMIN = ("BPF", "PERFMON")
_EVERY_USER = ["0", "0", "4294967295"]


def check_rights(proc: Path = _PROC) -> None:
    """Raise UsageError if this process is not root, or lacks a right that pyland needs."""
    if os.geteuid() != 0:
        raise UsageError("attaching a scheduler needs root: run it with sudo")
    if not (proc / "self/status").exists():
        raise UsageError(f"{proc} is not mounted: run `mount -t proc proc {proc}`")
    users = proc / "self/uid_map"  # missing if the kernel has no user namespaces
    if users.exists() and users.read_text().split() != _EVERY_USER:
        raise UsageError(
            "root of a user namespace, as in a rootless container, has no rights over the "
            "machine's CPUs: run it outside, with sudo"
        )
    if filtered := _filtered_calls():
        raise UsageError(
            f"the system calls {', '.join(filtered)} are refused here, as by scx_loader's service: "
            "pyland could not leave root to run a policy; start it by pyland.service or scx.service"
        )
    has = capabilities(proc)
    missing = [name for name, number in _NEEDED.items() if not has >> number & 1]
    if has >> _SYS_ADMIN & 1:
        missing = [name for name in missing if name not in _IN_SYS_ADMIN]
    if missing:
        raise UsageError(
            f"this root lacks {', '.join(f'CAP_{name}' for name in missing)}: give a container "
            f"{' '.join(f'--cap-add {name}' for name in missing)}, a service all in its "
            "CapabilityBoundingSet="
        )


def _filtered_calls() -> list[str]:
    """The calls by which a process changes its user that a filter refuses: these change nothing."""
    has = capabilities()
    calls: list[tuple[str, int, Callable[[], object]]] = [
        ("setresuid", _NEEDED["SETUID"], lambda: os.setresuid(-1, -1, -1)),
        ("setresgid", _NEEDED["SETGID"], lambda: os.setresgid(-1, -1, -1)),
        ("setgroups", _NEEDED["SETGID"], lambda: os.setgroups(os.getgroups())),
    ]
    # Without its capability, a call may be refused for that reason.
    return [name for name, needs, call in calls if has >> needs & 1 and not _works(call)]


def _works(call: Callable[[], object]) -> bool:
    try:
        call()
    except OSError:
        return False
    return True


def capabilities(proc: Path = _PROC) -> int:
    """The effective capabilities, one bit each; 0 if /proc does not say."""
    for line in (proc / "self/status").read_text().splitlines():
        if line.startswith("CapEff:"):
            return int(line.split()[1], 16)
    return 0
