# SPDX-License-Identifier: GPL-2.0-only
"""The size of a screen, and the parts that several pages have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pyland.top.seen import Seen
from pyland.top.statistics import Statistics
from pyland.top.text import (
    BOLD,
    DIM,
    WARN,
    Line,
    Piece,
    clean,
    cut,
    duration,
    line,
    number,
    percent,
    width,
)

_TITLE = 10


@dataclass(frozen=True, slots=True)
class Screen:
    """Room for text: columns and rows, and the encoding of the terminal."""

    columns: int
    rows: int
    encoding: str = "utf-8"


def summary(seen: Seen, screen: Screen) -> list[Line]:
    """The lines about decisions, latency and the policy's own numbers."""
    found = seen.statistics
    if found is None:
        why = clean(seen.trouble or "connecting", screen.encoding)
        return [line(Piece(cut(f"no statistics: {why}", screen.columns), WARN))]
    lines = [_decisions(found), _latency(seen, found, screen)]
    if found.policy_gauges or found.policy_counts:
        words = own_numbers(found, screen.encoding)
        lines.append(line(_title("policy"), ", ".join(_as_many(words, screen.columns - _TITLE))))
    return lines


def _title(text: str) -> Piece:
    return Piece(f"{text:{_TITLE}}", DIM)


def _decisions(found: Statistics) -> Line:
    ways = found.decisions()
    total = sum(ways.values())
    parts: list[str | Piece] = [_title("decisions"), Piece(f"{number(total)}/s", BOLD)]
    for name, value in ways.items():
        share = value / total if total else 0.0
        text = f"  {name} {percent(share)}"
        parts.append(Piece(text, WARN) if name == "fallback" and share >= 0.1 else text)
    parts.append(f"  held {found.growth['held']}")
    if late := found.per_s("late"):
        parts.append(f"  late {number(late)}/s")
    return line(*parts)


def _latency(seen: Seen, found: Statistics, screen: Screen) -> Line:
    wait_ns = seen.machine.mean_wait_ns
    parts = [f"wait for a CPU {'-' if wait_ns is None else duration(wait_ns)}"]
    parts += [f"{name} {duration(mean_ns)}" for name, mean_ns in found.latencies().items()]
    while len(parts) > 1 and width("  ".join(parts)) > screen.columns - _TITLE:
        parts.pop()
    return line(_title("latency"), "  ".join(parts))


def own_numbers(found: Statistics, encoding: str) -> list[str]:
    """The policy's gauges as they are and its counters by their growth in a second, as texts."""
    gauges = _texts(found.policy_gauges, encoding)
    counts = {name: value / found.interval_s for name, value in found.policy_counts.items()}
    return [*gauges, *(f"{text}/s" for text in _texts(counts, encoding))]


def _texts(values: Mapping[str, float], encoding: str) -> list[str]:
    return [f"{clean(name, encoding)} {value:.4g}" for name, value in values.items()]


def _as_many(words: Sequence[str], cells: int) -> list[str]:
    """As many of the words as fit, with a remark about the others."""
    taken = 0
    for index, word in enumerate(words):
        taken += width(word) + 2
        if taken > cells - 10 and index < len(words) - 1:
            return [*words[:index], f"{len(words) - index} more"]
    return list(words)
