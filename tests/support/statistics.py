# SPDX-License-Identifier: GPL-2.0-only
"""Counters in memory that a test writes, and the process that serves them."""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Iterable, Iterator, Mapping
from contextlib import closing, contextmanager
from mmap import mmap
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from pyland._native import ffi
from pyland.stats import numbers
from pyland.stats.counters import Counters
from pyland.stats.distribution import MEASURES, By, bucket_start
from pyland.stats.histograms import Histograms
from pyland.stats.listening import Listening
from pyland.stats.numbers import PolicyNumbers
from pyland.stats.places import Places
from pyland.stats.process import StatisticsProcess
from pyland.stats.snapshot import Source

if TYPE_CHECKING:
    from prometheus_client.metrics_core import Metric

NR_CPUS = 2
NR_SLOTS = 129
"""Slots of each kind of keys; the last is for all keys without one."""


class Kernel:
    """The memory that BPF and a policy would write, shared with forked processes."""

    def __init__(self) -> None:
        structs = "pyland_user", "pyland_shared", "pyland_watch"
        sizes = [ffi.sizeof("struct pyland_cpu") * NR_CPUS]
        sizes += [ffi.sizeof(f"struct {name}") for name in structs]
        sizes += [ffi.sizeof("struct pyland_cpu_histograms") * NR_CPUS]
        sizes += [ffi.sizeof("struct pyland_slot") * NR_SLOTS * len(By)]
        self._memory = [mmap(-1, size) for size in sizes]
        cpus, user, shared, watch, histograms, slots = map(ffi.from_buffer, self._memory)
        self._kept = cpus, user, shared, watch, histograms, slots
        self.cpus = ffi.cast("struct pyland_cpu *", cpus)
        self.user = ffi.cast("struct pyland_user *", user)
        self._state = ffi.new("struct pyland_state *")
        self._state.cpus, self._state.user, self._state.nr_cpus = self.cpus, self.user, NR_CPUS
        self.shared = self._state.shared = ffi.cast("struct pyland_shared *", shared)
        self.watch = self._state.watch = ffi.cast("struct pyland_watch *", watch)
        self.histograms = ffi.cast("struct pyland_cpu_histograms *", histograms)
        self.slots = ffi.cast("struct pyland_slot *", slots)
        self._state.histograms, self._state.slots = self.histograms, self.slots
        self._state.nr_slots = NR_SLOTS * len(By)
        self.own_memory = mmap(-1, numbers.SIZE)
        self.own = PolicyNumbers(self.own_memory)

    def add(self, **counts: int) -> None:
        """Add to counters, in equal parts as far as possible on each CPU."""
        for name, value in counts.items():
            for cpu in range(NR_CPUS):
                part = value // NR_CPUS + (value % NR_CPUS if cpu == 0 else 0)
                setattr(self.cpus[cpu], name, getattr(self.cpus[cpu], name) + part)

    def keep(self, measure: str, bucket: int, times: int = 1, *, cpu: int = 0) -> None:
        """Add values to the histogram of all tasks, each the lowest of its bucket."""
        (number,) = (at for at, one in enumerate(MEASURES) if one.name == measure)
        _add(self.histograms[cpu].each[number], number, bucket, times)

    def keep_of(
        self, by: By, key: int | bytes, measure: str, bucket: int, times: int = 1, *, slot: int = 0
    ) -> None:
        """Add values to the histogram of a key, in this slot of its kind; 128 is for the others."""
        (number,) = (at for at, one in enumerate(MEASURES) if one.name == measure)
        kind = list(By).index(by)
        found = self.slots[kind * NR_SLOTS + slot]
        name = key if isinstance(key, bytes) else key.to_bytes(8, sys.byteorder)
        if slot < NR_SLOTS - 1:
            found.key = 1 << 32 | self.watch.epochs[kind]
            ffi.buffer(found.name)[:] = name.ljust(16, b"\0")
        _add(found.each[number], number, bucket, times)

    def source(self, policy: str = "deadline", *, histograms: bool = False) -> Source:
        """What a server reads; with `histograms` they are always kept."""
        kept = Histograms(self._state, always=histograms)
        if histograms:
            kept.begin()
        return Source(Counters(self._state, os.getpid()), self.own_memory, policy, NR_CPUS, kept)


def _add(histogram: Any, number: int, bucket: int, times: int) -> None:
    histogram.buckets[bucket] += times
    histogram.sum += bucket_start(bucket) * times * (1000 if MEASURES[number].in_time else 1)


@contextmanager
def serving(
    kernel: Kernel, path: Path | str = "none", metrics: str = "", *, histograms: bool = False
) -> Iterator[StatisticsProcess]:
    """A process that serves these counters; with `histograms` also those, all the time."""
    listening = Listening.at(Places(str(path), metrics=metrics))
    process = StatisticsProcess(listening, kernel.source(histograms=histograms), ffi.NULL)
    process.start()
    try:
        yield process
    finally:
        process.close()
        listening.close()


class Talker:
    """A client of scx_stats that can send anything."""

    def __init__(self, path: Path, timeout_s: float = 20) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.socket.settimeout(timeout_s)
        self.socket.connect(str(path))
        self._lines = self.socket.makefile("rb")

    def send(self, data: bytes) -> dict[str, Any]:
        """Send a line, and return the next answer."""
        self.socket.sendall(data + b"\n")
        return self.answer()

    def answer(self) -> dict[str, Any]:
        """The next answer; empty if the connection has ended."""
        line = self._lines.readline()
        found = json.loads(line) if line else {}
        assert isinstance(found, dict)
        return found

    def ask(self, request: str, **args: str) -> Any:
        """The value of an answer without an error."""
        found = self.send(json.dumps({"req": request, "args": args}).encode())
        assert found["errno"] == 0, found
        assert found.keys() == {"errno", "args"}
        return found["args"]["resp"]

    def close(self) -> None:
        self._lines.close()
        self.socket.close()


def asked(path: Path, timeout_s: float = 20) -> dict[str, Any]:
    """The statistics, for a client that asks once."""
    with closing(Talker(path, timeout_s)) as client:
        found = client.ask("stats")
        assert isinstance(found, dict)
        return found


def parsed_metrics(text: str) -> list[Metric]:
    """The metrics as prometheus_client reads them; raises ValueError where it finds a mistake."""
    # Importing it takes a second of the lab, and most tests that import this module do not parse.
    from prometheus_client.openmetrics.parser import text_string_to_metric_families

    families: Iterable[Metric] = text_string_to_metric_families(text)  # type: ignore[no-untyped-call]
    return list(families)


def as_rustland(found: Mapping[str, Any]) -> Mapping[str, int]:
    """The struct as serde reads it for scx_rustland's --monitor: eleven u64, others ignored."""
    names = (
        *("nr_cpus", "nr_running", "nr_queued", "nr_scheduled", "nr_page_faults"),
        *("nr_user_dispatches", "nr_kernel_dispatches", "nr_cancel_dispatches"),
        *("nr_bounce_dispatches", "nr_failed_dispatches", "nr_sched_congested"),
    )
    for name in names:
        assert type(found[name]) is int
        assert 0 <= found[name] < 1 << 64
    return {name: found[name] for name in names}


def server_of(pid: int) -> psutil.Process:
    """The process that serves statistics: the child of pyland with a user of its own."""
    (found,) = (one for one in psutil.Process(pid).children() if one.uids().real == 65533)
    return found
