# SPDX-License-Identifier: GPL-2.0-only
"""The options of `pyland trace`, checked."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from pyland.errors import UsageError
from pyland.stats.places import DEFAULT_PATH

EVENT_BYTES = 32
"""Bytes of an event in a ring: a wakeup and a switch take one each, a decision takes two."""

RING_BYTES = 16 << 20
"""Memory of all rings together, unless the user says otherwise."""

_LEAST_EVENTS = 1024
_MOST_BYTES = 4 << 30
_UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
_NS = {"us": 1_000, "ms": 1_000_000, "s": 1_000_000_000}
_SHARES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999, "max": 1.0}


@dataclass(frozen=True, slots=True)
class When:
    """A condition: a latency of wakeups in the last second is above a limit."""

    text: str
    share: float
    """The share of wakeups that are no longer: 0.99 for the p99, 1 for the longest."""
    limit_ns: int

    @classmethod
    def parse(cls, text: str) -> Self:
        """The condition in `p99>5ms`; raises UsageError."""
        found = re.fullmatch(r"(p50|p90|p99|p99\.9|max)>(\d{1,9}(?:\.\d{1,9})?)(us|ms|s)", text)
        limit_ns = round(float(found[2]) * _NS[found[3]]) if found else 0
        if found is None or not 0 < limit_ns <= 3600 * _NS["s"]:
            raise UsageError(
                f"--when {text}: it takes p50, p90, p99, p99.9 or max, > and a time up to 3600s, "
                "such as p99>5ms (quote it: the shell takes > for itself)"
            )
        return cls(text, _SHARES[found[1]], limit_ns)


@dataclass(frozen=True, slots=True)
class Options:
    """What to trace, and where to; the constructor raises UsageError for what cannot be."""

    file: str
    seconds: float | None = None
    """How long; None: until the user ends it. With `when`, from then on."""
    ring_bytes: int = RING_BYTES
    when: When | None = None
    stats_path: Path = DEFAULT_PATH
    """Where pyland serves statistics: the policy's own numbers and notes come from there."""

    def __post_init__(self) -> None:
        if not self.file:
            raise UsageError("-o: it takes the name of a file, such as pyland.pftrace")
        if self.seconds is not None and not 0.1 <= self.seconds <= 86400:
            raise UsageError(f"--seconds {self.seconds:g}: it takes 0.1 to 86400 seconds")

    def slots(self, nr_cpus: int) -> int:
        """How many events the ring of each CPU has room for, a power of two.

        Raises UsageError if the rings are too small for that many CPUs.
        """
        events = self.ring_bytes // EVENT_BYTES // nr_cpus
        if events < _LEAST_EVENTS:
            least = _LEAST_EVENTS * EVENT_BYTES * nr_cpus
            raise UsageError(
                f"--ring: {self.ring_bytes >> 10}K is too little for {nr_cpus} CPUs: it takes "
                f"{least >> 10}K or more"
            )
        return 1 << events.bit_length() - 1


def parse_size(text: str) -> int:
    """The bytes of a size such as `512K` or `16M`; raises UsageError."""
    number, unit = text[:-1], text[-1:].upper()
    if not (number.isascii() and number.isdecimal() and unit in _UNITS and len(number) < 10):
        raise UsageError(f"--ring {text}: it takes a size such as 512K, 16M or 1G")
    size = int(number) * _UNITS[unit]
    if not 0 < size <= _MOST_BYTES:
        raise UsageError(f"--ring {text}: it takes 1K to {_MOST_BYTES >> 30}G")
    return size
