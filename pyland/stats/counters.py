# SPDX-License-Identifier: GPL-2.0-only
"""The table of counters, and their sums: BPF counts on each CPU separately."""

import os
import struct
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from pyland._native import ffi
from pyland.engine import wire


class Counter(NamedTuple):
    """One number of a run's statistics."""

    name: str
    """If BPF counts it, this is also its name in `struct pyland_cpu`."""
    unit: str
    meaning: str
    is_gauge: bool = False
    """True for a value of the moment; every other counter is a sum from the start on."""


COUNTERS = (
    Counter("direct", "tasks", "put on an idle CPU at once, without the policy"),
    Counter("kernel", "tasks", "of the kernel itself, never forwarded"),
    Counter("forwarded", "tasks", "records written for the policy"),
    Counter("user_dispatched", "tasks", "queued as the policy decided"),
    Counter("fallback_full", "tasks", "queued by BPF: the ring of records was full"),
    Counter(
        "fallback_lag",
        "tasks",
        "queued or run by BPF: Python lagged, or was not asked",
    ),
    Counter("fallback_idle", "tasks", "run by BPF: a CPU would have idled"),
    Counter("amended", "decisions", "that came as the task had left its queue: for what follows"),
    Counter("continued", "tasks", "continued on what an earlier decision grants"),
    Counter("late", "decisions", "for a task that had moved on"),
    Counter("bounced", "decisions", "for a CPU or domain that the task may not use"),
    Counter("outside", "enqueues", "of a task that its domain has no CPU for"),
    Counter("failed", "decisions", "that the kernel refused"),
    Counter("bad_decisions", "decisions", "malformed, or out of every range"),
    Counter("undecided", "tasks", "known to the policy, left undecided, and counted against it"),
    Counter("handed_over", "tasks", "queued when a new policy took over, and told to it"),
    Counter("events_lost", "events", "no room in the ring of records"),
    Counter("rescued", "tasks", "decided, then starved in a queue"),
    Counter("running", "tasks", "on a CPU", is_gauge=True),
    Counter("held", "tasks", "forwarded and not answered yet", is_gauge=True),
    Counter("groups", "groups", "cgroups and autogroups whose weight counts", is_gauge=True),
    Counter("heartbeats", "times", "BPF looked after the queues"),
    Counter("wakeup_kicks", "times", "a running task made room for user space to see a wakeup"),
    Counter("preemptions", "times", "a woken task preempted one of a later key or a lower rank"),
    Counter("sliced", "times", "a slice ended between two ticks"),
    Counter("throttled", "times", "a task began to wait because its cgroup had used its cpu.max"),
    Counter("put_off", "times", "the policy wanted to preempt a task that had just begun"),
    Counter("sched_runs", "times", "user space was given a CPU"),
    Counter("cycles", "times", "user space took records and sent decisions"),
    Counter("page_faults", "faults", "of the process that decides, while it schedules"),
    Counter("delay_ns", "ns", "from the question to the decision, summed over user_dispatched"),
    Counter("wait_user_ns", "ns", "the part of delay_ns until user space had a CPU"),
    Counter("wait_cpu_ns", "ns", "from enqueue or decision to CPU, summed over waited_cpu"),
    Counter("waited_cpu", "tasks", "that ran from a queue"),
    Counter("run_delay_ns", "ns", "runnable and not on a CPU, summed over all tasks"),
    Counter("voluntary", "times", "a task left its CPU to sleep"),
    Counter("involuntary", "times", "a task left its CPU and was still runnable"),
    Counter("migrated_core", "times", "a task ran on another CPU of the same core"),
    Counter("migrated_llc", "times", "a task ran on another core of the same last-level cache"),
    Counter("migrated_node", "times", "a task ran in another last-level cache of the same node"),
    Counter("migrated_far", "times", "a task ran in another NUMA node"),
)
"""All counters, in the order in which they are shown."""

TOTALS = tuple(counter.name for counter in COUNTERS)
GAUGES = frozenset(counter.name for counter in COUNTERS if counter.is_gauge)


def grown(now: Mapping[str, int], before: Mapping[str, int]) -> dict[str, int]:
    """All of `TOTALS`: the gauges as they are now, and what each counter has grown.

    No counter shrinks. But a policy can write into the memory of one (`cycles`).
    """
    return {
        name: now[name] if name in GAUGES else max(now[name] - before[name], 0) for name in TOTALS
    }


class Counters:
    """Reads counters from the shared memory of a loaded scheduler, in any process that maps it."""

    def __init__(self, state: Any, pid: int) -> None:
        """`state` is the state that root maps; `pid` is the process that decides."""
        self.pid = pid
        size = ffi.sizeof("struct pyland_cpu")
        self._cpus = ffi.buffer(state.cpus, size * state.nr_cpus)
        self._user = state.user
        self._shared = state.shared
        self._names = wire.numbers("pyland_cpu")
        self._cpu = struct.Struct(wire.record_format("pyland_cpu", self._names, size))
        self._stat = Path(f"/proc/{pid}/stat")
        self._faults_before = 0
        self._open_stat = -1

    def keep_open(self) -> None:
        """Open what `read` needs: a process that gives up its rights afterwards can read on."""
        with suppress(OSError):
            self._open_stat = os.open(self._stat, os.O_RDONLY | os.O_CLOEXEC)

    def start_counting_faults(self) -> None:
        """Count page faults from here on."""
        self._faults_before = self._faults()

    def counts(self) -> dict[str, int]:
        """All counters except the page faults, and `kept`: how many of `held` the policy has seen.

        This reads only memory, and all CPUs at once, because the supervisor calls it every second.
        """
        columns = zip(*self._cpu.iter_unpack(bytes(self._cpus)), strict=True)
        values = dict(zip(self._names, map(sum, columns), strict=True))
        values["running"] = max(values["nr_running"], 0)
        values["cycles"] = self._user.cycles
        values["groups"] = self._shared.groups
        answered = values["user_dispatched"] + values["late"] + values["failed"]
        values["held"] = max(values["forwarded"] - answered, 0)
        # The policy can write this number.
        values["kept"] = min(self._user.nr_held, values["held"])
        return values

    def read(self) -> dict[str, int]:
        """All counters, by name."""
        return {**self.counts(), "page_faults": self._faults() - self._faults_before}

    def _faults(self) -> int:
        try:
            # The process's name in brackets may have spaces; minflt and majflt are fields 10, 12.
            if self._open_stat >= 0:
                text = os.pread(self._open_stat, 4096, 0).decode(errors="replace")
            else:
                text = self._stat.read_text(errors="replace")
            fields = text.rpartition(")")[2].split()
        except OSError:
            return self._faults_before
        return int(fields[7]) + int(fields[9]) if len(fields) > 9 else self._faults_before
