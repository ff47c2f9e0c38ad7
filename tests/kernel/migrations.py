# SPDX-License-Identifier: GPL-2.0-only
"""Migrations of tasks between CPUs, counted by the kernel's own trace event."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Self

_TRACING = Path("/sys/kernel/tracing")
_EVENT = _TRACING / "events/sched/sched_migrate_task"
_KEYS = "hist:keys=orig_cpu,dest_cpu:size=4096"
_ENTRY = re.compile(r"orig_cpu:\s+(\d+), dest_cpu:\s+(\d+) \} hitcount:\s+(\d+)")


def _context_switches() -> int:
    text = Path("/proc/stat").read_text(encoding="ascii")
    return int(text[text.index("ctxt ") :].split()[1])


class Migrations:
    """Counts within a `with` block, of all tasks of the machine."""

    nr = 0
    far = 0
    """Those between the first half of the CPUs and the second, which have caches of their own."""
    switches = 0
    """Context switches meanwhile."""

    def __enter__(self) -> Self:
        if not _EVENT.exists():
            mount = ("mount", "-t", "tracefs", "tracefs", str(_TRACING))
            subprocess.run(mount, check=True)
        (_EVENT / "trigger").write_text(_KEYS, encoding="ascii")
        self._before = _context_switches()
        return self

    def __exit__(self, *_: object) -> None:
        self.switches = _context_switches() - self._before
        half = (os.cpu_count() or 1) // 2
        for entry in _ENTRY.findall((_EVENT / "hist").read_text(encoding="ascii")):
            begin, end, nr = map(int, entry)
            self.nr += nr
            self.far += nr * ((begin < half) != (end < half))
        (_EVENT / "trigger").write_text("!" + _KEYS, encoding="ascii")
