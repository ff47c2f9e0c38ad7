# SPDX-License-Identifier: GPL-2.0-only
"""How the report writes numbers and tables."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

from bench.figures import Spread

NONE = "-"
"""Stands for a figure that was not measured."""


def number(value: float | None) -> str:
    """The number with three significant digits, and without a fraction from 100 on."""
    if value is None:
        return NONE
    digits = 0 if abs(value) >= 100 or value == 0 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}" if digits < 2 or abs(value) >= 1 else f"{value:#.3g}"


def mid(spread: Spread | None) -> str:
    """The median."""
    return number(spread.median if spread else None)


def factor(spread: Spread | None) -> str:
    """A ratio with its least and greatest value; three digits, as some targets are 0.98."""
    return f"{spread.median:.3f} ({spread.low:.3f} to {spread.high:.3f})" if spread else NONE


def count(value: int) -> str:
    """The number with all digits; for 0, which stands for an unknown number, `NONE`."""
    return f"{value:,}" if value else NONE


def span(spread: Spread | None) -> str:
    """The least and the greatest value."""
    return f"{number(spread.low)} to {number(spread.high)}" if spread else NONE


def table(titles: Sequence[str], rows: Iterable[Sequence[object]], left: int = 1) -> str:
    """A Markdown table; the first `left` columns are text, the others numbers."""
    marks = ["---" if column < left else "--:" for column in range(len(titles))]
    cells = [[re.sub(r"\s+", " ", str(cell)).replace("|", "\\|") for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(row)} |" for row in [[*titles], marks, *cells])
