# SPDX-License-Identifier: GPL-2.0-only
"""Memory that never faults during scheduling (csrc/memory.c says how and why)."""

import gc
import os
from pathlib import Path

from pyland._native import lib
from pyland.errors import UsageError
from pyland.supervisor import loader

ARENA_MIB = 24
"""For Python's objects: the tuples of a full queue take 2 MiB."""
HEAP_MIB = 8
"""For lists and buffers larger than 512 bytes."""


def prepare() -> None:
    """Reserve the memory from which the loop allocates; once per process. Raises UsageError."""
    if lib.pyland_fix_heap(HEAP_MIB) or lib.pyland_fill_arenas(ARENA_MIB):
        raise UsageError(loader.error())


def lock() -> None:
    """Allow no page fault and no garbage collection from here on; raises UsageError."""
    gc.collect()
    gc.freeze()
    gc.disable()
    if lib.pyland_lock_memory():
        raise UsageError(f"{loader.error()}: is RLIMIT_MEMLOCK or the cgroup too small?")
    if (locked := locked_mib(os.getpid())) < ARENA_MIB + HEAP_MIB:
        raise UsageError(
            f"the kernel has locked {locked:.0f} MiB of memory only, and said that it is all"
        )


def locked_mib(pid: int) -> float:
    """Locked memory of a process in MiB."""
    for line in Path(f"/proc/{pid}/status").read_text(errors="replace").split("\n"):
        if line.startswith("VmLck:"):
            return int(line.split()[1]) / 1024
    return 0.0
