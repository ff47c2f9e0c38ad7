# SPDX-License-Identifier: GPL-2.0-only
"""Figures by name from the outputs of measuring programs; RuntimeError if one is missing."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping

_NUMBER = r"(\d+(?:\.\d+)?)"


def _last(pattern: str, text: str, what: str) -> str:
    """The text of the pattern's group in its last match; `what` names it in an error."""
    found: list[str] = re.findall(pattern, text, re.MULTILINE)
    if not found:
        raise RuntimeError(f"no {what} in the output")
    return found[-1]


def schbench(text: str) -> dict[str, float]:
    """Figures of schbench's last report: wakeup latencies, request latencies, and their rate."""
    tables: dict[str, dict[str, float]] = {}
    table: dict[str, float] = {}
    for line in text.splitlines():
        if title := re.match(r"(Wakeup|Request|RPS) .*percentiles", line):
            table = tables[title[1]] = {}
        elif row := re.match(rf"\s+\*?\s*{_NUMBER}th: (\d+)", line):
            table[row[1]] = float(row[2])
    try:
        return {
            "wakeup_p99_us": tables["Wakeup"]["99.0"],
            "wakeup_p50_us": tables["Wakeup"]["50.0"],
            "request_p99_us": tables["Request"]["99.0"],
            "requests_per_s": float(_last(rf"^average rps: {_NUMBER}", text, "average rps")),
        }
    except KeyError as error:
        raise RuntimeError(f"no {error.args[0]} latencies in the output") from None


def hackbench(text: str) -> dict[str, float]:
    """Seconds until all messages had arrived."""
    return {"time_s": float(_last(rf"^Time: {_NUMBER}", text, "time"))}


def stress(text: str, stressor: str) -> dict[str, float]:
    """The rate of one stressor's operations in real time, all its instances together."""
    row = rf"metrc: \[\d+\] {stressor}\s+\d+\s+[\d.]+\s+[\d.]+\s+[\d.]+\s+{_NUMBER}"
    return {"ops_per_s": float(_last(row, text, f"rate of {stressor}"))}


def cyclictest(text: str) -> dict[str, float]:
    """The figures in cyclictest's JSON: latencies of all threads together, in microseconds.

    A latency beyond its histogram counts as the longest.
    """
    try:
        threads = json.loads(text)["thread"].values()
    except (KeyError, ValueError):
        raise RuntimeError("no threads in cyclictest's JSON") from None
    wakeups = sum(thread["cycles"] for thread in threads)
    if not wakeups:
        raise RuntimeError("cyclictest never woke up")
    counts: Counter[int] = Counter()
    for thread in threads:
        counts.update({int(us): number for us, number in thread["histogram"].items()})
    longest = max(thread["max"] for thread in threads)
    return {
        "p99_us": percentile(counts, 99, wakeups, longest),
        "avg_us": sum(thread["avg"] * thread["cycles"] for thread in threads) / wakeups,
        "max_us": longest,
    }


def percentile(counts: Mapping[int, int], percent: float, total: int, beyond: float) -> float:
    """The smallest value that this percentage of the total does not exceed; else `beyond`."""
    seen = 0
    for value in sorted(counts):
        seen += counts[value]
        if seen * 100 >= total * percent:
            return value
    return beyond


def sysbench(text: str) -> dict[str, float]:
    """Events per second, which with oltp are transactions, and their latency.

    The latency is a bucket of sysbench's histogram, up to 1.8 % too high; it needs
    `--percentile=99`.
    """
    events = float(_last(rf"^\s+total number of events:\s+{_NUMBER}", text, "number of events"))
    seconds = float(_last(rf"^\s+total time:\s+{_NUMBER}s", text, "total time"))
    p99_ms = float(_last(rf"^\s+99th percentile:\s+{_NUMBER}", text, "99th percentile"))
    return {"events_per_s": events / seconds, "latency_p99_ms": p99_ms}
