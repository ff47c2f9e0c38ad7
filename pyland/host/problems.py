# SPDX-License-Identifier: GPL-2.0-only
"""Explains why the kernel refused the scheduler, and what to change."""

from __future__ import annotations

import errno
import os
from pathlib import Path

_JIT = Path("/proc/sys/net/core/bpf_jit_enable")
_ISOLATED = Path("/sys/devices/system/cpu/isolated")
_COMMAND_LINE = Path("/proc/cmdline")
_LOCKDOWN = Path("/sys/kernel/security/lockdown")
# pyland checks its rights before (rights.py), so missing rights are not the reason.
_REFUSED = "the kernel refused it, as a container's seccomp profile or a security module may"
_ENOTSUPP = 524  # a number inside the kernel, which no C library has


def load_problem(libbpf_said: str) -> str:
    """Why the object was not loaded, and what to change."""
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
    # The verifier only says that the program may not call a function.
    if _lockdown() == "confidentiality":
        return (
            "the kernel is locked down (confidentiality), and BPF may not read its memory then: it "
            f"takes lockdown=integrity or none; {said}"
        )
    return f"{_REFUSED}: {said}" if os.strerror(errno.EPERM) in libbpf_said else said


def attach_problem(libbpf_said: str) -> str:
    """Why the loaded object was not attached, and what to change."""
    if os.strerror(errno.EINVAL) in libbpf_said and (isolated := _read(_ISOLATED)):
        # kernel/sched/ext.c: a scheduler cannot keep tasks off CPUs outside all sched domains.
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
