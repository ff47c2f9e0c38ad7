# SPDX-License-Identifier: GPL-2.0-only
"""The time that interrupts and a hypervisor take of each CPU, from /proc/stat."""

from __future__ import annotations

import os
from collections.abc import Iterable

_LOST_COLUMNS = (6, 7, 8)
"""irq, softirq and steal, in a line of /proc/stat split at spaces."""
_READ_MAX = 1 << 20


class Overhead:
    """What was taken since the last reading. One reading costs about 3 us for each CPU."""

    def __init__(self, path: str = "/proc/stat") -> None:
        """The first reading."""
        self._path = path
        self._tick_s = 1 / os.sysconf("SC_CLK_TCK")
        self._before: dict[int, int] = {}
        self.lost_s: dict[int, float] = {}
        """Seconds of each CPU, between the last two readings."""
        self.read()

    def read(self) -> None:
        """Read anew; a file that cannot be read counts as nothing lost."""
        try:
            with open(self._path, "rb") as file:
                lines = file.read(_READ_MAX).splitlines()
        except OSError:
            lines = []
        now = dict(_counted(lines))
        self.lost_s = {
            cpu: (ticks - self._before.get(cpu, ticks)) * self._tick_s for cpu, ticks in now.items()
        }
        self._before = now


def _counted(lines: Iterable[bytes]) -> Iterable[tuple[int, int]]:
    for line in lines:
        columns = line.split()
        if columns and columns[0][:3] == b"cpu" and columns[0][3:].isdigit():
            ticks = sum(int(columns[at]) for at in _LOST_COLUMNS if at < len(columns))
            yield int(columns[0][3:]), ticks
