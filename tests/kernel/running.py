# SPDX-License-Identifier: GPL-2.0-only
"""Which task ran how often on which CPU, counted by the kernel's own trace event."""

from __future__ import annotations

import re
import subprocess
from collections import Counter
from pathlib import Path
from typing import Self

_TRACING = Path("/sys/kernel/tracing")
_EVENT = _TRACING / "events/sched/sched_switch"
_KEYS = "hist:keys=next_pid,common_cpu:size=8192"
_ENTRY = re.compile(r"next_pid:\s+(\d+), common_cpu:\s+(\d+) \} hitcount:\s+(\d+)")


class Running:
    """Counts switches to each task within a `with` block."""

    def __init__(self) -> None:
        self.nr: Counter[tuple[int, int]] = Counter()
        """By pid and CPU."""

    def __enter__(self) -> Self:
        if not _EVENT.exists():
            mount = ("mount", "-t", "tracefs", "tracefs", str(_TRACING))
            subprocess.run(mount, check=True)
        (_EVENT / "trigger").write_text(_KEYS, encoding="ascii")
        return self

    def __exit__(self, *_: object) -> None:
        for entry in _ENTRY.findall((_EVENT / "hist").read_text(encoding="ascii")):
            pid, cpu, nr = map(int, entry)
            self.nr[pid, cpu] += nr
        (_EVENT / "trigger").write_text("!" + _KEYS, encoding="ascii")

    def cpus_of(self, pid: int) -> set[int]:
        """The CPUs on which the task was put."""
        return {cpu for each, cpu in self.nr if each == pid}
