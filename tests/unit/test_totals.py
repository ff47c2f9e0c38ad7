# SPDX-License-Identifier: GPL-2.0-only
"""The kernel tests parse pyland's output, so the parser is tested too."""

from __future__ import annotations

import pytest

from tools.load.scheduler import TOTALS, NoTotalsError, parse_rows, parse_totals

HEADER = "     run     held  forward   python delay_us\n"
ROWS = (
    "       2        6      100       98     41.5\n       2        5      100      101     12.0\n"
)
END = "pyland: ended: stopped by a signal\n"


def _totals(**counts: int) -> str:
    return "".join(f"  {name} {counts.get(name, 0)}\n" for name in TOTALS)


def test_totals_have_their_reason_and_every_count() -> None:
    output = f"pyland: scheduling with x\n{END}{_totals(forwarded=10, user_dispatched=9)}"
    totals = parse_totals(output)
    assert totals.reason == "stopped by a signal"
    assert totals["forwarded"] == 10
    assert totals.user_share == pytest.approx(0.9)


def test_fallbacks_are_summed() -> None:
    totals = parse_totals(END + _totals(fallback_full=1, fallback_lag=2, fallback_idle=4))
    assert totals.fallback == 7


def test_a_run_that_forwarded_nothing_is_all_pythons() -> None:
    assert parse_totals(END + _totals()).user_share == 1


def test_only_what_follows_the_last_end_counts() -> None:
    earlier = END + _totals(direct=1)
    assert parse_totals(f"  direct 5\n{earlier}{END}{_totals(direct=2)}")["direct"] == 2


@pytest.mark.parametrize("output", ["", "pyland: scheduling\n", END, END + "  direct 1\n"])
def test_output_without_totals_is_an_error(output: str) -> None:
    with pytest.raises(NoTotalsError):
        parse_totals(output)


def test_rows_are_named_by_the_header() -> None:
    rows = parse_rows(f"pyland: scheduling with x\n{HEADER}{ROWS}{HEADER}{ROWS}{END}{_totals()}")
    assert len(rows) == 4
    assert rows[0] == {"run": 2, "held": 6, "forward": 100, "python": 98, "delay_us": 41.5}


def test_a_row_still_being_written_is_not_one() -> None:
    assert len(parse_rows(HEADER + ROWS + "       2    ")) == 2
