# SPDX-License-Identifier: GPL-2.0-only
"""The counters that BPF keeps per CPU, summed."""

import struct
from pathlib import Path
from typing import Any

from pyland.kernel import wire
from pyland.kernel._native import ffi

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
    "put_off",
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

    def __init__(self, state: Any, pid: int) -> None:
        """`state` as mapped by root; `pid` is the dispatching process."""
        size = ffi.sizeof("struct pyland_cpu")
        self._cpus = ffi.buffer(state.cpus, size * state.nr_cpus)
        self._user = state.user
        self._names = wire.numbers("pyland_cpu")
        self._cpu = struct.Struct(wire.record_format("pyland_cpu", self._names, size))
        self._stat = Path(f"/proc/{pid}/stat")
        self._faults_before = 0

    def start_counting_faults(self) -> None:
        """Page faults are counted from now on."""
        self._faults_before = self._faults()

    def counts(self) -> dict[str, int]:
        """What BPF counts: all totals but the page faults.

        From memory and for all CPUs at once: the supervisor looks every second.
        """
        columns = zip(*self._cpu.iter_unpack(bytes(self._cpus)), strict=True)
        values = dict(zip(self._names, map(sum, columns), strict=True))
        values["running"] = max(values["nr_running"], 0)
        values["cycles"] = self._user.cycles
        answered = values["user_dispatched"] + values["late"] + values["failed"]
        values["held"] = max(values["forwarded"] - answered, 0)
        return values

    def read(self) -> dict[str, int]:
        """All totals."""
        return {**self.counts(), "page_faults": self._faults() - self._faults_before}

    def _faults(self) -> int:
        try:
            # The name in brackets may hold blanks; minflt and majflt are fields 10 and 12.
            fields = self._stat.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            return self._faults_before
        return int(fields[7]) + int(fields[9])
