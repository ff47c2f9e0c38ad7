# SPDX-License-Identifier: GPL-2.0-only
"""Can this machine be scheduled? Each no is one line, before anything is changed."""

import os
import time
from pathlib import Path

from pyland.errors import UsageError
from pyland.host.limits import check_limits
from pyland.host.rights import check_rights

KERNEL = Path("/sys/kernel")
SCHED_EXT = KERNEL / "sched_ext"
KERNEL_BTF = KERNEL / "btf/vmlinux"
LIBBPF_NEEDED = (1, 4)

MAY_BE_ENDING_S = 1.5
"""A scheduler that was told to end may look like one that stays for so long."""
ENDS_WITHIN_S = 10.0
"""The kernel takes a moment to put a scheduler away, more when many tasks compute."""
_LOOK_EVERY_S = 0.02


def check_machine() -> None:
    """Raise UsageError for the first thing that keeps pyland from scheduling here."""
    check_rights()
    if not KERNEL.is_dir():
        raise UsageError("/sys is not mounted: run `mount -t sysfs sysfs /sys`")
    if not SCHED_EXT.is_dir():
        raise UsageError(
            f"the running kernel ({os.uname().release}) has no sched_ext: it takes Linux 6.12 or "
            "later built with CONFIG_SCHED_CLASS_EXT=y"
        )
    if not KERNEL_BTF.exists():
        raise UsageError(
            f"the running kernel has no BTF ({KERNEL_BTF}): it takes CONFIG_DEBUG_INFO_BTF=y"
        )
    check_libbpf(_libbpf_version())
    check_limits()
    check_no_scheduler()


def check_no_scheduler() -> None:
    """Raise UsageError when another sched_ext scheduler is loaded and stays, naming it.

    One that was told to end, as by a service that is restarted, is waited for.
    """
    look_s = time.monotonic()
    while (state := _read(SCHED_EXT / "state")) not in ("", "disabled"):
        waited_s = time.monotonic() - look_s
        if waited_s > (MAY_BE_ENDING_S if state == "enabled" else ENDS_WITHIN_S):
            name = _read(SCHED_EXT / "root/ops") or "unknown"
            raise UsageError(
                f"another scheduler is loaded: {name} ({state}); stop it first, the kernel takes "
                "one"
            )
        time.sleep(_LOOK_EVERY_S)


def wait_for_default_scheduler(timeout_s: float = ENDS_WITHIN_S) -> None:
    """Wait until the kernel has put the last scheduler away, which takes it a moment.

    Raises UsageError when it does not come to an end.
    """
    until_s = time.monotonic() + timeout_s
    while _read(SCHED_EXT / "state") != "disabled":
        if time.monotonic() > until_s:
            raise UsageError(f"the kernel has not ended the last scheduler in {timeout_s:g} s")
        time.sleep(_LOOK_EVERY_S)


def check_libbpf(version: str) -> None:
    """Raise UsageError when libbpf's own version string is older than needed."""
    found = tuple(int(part) for part in version.lstrip("v").split(".")[:2])
    if found < LIBBPF_NEEDED:
        needed = ".".join(map(str, LIBBPF_NEEDED))
        raise UsageError(f"libbpf {version.lstrip('v')} is too old: pyland needs {needed} or newer")


def _libbpf_version() -> str:
    # Only here: the command must be able to explain itself where the library is missing.
    try:
        from pyland._native import ffi, lib
    except ImportError as error:
        raise UsageError(f"pyland's native part does not load: {error}") from error
    return str(ffi.string(lib.libbpf_version_string()).decode())


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
