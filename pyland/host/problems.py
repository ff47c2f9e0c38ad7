# SPDX-License-Identifier: GPL-2.0-only
"""Why the kernel did not take the scheduler, in words that say what would be right."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_JIT = Path("/proc/sys/net/core/bpf_jit_enable")
_ISOLATED = Path("/sys/devices/system/cpu/isolated")
_COMMAND_LINE = Path("/proc/cmdline")
_LOCKDOWN = Path("/sys/kernel/security/lockdown")
# Rights are looked at before, so it is none of those.
_REFUSED = "the kernel refused it, as a container's seccomp profile or a security module may"
_ENOTSUPP = 524  # the kernel's own, which no C library knows


def load_problem(libbpf_said: str) -> str:
    """Why the object was not loaded, and what would be right."""
    if "of another build" in libbpf_said:
        return libbpf_said
    if "incompatible with vmlinux" in libbpf_said:
        return (
            f"the running kernel ({os.uname().release}) describes its sched_ext functions wrongly, "
            "so that no scheduler can be loaded: it takes one whose BTF was made by pahole 1.31 "
            "or later (--verbose names the function)"
        )
    if str(_ENOTSUPP) in libbpf_said and _read(_JIT) != "1":
        return (
            "the kernel's compiler for BPF is off, and no scheduler runs without it: run "
            "`sysctl net.core.bpf_jit_enable=1`"
        )
    said = f"{libbpf_said} (--verbose shows the verifier's log)"
    # The verifier says no more than that a program may not call what it calls.
    if _lockdown() == "confidentiality":
        return (
            "the kernel is locked down (confidentiality), and BPF may not read its memory then: it "
            f"takes lockdown=integrity or none; {said}"
        )
    return f"{_REFUSED}: {said}" if os.strerror(errno.EPERM) in libbpf_said else said


def attach_problem(libbpf_said: str) -> str:
    """Why the kernel let the loaded object not schedule, and what would be right."""
    if os.strerror(errno.EINVAL) in libbpf_said and (isolated := _read(_ISOLATED)):
        # kernel/sched/ext.c: a scheduler could not keep tasks away from CPUs outside all domains.
        booted = "isolcpus=" in _read(_COMMAND_LINE)
        remedy = "boot it without isolcpus=" if booted else "end the isolated partition of a cpuset"
        return f"the kernel takes no scheduler while CPUs are isolated ({isolated}): {remedy}"
    if os.strerror(errno.EBUSY) in libbpf_said:
        return "another scheduler was loaded in this moment; the kernel takes one"
    if os.strerror(errno.EPERM) in libbpf_said:
        return f"{_REFUSED}: {libbpf_said}"
    return libbpf_said


def _lockdown() -> str:
    """The mode in brackets, as in `none [integrity] confidentiality`; empty if not known."""
    return _read(_LOCKDOWN).partition("[")[2].partition("]")[0]


def _read(path: Path) -> str:
    try:
        return path.read_text().strip()
    except OSError:
        return ""
