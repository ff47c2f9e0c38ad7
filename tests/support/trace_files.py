# SPDX-License-Identifier: GPL-2.0-only
"""A writer of traces with its file."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pyland._native import lib
from tests.support import perfetto
from tests.support.trace_rings import Rings

MS = 1_000_000
ALL = 2**64 - 1
"""A time after all events."""


class Writer:
    """A writer with its file."""

    def __init__(self, path: Path, memory: int = 0, nr_cpus: int = 2) -> None:
        self.path = path
        self._file = path.open("r+b" if path.exists() else "w+b")
        self.c = lib.pyland_trace_writer(self._file.fileno(), nr_cpus, memory, b"scxtop_topo:{}")
        assert self.c
        lib.pyland_trace_policy(self.c, b"deadline")

    def drain(self, rings: Rings, until_ns: int = ALL) -> int:
        return int(lib.pyland_trace_drain(self.c, rings.rings, until_ns))

    @property
    def totals(self) -> Any:
        return lib.pyland_trace_totals(self.c)

    def end(self) -> perfetto.Trace:
        assert lib.pyland_trace_end(self.c, b"its time was over") == 0
        return self.read()

    def read(self) -> perfetto.Trace:
        return perfetto.read(self.path.read_bytes())

    def close(self) -> None:
        lib.pyland_trace_close(self.c)
        self._file.close()
