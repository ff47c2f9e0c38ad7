# SPDX-License-Identifier: GPL-2.0-only
"""The counters that BPF keeps per CPU, summed."""

import struct
from pathlib import Path
from typing import Any

from pyland.kernel import wire
from pyland.kernel._native import ffi, lib

TOTALS = (
    "direct",
    "kernel",
    "forwarded",
    "user_dispatched",
    "fallback_full",
    "fallback_lag",
    "fallback_idle",
    "alone",
    "continued",
    "late",
    "bounced",
    "failed",
    "bad_decisions",
    "undecided",
    "handed_over",
    "events_lost",
    "rescued",
    "running",
    "held",
    "heartbeats",
    "wakeup_kicks",
    "preemptions",
    "sliced",
    "sched_runs",
    "cycles",
    "page_faults",
    "delay_ns",
    "wait_user_ns",
    "wait_cpu_ns",
    "waited_cpu",
)
"""The names under which a run's totals are printed; `running` and `held` are gauges."""


class Counters:
    """Reads the shared memory of a loaded scheduler; any process that maps it can."""

    def __init__(self, rings: Any, pid: int) -> None:
        """`rings` as mapped by the shim; `pid` is the dispatching process."""
        self._size = ffi.sizeof("struct pyland_cpu")
        self._nr_cpus = lib.pyland_nr_cpus(rings)
        self._cpus = ffi.buffer(lib.pyland_cpu_memory(rings), self._size * self._nr_cpus)
        self._shared = lib.pyland_shared_memory(rings)
        self._offsets = wire.numbers("pyland_cpu")
        self._stat = Path(f"/proc/{pid}/stat")
        self._faults_before = 0

    def start_counting_faults(self) -> None:
        """Page faults are counted from now on."""
        self._faults_before = self._faults()

    def read(self) -> dict[str, int]:
        """All totals, and `delay_max_ns` of the decisions."""
        memory = bytes(self._cpus)
        values = {}
        for name, offset in self._offsets.items():
            column = [
                struct.unpack_from("=q", memory, cpu * self._size + offset)[0]
                for cpu in range(self._nr_cpus)
            ]
            values[name] = max(column) if name.endswith("_max_ns") else sum(column)
        values["running"] = max(values["nr_running"], 0)
        values["cycles"] = self._shared.cycles
        answered = sum(values[name] for name in ("user_dispatched", "late", "failed"))
        values["held"] = max(values["forwarded"] - answered, 0)
        values["page_faults"] = self._faults() - self._faults_before
        return values

    def _faults(self) -> int:
        try:
            # The name in brackets may hold blanks; minflt and majflt are fields 10 and 12.
            fields = self._stat.read_text().rpartition(")")[2].split()
        except OSError:
            return self._faults_before
        return int(fields[7]) + int(fields[9])
