# SPDX-License-Identifier: GPL-2.0-only
"""All numbers of one moment, and where a process that serves them gets them from."""

from __future__ import annotations

import time
from collections.abc import Mapping
from mmap import mmap
from types import MappingProxyType
from typing import NamedTuple

from pyland.stats import numbers
from pyland.stats.counters import Counters
from pyland.stats.distribution import By
from pyland.stats.histograms import Histograms, Kept, shown_key
from pyland.stats.notes import Note
from pyland.stats.numbers import Numbers

_FRESH_S = 0.01
"""Seconds for which one reading serves all clients, so many clients cost no more readings."""


class Snapshot(NamedTuple):
    """The numbers of one moment."""

    counts: Mapping[str, int]
    """All of `TOTALS`, and `kept`."""
    own: Numbers
    """The policy's own."""
    policy: str
    """The policy's name, escaped."""
    nr_cpus: int
    worker_pid: int
    """The process that decides."""
    nr_notes: int
    """How many notes about tasks the policy has written."""
    by_class: Mapping[str, Kept] = MappingProxyType({})
    """The histograms by the class's name, from the start on; empty unless they are always kept."""


class Source:
    """Reads the numbers of a run from memory that it shares with BPF and the policy."""

    def __init__(
        self, counters: Counters, own: mmap, policy: str, nr_cpus: int, histograms: Histograms
    ) -> None:
        """`own` is the memory of the policy's own numbers."""
        self.counters = counters
        self.histograms = histograms
        self.policy = policy
        """The policy's name, escaped; set it when another policy takes over."""
        self._own = own
        self._nr_cpus = nr_cpus
        self._latest: Snapshot | None = None
        self._read_s = 0.0

    def snapshot(self) -> Snapshot:
        """The numbers, at most `_FRESH_S` old."""
        now_s = time.monotonic()
        if self._latest is None or now_s - self._read_s > _FRESH_S:
            counts = self.counters.read()
            own = numbers.read(self._own)
            by_class = self._by_class(own) if self.histograms.always else {}
            self._latest = Snapshot(
                counts,
                own,
                self.policy,
                self._nr_cpus,
                self.counters.pid,
                numbers.nr_notes(self._own),
                by_class,
            )
            self._read_s = now_s
        return self._latest

    def notes(self, after: int = 0) -> list[Note]:
        """The policy's notes about tasks with a number above `after`."""
        return numbers.read_notes(self._own, after)

    def class_names(self) -> Mapping[int, str]:
        """The policy's names of its classes."""
        return numbers.read(self._own).classes

    def _by_class(self, own: Numbers) -> dict[str, Kept]:
        reading = self.histograms.read(By.CLASS)
        return {
            shown_key(By.CLASS, key, own.classes): kept
            for key, kept in self.histograms.keys(By.CLASS, reading)
        }
