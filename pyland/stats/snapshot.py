# SPDX-License-Identifier: GPL-2.0-only
"""All numbers of one moment, and where a process that serves them gets them from."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from mmap import mmap

from pyland.stats import numbers
from pyland.stats.counters import Counters
from pyland.stats.numbers import Numbers

_FRESH_S = 0.01
"""Seconds for which one reading serves all clients: a thousand of them read no more than one."""


@dataclass(frozen=True, slots=True)
class Snapshot:
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


class Source:
    """Reads the numbers of a run from memory that it shares with BPF and the policy."""

    def __init__(self, counters: Counters, own: mmap, policy: str, nr_cpus: int) -> None:
        """`own` is the memory of the policy's own numbers."""
        self.counters = counters
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
            self._latest = Snapshot(counts, own, self.policy, self._nr_cpus, self.counters.pid)
            self._read_s = now_s
        return self._latest
