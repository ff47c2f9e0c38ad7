# SPDX-License-Identifier: GPL-2.0-only
"""Text for a grid of cells: exact widths, short numbers, bars."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass

from pyland.output.printing import escape

PLAIN, BOLD, DIM, REVERSED, GOOD, WARN, BAD = "", "bold", "dim", "reversed", "good", "warn", "bad"
"""How a piece of text looks; a terminal without colours shows the last three in bold or plain."""

_UNITS = ((1e9, "G"), (1e6, "M"), (1e4, "k"))


@dataclass(frozen=True, slots=True)
class Piece:
    """Some text of a line; all characters are printable."""

    text: str
    style: str = PLAIN


Line = tuple[Piece, ...]


def line(*parts: str | Piece) -> Line:
    """A line of texts and pieces."""
    return tuple(part if isinstance(part, Piece) else Piece(part) for part in parts)


def plain(one: Line) -> str:
    """The line's text without styles."""
    return "".join(piece.text for piece in one)


def clean(text: str, encoding: str = "utf-8") -> str:
    """A text of a task or a policy in printable characters that the encoding has."""
    shown = escape(text)
    if shown.isascii():
        return shown
    return shown.encode(encoding, errors="backslashreplace").decode(encoding)


def width(text: str) -> int:
    """How many cells of a terminal the text takes."""
    return len(text) if text.isascii() else sum(map(_cells, text))


def fit(text: str, cells: int, *, right: bool = False) -> str:
    """The text in exactly so many cells: padded, or cut with a + at its end."""
    taken = width(text)
    if taken <= cells:
        pad = " " * (cells - taken)
        return pad + text if right else text + pad
    if cells <= 0:
        return ""
    kept = cut(text, cells - 1)
    return kept + "+" + " " * (cells - 1 - width(kept))


def cut(text: str, cells: int) -> str:
    """The longest beginning of the text that takes at most so many cells."""
    if text.isascii():
        return text[: max(cells, 0)]
    taken = 0
    for index, char in enumerate(text):
        taken += _cells(char)
        if taken > cells:
            return text[:index]
    return text


def cut_line(one: Line, cells: int) -> Line:
    """The longest beginning of the line that takes at most so many cells."""
    found = []
    for piece in one:
        text = cut(piece.text, cells)
        if text:
            found.append(Piece(text, piece.style))
        cells -= width(piece.text)
        if cells <= 0:
            break
    return tuple(found)


def number(value: float) -> str:
    """At most five characters up to 9999 G, such as `0.3`, `42`, `12.3k`."""
    for unit, letter in _UNITS:
        if abs(value) >= unit:
            scaled = value / (1e3 if letter == "k" else unit)
            return f"{scaled:.1f}{letter}" if abs(scaled) < 100 else f"{scaled:.0f}{letter}"
    if value != int(value) and abs(value) < 9.95:
        return f"{value:.1f}"
    return f"{value:.0f}"


def duration(value_ns: float) -> str:
    """At most six characters, with the unit: `0`, `850ns`, `12us`, `3.2ms`, `1.5s`, `120s`."""
    if value_ns < 1:
        return "0"
    for unit_ns, name in ((1e9, "s"), (1e6, "ms"), (1e3, "us")):
        if value_ns >= unit_ns * 0.9995:
            scaled = value_ns / unit_ns
            return f"{scaled:.1f}{name}" if scaled < 9.95 else f"{scaled:.0f}{name}"
    return f"{value_ns:.0f}ns"


def memory(nr_bytes: float) -> str:
    """Such as `512M` or `1.9G`, in powers of 1024."""
    scaled = nr_bytes / (1 << 20)
    for unit in "MGT":
        if scaled < 1000 or unit == "T":
            break
        scaled /= 1024
    return f"{scaled:.1f}{unit}" if scaled < 9.95 else f"{scaled:.0f}{unit}"


def percent(share: float) -> str:
    """At most four characters, such as `7%` or `100%`."""
    return f"{min(share * 100, 999):.0f}%"


def bar(share: float, cells: int) -> str:
    """A bar of exactly so many cells; any share above nothing shows."""
    share = min(max(share, 0.0), 1.0)
    filled = min(cells, max(round(share * cells), 1 if share >= 0.005 else 0))
    return "|" * filled + " " * (cells - filled)


def _cells(char: str) -> int:
    if unicodedata.combining(char) or unicodedata.category(char) in ("Mn", "Me"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1
