# SPDX-License-Identifier: GPL-2.0-only
"""Real programs that measure schedulers, and the figures of each."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from bench import mariadb, runs
from bench.runs import CPUS, Run


@dataclass(frozen=True)
class Metric:
    """A figure of a workload; its name ends in its unit, unless it is a plain number."""

    name: str
    better: Literal["lower", "higher"]
    about: str


@dataclass(frozen=True)
class Workload:
    """A load that measures itself.

    `run` takes its approximate duration in seconds, and a folder for the programs' outputs. It
    returns each metric by name; the message of a RuntimeError is one line.
    """

    name: str
    about: str
    metrics: tuple[Metric, ...]
    """The first metric stands for the workload in plots and summaries."""
    contended: bool
    """True if there are more runnable tasks than CPUs."""
    needs: tuple[str, ...]
    """Commands that must be on PATH."""
    run: Run

    def missing(self) -> str:
        """Why the workload cannot run here, in a few words; empty if it can."""
        missing = [name for name in self.needs if shutil.which(name) is None]
        return f"no {', '.join(missing)} on PATH" if missing else ""


_SCHBENCH = (
    Metric("wakeup_p99_us", "lower", "wakeup latency, 99th percentile"),
    Metric("wakeup_p50_us", "lower", "wakeup latency, median"),
    Metric("request_p99_us", "lower", "time of a request, 99th percentile"),
    Metric("requests_per_s", "higher", "requests"),
)
_SYSBENCH = (
    Metric("events_per_s", "higher", "events of all threads"),
    Metric("latency_p99_ms", "lower", "time of an event, 99th percentile"),
)


def _stress(name: str, about: str, run: Run, *, contended: bool = True) -> Workload:
    metric = Metric("ops_per_s", "higher", "operations of all instances")
    return Workload(name, about, (metric,), contended, needs=("stress-ng",), run=run)


WORKLOADS: tuple[Workload, ...] = (
    Workload(
        "schbench",
        "a server that hands requests to a thread for each CPU",
        _SCHBENCH,
        contended=False,
        needs=("schbench",),
        run=runs.schbench(CPUS),
    ),
    Workload(
        "schbench-full",
        "a server with more requests than its CPUs can take: four threads for each",
        _SCHBENCH,
        contended=True,
        needs=("schbench",),
        run=runs.schbench(4 * CPUS),
    ),
    Workload(
        "sleeper",
        "an interactive task among four CPU hogs for each CPU",
        (
            Metric("p99_us", "lower", "wakeup latency, 99th percentile"),
            Metric("p50_us", "lower", "wakeup latency, median"),
            Metric("max_us", "lower", "wakeup latency, longest"),
        ),
        contended=True,
        needs=("gcc",),
        run=runs.sleeper,
    ),
    Workload(
        "cyclictest",
        "a timer thread for each CPU, of the normal class, among two CPU hogs for each",
        (
            Metric("p99_us", "lower", "timer latency, 99th percentile"),
            Metric("avg_us", "lower", "timer latency, mean"),
            Metric("max_us", "lower", "timer latency, longest"),
        ),
        contended=True,
        needs=("cyclictest", "gcc"),
        run=runs.cyclictest,
    ),
    Workload(
        "game",
        "a game at 60 frames a second while the CPUs compile",
        (
            Metric("low1_fps", "higher", "frames a second in the slowest 1 % of the frames"),
            Metric("fps", "higher", "frames a second, mean"),
            Metric("late", "lower", "frames that missed their refresh of the screen"),
            Metric("frame_p99_ms", "lower", "time between frames, 99th percentile"),
            Metric("done_p99_ms", "lower", "time from a frame's begin to its end, 99th percentile"),
            Metric("helper_p99_us", "lower", "wakeup latency of its helpers, 99th percentile"),
        ),
        contended=True,
        needs=("gcc", "make"),
        run=runs.game,
    ),
    Workload(
        "compile",
        "a build with two jobs for each CPU",
        (Metric("time_s", "lower", "time of a fixed number of compilations"),),
        contended=True,
        needs=("gcc", "make"),
        run=runs.compilation,
    ),
    Workload(
        "hackbench",
        "crowds of processes that send each other messages",
        (Metric("time_s", "lower", "time of a fixed number of messages"),),
        contended=True,
        needs=("hackbench",),
        run=runs.hackbench,
    ),
    Workload(
        "oltp",
        "a database, with two clients for each CPU",
        (
            Metric("transactions_per_s", "higher", "transactions of all clients"),
            Metric("latency_p99_ms", "lower", "time of a transaction, 99th percentile"),
        ),
        contended=True,
        needs=("sysbench", "mariadbd"),
        run=runs.oltp,
    ),
    Workload(
        "sysbench-cpu",
        "independent computations, four threads for each CPU",
        _SYSBENCH,
        contended=True,
        needs=("sysbench",),
        run=runs.sysbench("cpu", "--cpu-max-prime=10000"),
    ),
    Workload(
        "sysbench-threads",
        "four threads for each CPU that take turns with a few locks and yield",
        _SYSBENCH,
        contended=True,
        needs=("sysbench",),
        run=runs.sysbench("threads", "--thread-yields=100"),
    ),
    _stress(
        "cpu-spare",
        "computation on half of the CPUs",
        runs.stress("cpu", max(1, CPUS // 2), "--cpu-method int64"),
        contended=False,
    ),
    _stress(
        "cpu",
        "computation, four processes for each CPU",
        runs.stress("cpu", 4 * CPUS, "--cpu-method int64"),
    ),
    _stress(
        "switch",
        "pairs of processes that wake each other, two for each CPU",
        runs.stress("switch", 2 * CPUS),
    ),
    _stress(
        "pipe",
        "pairs of processes with a pipe between them, two for each CPU",
        runs.stress("pipe", 2 * CPUS),
    ),
    _stress(
        "futex",
        "pairs of processes that wait for each other's futex, two for each CPU",
        runs.stress("futex", 2 * CPUS),
    ),
)


@contextlib.contextmanager
def services(workloads: Sequence[Workload]) -> Iterator[None]:
    """Runs the servers that the workloads need during the block."""
    if any("mariadbd" in workload.needs for workload in workloads):
        with mariadb.Server():
            yield
    else:
        yield
