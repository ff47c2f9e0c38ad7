# SPDX-License-Identifier: GPL-2.0-only
"""The second page: all counters with their meaning, and the policy's own numbers."""

from __future__ import annotations

from pyland.stats.counters import COUNTERS
from pyland.top.keys import Choices
from pyland.top.screen import Screen, own_numbers, summary
from pyland.top.seen import Seen
from pyland.top.text import BOLD, DIM, Line, Piece, duration, fit, line, number


def lines(seen: Seen, choices: Choices, screen: Screen) -> list[Line]:
    """The page; all but the summary can be scrolled."""
    top = summary(seen, screen)
    found = seen.statistics
    if found is None:
        return top
    rows: list[Line] = [line(Piece("Of the policy", BOLD))]
    rows += [line(f"  {text}") for text in own_numbers(found, screen.encoding)] or [
        line(Piece("  it has no numbers of its own", DIM))
    ]
    rows += [line(Piece("Of pyland, per second; gauges as they are", BOLD))]
    for one in COUNTERS:
        if one.is_gauge:
            value = str(found.growth[one.name])
        elif one.unit == "ns":  # nanoseconds of a second
            value = duration(found.per_s(one.name))
        else:
            value = number(found.per_s(one.name))
        meaning = one.meaning if one.unit == "ns" else f"{one.unit} {one.meaning}"
        rows.append(line(f"  {fit(one.name, 16)}{value:>8}  ", Piece(meaning, DIM)))
    room = screen.rows - len(top)
    first = min(choices.scrolled, max(len(rows) - room, 0))
    return [*top, *rows[first : first + room]]
