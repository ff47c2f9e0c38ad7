# SPDX-License-Identifier: GPL-2.0-only
"""Which task ran where and when, and which CPUs the layers had meanwhile, on one clock."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Self

import psutil

_TRACING = Path("/sys/kernel/tracing")
_INSTANCE = _TRACING / "instances" / "pyland-timeline"
_KIB_OF_A_CPU = 4096
_SWITCH = re.compile(
    r"\[(\d+)\] \S+ +([\d.]+): sched_switch: .* prev_pid=(\d+) .*"
    r" ==> next_comm=(.*) next_pid=(\d+) next_prio"
)
_TAKES_S = 0.05
"""A change takes effect, and its time is known, to so many seconds."""


class Run(NamedTuple):
    """A task had a CPU from `begin_s` to `end_s` of the monotonic clock; pid 0 is none."""

    begin_s: float
    end_s: float
    cpu: int
    pid: int
    comm: str

    @property
    def seconds(self) -> float:
        """How long it had the CPU."""
        return self.end_s - self.begin_s


class Timeline:
    """Traces all switches of tasks within a `with` block."""

    def __init__(self) -> None:
        self.runs: list[Run] = []
        """In the order of their ends; of each CPU from its first switch on, or since it idled."""
        self.begin_s = self.end_s = 0.0
        self._idle_s: list[float] = []

    def __enter__(self) -> Self:
        if not _INSTANCE.parent.exists():
            mount = ("mount", "-t", "tracefs", "tracefs", str(_TRACING))
            subprocess.run(mount, check=True)
        _INSTANCE.mkdir(exist_ok=True)
        _write("trace_clock", "mono")
        _write("buffer_size_kb", str(_KIB_OF_A_CPU))
        _write("events/sched/sched_switch/enable", "1")
        self.begin_s = time.monotonic()
        self._idle_s = _idle_s()
        return self

    def __exit__(self, *_: object) -> None:
        idle_s = [now - before for now, before in zip(_idle_s(), self._idle_s, strict=True)]
        self.end_s = time.monotonic()
        _write("events/sched/sched_switch/enable", "0")
        text = (_INSTANCE / "trace").read_text(encoding="utf-8", errors="replace")
        lost = [line for line in text.splitlines()[:12] if "entries-in-buffer" in line]
        _INSTANCE.rmdir()
        assert lost, text[:500]
        kept, written = map(int, re.findall(r"\d+", lost[0])[:2])
        assert kept == written, f"the trace lost {written - kept} switches: trace for less time"
        self.runs = list(_runs(text, self.begin_s, self.end_s))
        # A CPU that idled all the time has no switch.
        seen = {run.cpu for run in self.runs}
        self.runs += [
            Run(self.begin_s, self.end_s, cpu, 0, "idle")
            for cpu, each_s in enumerate(idle_s)
            if cpu not in seen and each_s > 0.9 * (self.end_s - self.begin_s)
        ]

    def of(self, *comms: str, after_s: float = 0.0) -> list[Run]:
        """The runs of tasks with these names that began so long after the trace."""
        begin_s = self.begin_s + after_s
        return [run for run in self.runs if run.comm in comms and run.begin_s >= begin_s]

    def idle_s(self, cpu: int, begin_s: float, end_s: float) -> float:
        """How long the CPU idled between two times."""
        within = (
            min(run.end_s, end_s) - max(run.begin_s, begin_s)
            for run in self.runs
            if run.cpu == cpu and not run.pid
        )
        return sum(part for part in within if part > 0)


class Sizes:
    """Which CPUs each layer had and when, as `Sized` of sized.py has printed it."""

    def __init__(self, output: str, nr_layers: int) -> None:
        self.changes: list[tuple[float, tuple[int, ...]]] = []
        """The time of each change, and the mask of each layer from then on."""
        for line in re.findall(r"\bsized (\d+ .*)", output):
            words = line.split()
            masks = tuple(int(word, 16) for word in words[1 : nr_layers + 1])
            self.changes.append((int(words[0]) / 1e9, masks))

    def between(self, layer: int, begin_s: float, end_s: float) -> list[int]:
        """All masks that the layer had from `begin_s` to `end_s`."""
        before = [masks[layer] for at_s, masks in self.changes if at_s <= begin_s][-1:]
        return before + [m[layer] for at_s, m in self.changes if begin_s < at_s <= end_s]

    def outside(self, layer: int, runs: Sequence[Run]) -> list[Run]:
        """The runs that began on a CPU which the layer did not have then."""
        return [
            run
            for run in runs
            if not any(
                mask >> run.cpu & 1
                for mask in self.between(layer, run.begin_s - _TAKES_S, run.begin_s + _TAKES_S)
            )
        ]

    def inside(self, layer: int, runs: Sequence[Run]) -> list[Run]:
        """The runs on a CPU that was the layer's from before they began to their end."""
        return [
            run
            for run in runs
            if all(
                mask >> run.cpu & 1
                for mask in self.between(layer, run.begin_s - _TAKES_S, run.end_s)
            )
        ]

    def counts(self, layer: int, begin_s: float = 0.0) -> list[tuple[float, int]]:
        """How many CPUs the layer had from when on, in seconds after `begin_s`."""
        found: list[tuple[float, int]] = []
        for at_s, masks in self.changes:
            nr = masks[layer].bit_count()
            if not found or found[-1][1] != nr:
                found.append((round(at_s - begin_s, 3), nr))
        return found


def _idle_s() -> list[float]:
    """How long each CPU has idled so far."""
    return [times.idle for times in psutil.cpu_times(percpu=True)]


def _write(name: str, text: str) -> None:
    (_INSTANCE / name).write_text(text, encoding="ascii")


def _runs(text: str, trace_begin_s: float, end_s: float) -> Iterator[Run]:
    last: dict[int, tuple[float, int, str]] = {}
    for found in _SWITCH.finditer(text):
        cpu, now_s, comm, pid = int(found[1]), float(found[2]), found[4], int(found[5])
        if cpu in last:
            begin_s, before, name = last[cpu]
            yield Run(begin_s, now_s, cpu, before, name)
        elif found[3] == "0":
            # When a task began is not known; that an idle CPU idled until now is.
            yield Run(trace_begin_s, now_s, cpu, 0, "idle")
        last[cpu] = now_s, pid, comm
    for cpu, (begin_s, pid, comm) in last.items():
        yield Run(begin_s, end_s, cpu, pid, comm)
