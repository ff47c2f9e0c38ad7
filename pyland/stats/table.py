# SPDX-License-Identifier: GPL-2.0-only
"""The table of `--stats` and `pyland monitor`: a row for each interval."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pyland.output.printing import escape

_HEADER_EVERY = 20
"""Rows between two headers."""
_NOTES_SHOWN = 8
COLUMNS = (
    ("run", "running"),
    ("held", "held"),
    ("direct", "direct"),
    ("forward", "forwarded"),
    ("python", "user_dispatched"),
    ("full", "fallback_full"),
    ("lag", "fallback_lag"),
    ("idle", "fallback_idle"),
    ("late", "late"),
    ("bounce", "bounced"),
    ("fail", "failed"),
    ("faults", "page_faults"),
)
"""Title and counter of each column; after them comes the average delay of a decision."""


class Table:
    """Makes the lines; it prints none."""

    def __init__(self) -> None:
        """The first row has a header."""
        self._row = 0

    def lines(self, values: Mapping[str, int]) -> list[str]:
        """The row of an interval, with a header if it is due.

        `values` has each counter's growth in the interval, each gauge's value at its end.
        """
        lines = []
        if self._row % _HEADER_EVERY == 0:
            lines.append(" ".join(f"{title:>8}" for title, _ in COLUMNS) + " delay_us")
        self._row += 1
        delay_us = values["delay_ns"] / max(values["user_dispatched"], 1) / 1000
        row = " ".join(f"{values[name]:8d}" for _, name in COLUMNS)
        return [*lines, f"{row} {delay_us:8.1f}"]


def policy_line(gauges: Mapping[str, float], counts: Mapping[str, int]) -> str:
    """The policy's own numbers in one line: gauges as they are, counters by their growth."""
    told = [f"{name} {value:g}" for name, value in gauges.items()]
    told += [f"{name} +{value}" for name, value in counts.items()]
    return escape(f"  policy: {', '.join(told) or 'no numbers of its own'}")


def notes_line(notes: Sequence[tuple[int, str]]) -> str:
    """The newest notes about tasks in one line; each is the task's number and a text."""
    told = [f"{pid} {text!r}" for pid, text in reversed(notes)]
    more = f", and {len(told) - _NOTES_SHOWN} more" if len(told) > _NOTES_SHOWN else ""
    return escape(f"  noted: {', '.join(told[:_NOTES_SHOWN])}{more}")
