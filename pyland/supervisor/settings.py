# SPDX-License-Identifier: GPL-2.0-only
"""The options of a run, checked."""

from typing import Any, NamedTuple, Self

from pyland.errors import UsageError
from pyland.machine import Slices
from pyland.stats.places import Places


class _Given(NamedTuple):
    slice_us: int = 20_000
    slice_us_min: int = 1_000
    # Measured with eight hogs and a sleeper on two emulated CPUs. Python decided 95.2 % of the
    # forwarded tasks at a limit of 2 ms, 97.6 % at 5 ms, 99.8 % at 10 ms, and all at 20 ms. The
    # sleeper's p99 was 13 ms at the limit of 2 ms, and 9 to 10 ms at the others. With a higher
    # limit, tasks wait longer for a Python that has stopped. So this is the lowest limit that a
    # working Python does not reach.
    lag_us: int = 20_000
    numa_local: bool = False
    partial: bool = False
    cgroup_weights: bool = True
    exit_dump_len: int = 0
    stats_s: float = 0
    policy_numbers: bool = False
    histograms: bool = False
    strict: bool = False
    verbose: bool = False
    user: str = ""
    allow_processes: bool = False
    places: Places = Places()


class Settings(_Given):
    """The options of one run; the constructor raises UsageError if one is out of its range."""

    __slots__ = ()

    def __new__(cls, *values: Any, **named: Any) -> Self:
        """Each field by its place or its name."""
        self = super().__new__(cls, *values, **named)
        self._check()
        return self

    def _check(self) -> None:
        _within("--slice-us", self.slice_us, 100, 1_000_000)
        _within("--slice-us-min", self.slice_us_min, 100, 1_000_000)
        _within("--lag-us", self.lag_us, 1_000, 1_000_000)
        _within("--exit-dump-len", self.exit_dump_len, 0, 16 << 20)
        if self.slice_us_min > self.slice_us:
            raise UsageError(
                f"--slice-us-min {self.slice_us_min} is longer than --slice-us {self.slice_us}: "
                "the shortest slice must not exceed the longest"
            )
        if self.histograms and not self.places.metrics:
            raise UsageError(
                "--histograms: it takes --metrics, which shows them; `pyland latency` needs neither"
            )
        if not (self.stats_s == 0 or 0.1 <= self.stats_s <= 3600):
            raise UsageError(f"--stats {self.stats_s:g}: it takes 0.1 to 3600 seconds")

    @property
    def slices(self) -> Slices:
        """The slices in nanoseconds."""
        return Slices(longest_ns=self.slice_us * 1000, shortest_ns=self.slice_us_min * 1000)


def _within(option: str, value: int, lowest: int, highest: int) -> None:
    if not lowest <= value <= highest:
        raise UsageError(f"{option} {value}: it takes {lowest} to {highest}")
