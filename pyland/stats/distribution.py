# SPDX-License-Identifier: GPL-2.0-only
"""Histograms with logarithmic buckets: what they are of, what follows from them, how they look."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from enum import Enum
from typing import NamedTuple

NR_BUCKETS = 32
PERCENTS = (50.0, 90.0, 99.0, 99.9)
"""The percentiles that are shown with a histogram."""

_BAR = 52
_SUFFIXES = ("", "K", "M", "G")


class Measure(NamedTuple):
    """What a histogram is of."""

    name: str
    unit: str
    """`us`, and then `Distribution.total` is in nanoseconds; or `tasks`."""
    meaning: str
    metric: str
    """Its name in OpenMetrics, without the prefix."""

    @property
    def in_time(self) -> bool:
        """True for a time."""
        return self.unit == "us"

    @property
    def title(self) -> str:
        """The name with the unit, as bpftrace would print it."""
        return f"{self.name}_us" if self.in_time else f"{self.name}_length"


MEASURES = (
    Measure("wakeup", "us", "from a wakeup to the CPU", "wakeup_to_cpu_seconds"),
    Measure(
        "decision",
        "us",
        "from the question to the policy's decision",
        "question_to_decision_seconds",
    ),
    Measure("decided", "us", "from the policy's decision to the CPU", "decision_to_cpu_seconds"),
    Measure("run", "us", "on a CPU, from one switch to the next", "on_cpu_seconds"),
    Measure("queue", "tasks", "that wait in the queue which a task enters", "queue_length"),
)
"""In the order in which BPF keeps them (bpf/histograms_intf.h)."""


class By(Enum):
    """What a histogram can be kept for each of, in the order of bpf/histograms_intf.h."""

    CLASS = "class"
    CGROUP = "cgroup"
    COMM = "comm"
    QUEUE = "queue"


def bucket_limit(bucket: int) -> int:
    """The lowest number that is above all numbers of a bucket; the last bucket has no such."""
    return 1 << bucket


def bucket_start(bucket: int) -> int:
    """The lowest number of a bucket."""
    return bucket_limit(bucket - 1) if bucket else 0


class Distribution:
    """How many values each bucket has: those of 0, of 1, of [2, 4), of [4, 8) and so on."""

    __slots__ = ("buckets", "total")

    def __init__(self, total: int, buckets: Sequence[int]) -> None:
        """The numbers do not change after this."""
        self.total = total
        """The sum of all values; of times, in nanoseconds."""
        self.buckets = buckets
        """`NR_BUCKETS` of them. The last one has all values from 2**30 on."""

    @property
    def count(self) -> int:
        """How many values there are."""
        return sum(self.buckets)

    def average(self, measure: Measure) -> float:
        """In the measure's unit; 0 if there are no values."""
        return self.total / max(self.count, 1) / (1000 if measure.in_time else 1)

    def percentile(self, percent: float) -> float:
        """The value that this part of all values does not exceed; 0 if there are none.

        Within its bucket a value is taken to be as likely as any other, so the result is exact to
        the bucket: a factor of two.
        """
        count = self.count
        wanted = count * percent / 100
        below = 0
        for bucket, number in enumerate(self.buckets):
            if number and below + number >= wanted:
                start = bucket_start(bucket)
                part = max(wanted - below, 0) / number
                return start + (bucket_limit(bucket) - start) * part if bucket > 1 else start
            below += number
        return 0.0


def drawn(buckets: Sequence[int]) -> Iterator[str]:
    """The lines of a histogram, exactly as bpftrace prints its `hist()`."""
    used = [bucket for bucket, number in enumerate(buckets) if number]
    if not used:
        return
    most = max(buckets)
    for bucket in range(used[0], used[-1] + 1):
        number = buckets[bucket]
        # bpftrace divides with 32 bits; the bar may be one shorter than an exact one.
        bar = "@" * int(_single(_single(_single(number) / _single(most)) * _BAR))
        yield f"{_label(bucket):<16}{number:8d} |{bar:<{_BAR}}|"


def summary(one: Distribution, measure: Measure) -> str:
    """The percentiles, the average and the number of values, in a line."""
    told = [f"p{percent:g} {_rounded(one.percentile(percent))}" for percent in PERCENTS]
    unit = "us" if measure.in_time else "tasks"
    told.append(f"average {_rounded(one.average(measure))}")
    return f"{', '.join(told)} {unit}; {one.count} values"


def _label(bucket: int) -> str:
    """`[1]`, `[512, 1K)`: powers of 1,024 have a letter."""
    if bucket < 2:
        return f"[{bucket}]"
    return f"[{_power(bucket - 1)}, {_power(bucket)})"


def _power(exponent: int) -> str:
    return f"{1 << exponent % 10}{_SUFFIXES[exponent // 10]}"


def _single(value: float) -> float:
    """The value as a float of 32 bits."""
    return float(struct.unpack("f", struct.pack("f", value))[0])


def _rounded(value: float) -> str:
    return f"{value:.0f}" if value >= 100 else f"{value:.3g}"
