# SPDX-License-Identifier: GPL-2.0-only
"""Checks if pyland can schedule this machine; an error is one line, and nothing is changed."""

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
"""Seconds for which a scheduler that is about to end may still look like one that stays."""
ENDS_WITHIN_S = 10.0
"""Seconds that the kernel may take to end a scheduler; it takes longest when tasks compute."""
_LOOK_EVERY_S = 0.02


def check_machine() -> None:
    """Raise UsageError for the first reason why pyland cannot schedule here."""
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
    """Raise UsageError with the name of another sched_ext scheduler if it stays loaded.

    First wait for a scheduler that is about to end, for example in a service's restart.
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
    """Wait until the kernel has ended the last scheduler.

    Raises UsageError if that takes more than `timeout_s` seconds.
    """
    until_s = time.monotonic() + timeout_s
    while _read(SCHED_EXT / "state") != "disabled":
        if time.monotonic() > until_s:
            raise UsageError(f"the kernel has not ended the last scheduler in {timeout_s:g} s")
        time.sleep(_LOOK_EVERY_S)


def check_libbpf(version: str) -> None:
    """Raise UsageError if libbpf is too old; `version` is the text that libbpf gives."""
    found = tuple(int(part) for part in version.lstrip("v").split(".")[:2])
    if found < LIBBPF_NEEDED:
        needed = ".".join(map(str, LIBBPF_NEEDED))
        raise UsageError(f"libbpf {version.lstrip('v')} is too old: pyland needs {needed} or newer")


def _libbpf_version() -> str:
    # Imported only here: without the library the command must still run and report that.
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
